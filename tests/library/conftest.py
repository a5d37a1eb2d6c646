"""Projects that tests share, a folder in place of `/opt/ml`, and what a skip means in CI."""

import functools
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

import pytest
import synthetic
from prepared import Prepared, mount, prepare

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


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
