"""Projects that tests share, a folder in place of `/opt/ml`, and which tests are skipped."""

import functools
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import synthetic
from prepared import Prepared, mount, prepare

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what the tests of a project on Python 3.13 call: tests/project/test_python.py."""
    parser.addoption("--in-process", action="store_true", help="skip tests that start processes")


@pytest.fixture(scope="session", autouse=True)
def _in_process(request: pytest.FixtureRequest) -> None:
    """Skip a test as soon as it starts a program of this environment, if that is asked for."""
    if request.config.getoption("--in-process"):
        sys.addaudithook(_skip_process)


def _skip_process(event: str, arguments: tuple[Any, ...]) -> None:
    # Not git, which the provenance of a model takes.
    if event == "subprocess.Popen" and Path(arguments[0]).is_relative_to(sys.prefix):
        pytest.skip("starts a process")


@pytest.fixture(scope="session")
def of_task(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """Prepare a project of a task, once."""
    return functools.cache(lambda task: prepare(tmp_path_factory.mktemp(task), task))


@pytest.fixture(scope="session", params=synthetic.TASKS)
def each(request: pytest.FixtureRequest, of_task: Callable[[str], Prepared]) -> Prepared:
    """A prepared project of each task in turn."""
    return of_task(request.param)


@pytest.fixture(scope="session")
def one(of_task: Callable[[str], Prepared]) -> Prepared:
    """A prepared project of one task, where tasks do not differ."""
    return of_task("binary")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of `/opt/ml`."""
    return mount(tmp_path, monkeypatch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where CI is set: a check that did not run is not green."""
    report = yield
    return _no_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a skipped file where CI is set."""
    report = yield
    return _no_skip(report)


def _no_skip(report: Report) -> Report:
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"Skipped, which CI does not allow: {report.longrepr}"
    return report
