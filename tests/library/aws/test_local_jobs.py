"""Jobs in containers of this machine: the SageMaker SDK, S3 as moto plays it, a tiny Docker."""

import importlib.util
import logging
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import containers
import pytest

if importlib.util.find_spec("sagemaker") is None:
    pytest.skip("no SageMaker SDK: install ml-ready[sagemaker]", allow_module_level=True)

from deployable import write_project
from ml_ready.artifact import WINDOWS
from ml_ready.aws import local
from ml_ready.errors import ProjectError
from moto.moto_api._internal.models import moto_api_backend

Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run `ml-ready sagemaker-local` on a source, and return where its results are."""
    write_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "docker"
    command = f'exec {sys.executable} {containers.__file__} "$@"'
    script.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path / "log"}\n{command}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    # The SDK checks the schema of its settings a hundred times: that takes most of the time.
    check = "jsonschema.validators.Draft202012Validator.check_schema"
    monkeypatch.setattr(check, lambda *_, **__: None)
    before = dict(os.environ)
    moto_api_backend.reset()

    def ran(step: str, source: Path) -> Path:
        out = tmp_path / "out"
        local.main([step, "--image", "train", "--source", str(source), "--out", str(out)])
        return out

    yield ran
    os.environ.clear()
    os.environ.update(before)
    logging.disable(logging.NOTSET)
    # Whatever has happened, nothing stays in Docker.
    commands = (tmp_path / "log").read_text().splitlines()
    assert "rm --force left-over" in commands
    assert commands[-1] == f"network rm {local.NETWORK}"


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder of source tables."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "records.csv").write_text("good")
    return tmp_path / "tables"


def model(out: Path) -> str:
    """Read the model that a run has left."""
    (packed,) = out.glob("trained/**/model.tar.gz")
    with tarfile.open(packed) as archive:
        file = archive.extractfile("model.txt")
        assert file is not None
        return file.read().decode()


def test_the_windows_of_a_job_are_in_the_folder(run: Run, tables: Path) -> None:
    out = run("process", tables)
    for name in WINDOWS:
        assert (out / "windows" / name / "records.csv").read_text() == "good"


def test_a_model_is_made_of_the_windows_here_but_the_test(run: Run, tmp_path: Path) -> None:
    for name in WINDOWS:
        (tmp_path / "windows" / name).mkdir(parents=True)
        (tmp_path / "windows" / name / "records.csv").write_text(f"rows of {name}")
    assert model(run("train", tmp_path / "windows")) == "\n".join(
        ("train: rows of train", "validation: rows of validation")
    )


def test_a_folder_that_is_missing_or_not_made_here_is_named(run: Run, tables: Path) -> None:
    with pytest.raises(ProjectError, match=r"/none: no such folder: make it with poe pipeline"):
        run("process", tables / "none")
    out = run("process", tables)
    (out / local.MARK).unlink()
    with pytest.raises(
        ProjectError, match="/out: already exists, and this command did not make it: choose"
    ):
        run("process", tables)


def test_what_the_sdk_raises_ends_in_one_line(run: Run, tmp_path: Path) -> None:
    for name in WINDOWS[:2]:
        (tmp_path / "windows" / name).mkdir(parents=True)
        (tmp_path / "windows" / name / "records.csv").write_text("broken")
    with pytest.raises(ProjectError, match=r"^train: Failed to run: .* exited with code: 1"):
        run("train", tmp_path / "windows")


def test_the_pipeline_hands_windows_to_training_and_the_model_to_the_gate(
    run: Run, tables: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("pipeline", tables)
    assert model(out) == "train: good\nvalidation: good"
    assert [*out.glob("runs/*/reports/metrics.json")]
    assert "GoodEnough: Succeeded" in capsys.readouterr().out


def test_the_pipeline_ends_with_the_reason_of_the_gate(run: Run, tables: Path) -> None:
    (tables / "records.csv").write_text("bad")
    with pytest.raises(ProjectError, match=r"The model is not registered: test: 0\.5 < 0\.6"):
        run("pipeline", tables)
