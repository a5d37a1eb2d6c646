"""Fixtures of a project's tests: its data, its model, and the folder of a training job."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from .. import artifact
from ..cli import load_project
from ..config import Config
from ..project import Project
from .subject import Subject


@pytest.fixture(scope="session")
def subject(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """What `ml_ready.testing.checks` takes: the project, its data and its model."""
    folder = tmp_path_factory.mktemp("exported") / "models"
    return Subject(load_project(pytestconfig.rootpath), folder)


@pytest.fixture(scope="session")
def project(subject: Subject) -> Project:
    """The project that `[tool.ml-ready]` in `pyproject.toml` names."""
    return subject.project


@pytest.fixture(scope="session")
def config(subject: Subject) -> Config[Any, Any]:
    """The configuration of the project."""
    return subject.config


@pytest.fixture(scope="session")
def records(subject: Subject) -> pl.DataFrame:
    """The valid records of the source, joined."""
    return subject.records


@pytest.fixture(scope="session")
def windows(subject: Subject) -> dict[str, pl.DataFrame]:
    """Features and target of the records, by the name of the window."""
    return subject.windows


@pytest.fixture(scope="session")
def model(subject: Subject) -> Any:
    """The model, trained with the settings of `conf/`."""
    return subject.model


@pytest.fixture(scope="session")
def model_folder(subject: Subject) -> Path:
    """A folder with the exported model and its metadata."""
    return subject.models


@pytest.fixture(scope="session")
def training_job(windows: dict[str, pl.DataFrame]) -> Callable[..., None]:
    """A function that writes into a folder what a training job finds in `/opt/ml`.

    It takes the folder, optionally windows, and hyperparameters in which `__` stands for a dot.
    """

    def make(
        folder: Path, tables: Mapping[str, pl.DataFrame] = windows, **hyperparameters: str
    ) -> None:
        settings = folder / "input" / "config" / "hyperparameters.json"
        settings.parent.mkdir(parents=True)
        dotted = {name.replace("__", "."): text for name, text in hyperparameters.items()}
        settings.write_text(json.dumps(dotted), encoding="utf-8")
        for name in artifact.WINDOWS[:2]:
            channel = folder / "input" / "data" / name
            channel.mkdir(parents=True)
            tables[name].write_parquet(channel / "part-0.parquet")

    return make
