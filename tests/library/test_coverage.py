"""The gate on what the tests of the library run: `scripts/library.py` on a tiny library."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TOOLS = Path(sys.executable).parent
RUN = runpy.run_path(str(TESTS.parents[1] / "scripts" / "library.py"))["test"]
FUNCTION = "def double(number):\n    if number:\n        number *= 2\n    return number\n"
# Both ways through the function; the second in a process.
TEST = """\
import subprocess, sys
from ml_ready import tables

def test_double():
    assert tables.double(2) == 4
    command = "from ml_ready import tables; assert tables.double(0) == 0"
    subprocess.run([sys.executable, "-c", command], check=True)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose tests run all of its library."""
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "0")
    # Locust and others add themselves to pytest, and take longer to import than all the rest.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_cov,xdist.plugin")
    # Of the run that this test is in.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    package, tests = tmp_path / "src" / "ml_ready", tmp_path / "tests" / "library"
    (package / "contract").mkdir(parents=True)
    tests.mkdir(parents=True)
    for name in ("__init__.py", "contract/__init__.py"):
        (package / name).touch()
    (package / "tables.py").write_text(FUNCTION)
    (tests / "test_double.py").write_text(TEST)
    for name in ("coverage.toml", "pytest.toml"):
        shutil.copy(TESTS / name, tests)
    return tmp_path


def test_tests_that_run_everything_pass(root: Path) -> None:
    RUN(TOOLS, root, [])


def test_some_of_the_tests_need_not_run_everything(root: Path) -> None:
    (root / "src" / "ml_ready" / "cli.py").write_text(FUNCTION)
    RUN(TOOLS, root, ["-k", "double"])


@pytest.mark.parametrize(
    ("file", "code", "percent", "missing"),
    [
        ("cli.py", FUNCTION, 95, "1-4"),
        ("windows.py", "DAYS = 7\n", 100, "1"),
        ("contract/columns.py", "DAYS = 7\n", 100, "1"),
        # Only one way through it: `number` is never false.
        ("tables.py", FUNCTION.replace("if number", "if number or True"), 100, "2->4"),
    ],
)
def test_what_no_test_runs_is_refused_by_file_and_line(
    root: Path, file: str, code: str, percent: int, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    package = root / "src" / "ml_ready"
    (package / file).write_text(code)
    # Many lines that every test runs: 95 % of all is not 100 % of each.
    if percent == 100:
        (package / "__init__.py").write_text("DAYS = 7\n" * 100)
    with pytest.raises(SystemExit, match=f"^error: the tests run less than {percent} % of src/ml_"):
        RUN(TOOLS, root, [])
    lines = capfd.readouterr().out.splitlines()
    (line,) = {line for line in lines if line.startswith(f"src/ml_ready/{file} ")}
    assert line.endswith(f"%   {missing}")
