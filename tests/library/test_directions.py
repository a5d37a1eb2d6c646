"""The directions of imports: kept, and a wrong import is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ml_ready
import pytest

SETTINGS = Path(__file__).with_name("importlinter.toml")
PACKAGE = Path(ml_ready.__file__).parent


def linted(source: Path) -> subprocess.CompletedProcess[str]:
    """Check the directions of the imports of a copy of the library."""
    tool = str(Path(sys.executable).with_name("lint-imports"))
    return subprocess.run(
        [tool, "--config", str(SETTINGS), "--no-cache"],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("errors.py", "", ""),
        ("errors.py", "from . import config", "jobs, aws and cli → "),
        ("serving/server.py", "from ..training import runs", "jobs, aws and cli → "),
        ("serving/formats.py", "import pydantic", "serving imports no training library BROKEN"),
        ("aws/registry.py", "from .. import contract", "aws knows no model code BROKEN"),
    ],
)
def test_an_import_against_the_directions_is_found(
    tmp_path: Path, module: str, line: str, broken: str
) -> None:
    shutil.copytree(PACKAGE, tmp_path / "ml_ready", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "ml_ready" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    done = linted(tmp_path)
    assert done.returncode == bool(line), done.stdout
    assert broken in done.stdout
