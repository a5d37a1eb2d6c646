"""Fitted models that tests of tasks share."""

import functools
from collections.abc import Callable

import pytest
import synthetic
from fitted import Fitted, fitted


@pytest.fixture(scope="session")
def of_task(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Fitted]:
    """Fit the model of a task, once."""
    return functools.cache(lambda task: fitted(tmp_path_factory.mktemp(task) / "project", task))


@pytest.fixture(scope="session", params=synthetic.TASKS)
def each(request: pytest.FixtureRequest, of_task: Callable[[str], Fitted]) -> Fitted:
    """A fitted model of each task in turn."""
    return of_task(request.param)


@pytest.fixture(scope="session")
def binary(of_task: Callable[[str], Fitted]) -> Fitted:
    """A fitted classifier."""
    return of_task("binary")


@pytest.fixture(scope="session")
def quantiles(of_task: Callable[[str], Fitted]) -> Fitted:
    """Fitted regressors of two quantiles."""
    return of_task("quantiles")
