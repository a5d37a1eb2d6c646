"""Synthetic projects that are read, split and trained, and folders as SageMaker mounts them."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic
from ml_ready.artifact import WINDOWS
from ml_ready.config import Config
from ml_ready.jobs import ingest, preprocess, train
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths, paths
from ml_ready.project import Project

# What SageMaker, or the machine of whoever runs the tests, may set.
VARIABLES = ("SM_HPS", "SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_CHANNEL_TRAIN")


@dataclass(frozen=True)
class Prepared:
    """A synthetic project, its windows, and the folder of a training job that has ended.

    Jobs that copy `output` of that folder keep the files of their runs there, which saves them
    from creating the database.
    """

    task: str
    project: Project
    config: Config[Any, Any]
    windows: dict[str, pl.DataFrame]
    trained: Path

    @property
    def models(self) -> Path:
        """The exported model and its metadata."""
        return self.trained / "model"


def prepare(folder: Path, task: str) -> Prepared:
    """Split and train a synthetic project."""
    project = synthetic.make(folder / "project", task)
    config = configuration(project, Paths(project.root))
    checked = ingest.records(project, project.root / config.source, config.data)
    windows = preprocess.windows(project, checked.valid, config.data.split)
    prepared = Prepared(task, project, config, windows, folder / "trained")
    with pytest.MonkeyPatch.context() as patch:
        mount(prepared.trained, patch)
        training_job(prepared.trained, windows)
        (prepared.trained / "checkpoints").mkdir()
        train.main(project, paths(project.root), [])
    return prepared


def mount(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Let a folder take the place of `/opt/ml`."""
    for name in VARIABLES:
        patch.delenv(name, raising=False)
    patch.setenv("SAGEMAKER_BASE_DIR", str(folder))
    return folder


def training_job(base: Path, windows: Mapping[str, pl.DataFrame], **settings: str) -> None:
    """Write what a training job finds; `__` in a setting stands for a dot."""
    dotted = {name.replace("__", "."): value for name, value in settings.items()}
    write(base / "input" / "config" / "hyperparameters.json", dotted)
    for name in WINDOWS[:2]:
        channel = base / "input" / "data" / name
        channel.mkdir(parents=True)
        windows[name].write_parquet(channel / "part-0.parquet")


def processing_job(
    base: Path, project: Project, host: int = 0, hosts: int = 1, kind: str = "FullyReplicated"
) -> Paths:
    """Write what a processing job finds on one of its hosts."""
    write(base / "config" / "resourceconfig.json", resources(host, hosts))
    source = {"InputName": "source", "S3Input": {"S3DataDistributionType": kind}}
    write(base / "config" / "processingjobconfig.json", {"ProcessingInputs": [source]})
    if not (base / "processing").exists():
        shutil.copytree(project.root / "data" / "sample", base / "processing" / "source")
    return paths(project.root)


def resources(host: int, hosts: int) -> dict[str, Any]:
    """Return what SageMaker says of the hosts of a job."""
    names = [f"algo-{number + 1}" for number in range(hosts)]
    return {"current_host": names[host], "hosts": names, "network_interface_name": "eth0"}


def write(path: Path, content: object) -> None:
    """Write JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
