"""Redraw the project's data sample and compare it, byte for byte, with the one that is shipped.

`--write` replaces the shipped tables by the redrawn ones.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import polars as pl

PROJECT = Path(__file__).resolve().parents[1] / "{{cookiecutter.project_slug}}"
SAMPLE = PROJECT / "data" / "sample"


def locked_polars() -> str:
    """Return the version of polars that the project locks: another one writes other bytes."""
    versions = {
        package["version"]
        for lock in PROJECT.glob("*poetry.lock*")
        for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
        if package["name"] == "polars"
    }
    if len(versions) != 1:
        sys.exit(f"draw_sample.py: the locks hold polars {', '.join(versions)}: refresh them")
    return str(versions.pop())


def different(drawn: Path, shipped: Path) -> list[str]:
    """Return the names of the tables that are not the same in both folders, or in one only."""
    names = {path.name for folder in (drawn, shipped) for path in folder.glob("*.parquet")}
    return sorted(
        name
        for name in names
        if not (drawn / name).is_file()
        or not (shipped / name).is_file()
        or (drawn / name).read_bytes() != (shipped / name).read_bytes()
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="replace the shipped tables")
    write = parser.parse_args().write

    if pl.__version__ != locked_polars():
        raise SystemExit(
            f"draw_sample.py: polars {pl.__version__} is installed, the project locks "
            f"{locked_polars()}: install that version, then run again"
        )
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder, "sample")
        command = [sys.executable, str(PROJECT / "data" / "draw.py"), "--out", str(drawn)]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(1)
        names = different(drawn, SAMPLE)
        if names and not write:
            raise SystemExit(
                f"draw_sample.py: redrawn, {', '.join(names)} differs from the shipped sample: "
                "if the change is meant, run `make sample ARGS=--write`"
            )
        for name in names:
            (SAMPLE / name).unlink(missing_ok=True)
            if (drawn / name).is_file():
                shutil.copyfile(drawn / name, SAMPLE / name)
    outcome = f"replaced: {', '.join(names)}" if names else "the shipped sample is what is drawn"
    sys.stdout.write(f"{outcome}\n")


if __name__ == "__main__":
    main()
