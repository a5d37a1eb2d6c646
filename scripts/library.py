"""Check types and imports and run the tests of the library, with the packages a project locks.

The packages are in `.library/`: those of a project of the framework that brings the other one with
it, with all optional groups. They are installed again when a lock changes. All tests together have
to run as much of the library as `COVERED` says; with arguments for pytest, this is not checked.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

TEMPLATE = Path(__file__).resolve().parents[1]
FOLDER = TEMPLATE / ".library"
PROJECT = FOLDER / "project"
TESTS = "tests/library"
PATHS = ("src", TESTS)
SETTINGS = f"{TESTS}/coverage.toml"
# Files, and how many percent of their lines and branches the tests have to run.
COVERED = {
    "src/ml_ready/*": 95,
    "src/ml_ready/contract/*,src/ml_ready/tables.py,src/ml_ready/windows.py": 100,
}


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
    test(tools, TEMPLATE, sys.argv[1:])


def test(tools: Path, root: Path, arguments: Sequence[str]) -> None:
    """Run the tests; unless arguments choose some of them, refuse what they do not cover."""
    measure = ["--cov", f"--cov-config={SETTINGS}", "--cov-report="]
    options = ["-c", f"{TESTS}/pytest.toml", TESTS, *(arguments or measure)]
    paths = os.pathsep.join(str(root / each) for each in PATHS)
    run([tools / "pytest", *options], root, PYTHONPATH=paths)
    if arguments:
        return
    for files, percent in COVERED.items():
        gate = [f"--rcfile={SETTINGS}", f"--include={files}", f"--fail-under={percent}"]
        if subprocess.run([tools / "coverage", "report", *gate], cwd=root, check=False).returncode:
            sys.exit(
                f"error: the tests run less than {percent} % of {files}: "
                f"test the lines and branches listed above, in {TESTS}"
            )


def install() -> None:
    """Bake a project and install all that its lock names, unless that is done already."""
    # Not at the top: a test of the gate imports this file with the packages of a project.
    from cookiecutter.main import cookiecutter

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
    # Trainings of two workers whose threads wait for each other take many times as long.
    inherited = {"OMP_NUM_THREADS": "1"} | os.environ
    # Poetry installs no bytecode: every process would compile the packages again.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(command, cwd=folder, env=inherited | environment, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
