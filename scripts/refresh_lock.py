"""Lock the project's dependencies anew, with the Poetry and the index that its users have.

Only what pyproject.toml asks for changes; `--regenerate` takes the newest of every package.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parents[1]
LOCK = TEMPLATE / "{{cookiecutter.project_slug}}" / "poetry.lock"


def main() -> None:
    """Bake the template as it stands, lock the bake, bring the lock back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regenerate", action="store_true", help="upgrade what is locked already")
    arguments = ["--regenerate"] if parser.parse_args().regenerate else []
    with tempfile.TemporaryDirectory() as folder:
        baked = cookiecutter(
            str(TEMPLATE), no_input=True, default_config=True, accept_hooks=False, output_dir=folder
        )
        lock = Path(baked, LOCK.name)
        command = [sys.executable, "bootstrap.py", "poetry", "lock", "--no-interaction", *arguments]
        if subprocess.run(command, cwd=baked, check=False).returncode:
            sys.exit("refresh_lock.py: poetry.lock is as it was: mend what Poetry says above")
        before, after = packages(LOCK), packages(lock)
        if named := with_address(after):
            sys.exit(
                f"refresh_lock.py: the new lock names an address for {', '.join(named)}, expected "
                "none: remove tool.poetry.source and URL dependencies from pyproject.toml"
            )
        shutil.copyfile(lock, LOCK)
    print("\n".join(changes(before, after)) or "every version is as it was")


def packages(lock: Path) -> dict[str, dict[str, Any]]:
    """Return what a lock says of each package."""
    found = tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    return {f"{package['name']} {package.get('markers', '')}": package for package in found}


def with_address(locked: dict[str, dict[str, Any]]) -> list[str]:
    """Return the packages that are bound to an address, which other users may not reach."""
    # A description is text of the author.
    return [
        package["name"]
        for package in locked.values()
        if "source" in package or "://" in str({**package, "description": ""})
    ]


def changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each package whose version is another one."""
    lines = []
    for name in sorted({*before, *after}):
        old, new = (locked.get(name, {}).get("version", "none") for locked in (before, after))
        if old != new:
            lines.append(f"{name.split()[0]}: {old} → {new}")
    return lines


if __name__ == "__main__":
    main()
