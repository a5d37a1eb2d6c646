"""Lock the dependencies of every project again, with the Poetry and the index that its users have.

Only what pyproject.toml asks for changes; `--regenerate` takes the newest of every package.
"""

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cookiecutter.main import cookiecutter
from jinja2 import Template

from scripts.packer import pack

TEMPLATE = Path(__file__).resolve().parents[1]
LIBRARY = re.compile(
    rb'\[\[package\]\]\nname = "ml-ready"\n.*?(?=\[\[package\]\]\n|\[metadata\]\n)', re.DOTALL
)


def main() -> None:
    """Make each lock in a bake that has it; bring them back when all are made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--regenerate", action="store_true", help="upgrade what is locked already")
    arguments = ["--regenerate"] if parser.parse_args().regenerate else []
    try:
        with tempfile.TemporaryDirectory() as folder:
            locked = dict(refreshed(Path(folder), arguments))
            differences = {
                lock: changes(packages(lock), packages(new)) for lock, new in locked.items()
            }
            for lock, new in locked.items():
                lock.write_bytes(without_hash(new.read_bytes()))
    except ValueError as error:
        sys.exit(f"refresh_lock.py: every poetry.lock is as it was: {error}")
    for lock, lines in differences.items():
        print(f"{lock.name}:" if lines else f"{lock.name}: every version is as it was")
        print("".join(f"  {line}\n" for line in lines), end="")


def refreshed(folder: Path, arguments: list[str]) -> Iterator[tuple[Path, Path]]:
    """Lock a bake for each lock of the template."""
    poetry = folder / ".poetry"
    for number, (lock, answers) in enumerate(locks(TEMPLATE).items()):
        baked = cookiecutter(
            str(TEMPLATE),
            no_input=True,
            extra_context=answers,
            default_config=True,
            accept_hooks=False,
            output_dir=str(folder / str(number)),
        )
        pack(Path(baked, "vendor"))
        new = Path(baked, "poetry.lock")
        # Poetry keeps what it has locked of a wheel whose version is the same, its extras included.
        new.write_bytes(LIBRARY.sub(b"", new.read_bytes()))
        if not new.read_bytes():
            new.unlink()
        if poetry.exists():
            poetry.rename(new.with_name(poetry.name))
        command = [sys.executable, "bootstrap.py", "poetry", "lock", "--no-interaction", *arguments]
        if subprocess.run(command, cwd=baked, check=False).returncode:
            raise ValueError(f"fix what Poetry says above of {lock.name}")
        new.with_name(poetry.name).rename(poetry)
        if named := with_address(packages(new)):
            raise ValueError(
                f"the new {lock.name} names an address for {', '.join(named)}, expected none:"
                " remove tool.poetry.source and URL dependencies from pyproject.toml"
            )
        yield lock, new


def without_hash(lock: bytes) -> bytes:
    """Blank the hash of the library, which hooks/post_gen_project.py writes at each bake."""
    blanked, count = re.subn(
        rb'(file = "ml_ready-\S+", hash = "sha256:)[0-9a-f]{64}', rb"\g<1>" + b"0" * 64, lock
    )
    if count != 1:
        raise ValueError(f"the new lock names {count} wheels of ml-ready, expected 1")
    return blanked


def locks(template: Path) -> dict[Path, dict[str, str]]:
    """Return for each lock the first choices whose bake has it.

    Raises
    ------
    ValueError
        When some choices lead to no lock or to several, or a lock to no bake.
    """
    questions = json.loads((template / "cookiecutter.json").read_text("utf-8"))
    choices = {
        name: values
        for name, values in questions.items()
        if isinstance(values, list) and not name.startswith("_")
    }
    present = sorted((template / "{{cookiecutter.project_slug}}").glob("*poetry.lock*"))
    names = {lock: Template(lock.name) for lock in present}
    found: dict[Path, dict[str, str]] = {}
    for values in itertools.product(*choices.values()):
        answers = dict(zip(choices, values, strict=True))
        fitting = [lock for lock in present if names[lock].render(cookiecutter=answers)]
        if len(fitting) != 1:
            raise ValueError(
                f"{len(fitting)} locks for {', '.join(f'{k}={v}' for k, v in answers.items())},"
                " expected 1: fix the conditions in their names; add an empty file for a new one"
            )
        found.setdefault(fitting[0], answers)
    if lost := [lock.name for lock in present if lock not in found]:
        raise ValueError(f"no bake has {', '.join(lost)}: fix the condition or remove the file")
    return found


def packages(lock: Path) -> dict[str, dict[str, Any]]:
    """Return what a lock says of each package."""
    content = tomllib.loads(lock.read_text(encoding="utf-8")).get("package", [])
    return {f"{package['name']} {package.get('markers', '')}": package for package in content}


def with_address(locked: dict[str, dict[str, Any]]) -> list[str]:
    """Return the packages that are bound to an address, which other users may not reach."""
    # A description is text of the author.
    return [
        package["name"]
        for package in locked.values()
        if package.get("source", {"type": "file"})["type"] != "file"
        or "://" in str({**package, "description": ""})
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
