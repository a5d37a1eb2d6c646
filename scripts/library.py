"""Check types and imports and run the tests of the library, with the packages a project locks.

The packages are in `.library/`: those of a project of the framework that brings the other one with
it, with all optional groups. They are installed again when a lock changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parents[1]
FOLDER = TEMPLATE / ".library"
PROJECT = FOLDER / "project"
TESTS = "tests/library"
PATHS = ("src", TESTS)


def main() -> None:
    """Install the packages where they are missing, then check and test."""
    install()
    tools = PROJECT / ".venv" / ("Scripts" if os.name == "nt" else "bin")
    paths = os.pathsep.join(str(TEMPLATE / each) for each in PATHS)
    run([tools / "mypy", "--config-file", f"{TESTS}/mypy.ini"], TEMPLATE)
    directions: list[str | Path] = [
        tools / "lint-imports",
        "--config",
        f"{TESTS}/importlinter.toml",
        "--no-cache",
    ]
    run(directions, TEMPLATE, PYTHONPATH=paths)
    tests = sys.argv[1:]
    run(
        [tools / "pytest", "-c", f"{TESTS}/pytest.toml", TESTS, *tests],
        TEMPLATE,
        PYTHONPATH=paths,
    )


def install() -> None:
    """Bake a project and install all that its lock names, unless that is done already."""
    locks = sorted((TEMPLATE / "{{cookiecutter.project_slug}}").glob("*poetry.lock*"))
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    stamp = FOLDER / "installed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    cookiecutter(
        str(TEMPLATE),
        no_input=True,
        extra_context={"project_slug": PROJECT.name, "framework": "xgboost"},
        default_config=True,
        output_dir=str(FOLDER),
    )
    bootstrap = [sys.executable, "bootstrap.py"]
    run(bootstrap, PROJECT)
    groups = ["--with", "load,sagemaker,spark"]
    run([*bootstrap, "poetry", "install", "--no-interaction", "--quiet", *groups], PROJECT)
    stamp.write_text(digest, encoding="utf-8")


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Run a command; stop with its exit status when it fails."""
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
