"""A project of each task, with a model made by hand, and records to score."""

from pathlib import Path
from typing import Any

import handmade
import msgspec
import polars as pl
import pytest
import synthetic
from ml_ready.project import Project
from ml_ready.serving.formats import Formats
from ml_ready.serving.predictor import Predictor


@pytest.fixture(scope="session", params=["binary", "quantiles"])
def task(request: pytest.FixtureRequest) -> str:
    """The task of the project."""
    return str(request.param)


@pytest.fixture(scope="session")
def project(task: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project."""
    return synthetic.make(tmp_path_factory.mktemp("project"), task)


@pytest.fixture(scope="session")
def folder(project: Project, task: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return handmade.write(project, task, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(project: Project, folder: Path) -> Predictor:
    """A loaded model."""
    return Predictor(project, folder)


@pytest.fixture(scope="session")
def formats(project: Project) -> Formats:
    """What a body may be."""
    return Formats(project)


@pytest.fixture(scope="session")
def known(project: Project) -> pl.DataFrame:
    """Records, as known when a prediction is asked for."""
    names = [column.name for column in project.inputs]
    return handmade.records(project).select(names).head(300)


@pytest.fixture(scope="session")
def rows(known: pl.DataFrame) -> list[dict[str, Any]]:
    """The same records, as JSON has them."""
    parsed: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(known.to_dicts()))
    return parsed
