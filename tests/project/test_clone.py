"""What was pushed comes back in a fresh clone as it was, and answers over HTTP from there."""

import csv
import io
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from tests.project.conftest import Project

MADE = ("params.yaml", "data/raw", "data/processed", "models", "reports")
UNKNOWN = ("dep_delay", "air_time", "arr_delay")


def made(project: Project) -> dict[str, bytes]:
    """Every file that the pipeline wrote, by its name."""
    files = [
        file for name in MADE for file in (project.root / name, *(project.root / name).rglob("*"))
    ]
    return {str(file.relative_to(project.root)): file.read_bytes() for file in files if file.is_file()}


def test_a_second_run_of_the_pipeline_does_nothing(trained: Project) -> None:
    before = {file: file.stat().st_mtime_ns for file in (trained.root / "models").iterdir()}
    said = trained.does("dvc repro")
    assert "Running stage" not in said
    assert "Data and pipelines are up to date." in said
    assert {file: file.stat().st_mtime_ns for file in (trained.root / "models").iterdir()} == before


@pytest.fixture(scope="module")
def clone(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh clone beside the project, into which data and models were pulled."""
    _trained.does("dvc push")
    folder = _trained.root.with_name("clone")
    _trained.does(f"git clone --quiet . {folder}", activated=False)
    cloned = _trained.at(folder)
    assert not made(cloned).keys() - {"reports/metrics.json"}
    cloned.does("dvc pull")
    return cloned


def test_a_clone_gets_everything_back_without_computing_it(
    clone: Project, trained: Project
) -> None:
    assert made(clone) == made(trained)
    assert len(made(clone)) > 10
    assert "Data and pipelines are up to date." in clone.does("dvc status")
    assert "Running stage" not in clone.does("dvc repro")
    assert clone.does("git status --porcelain") == ""


@pytest.fixture(scope="module")
def server(clone: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the model in the clone, served by `poe serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [clone.root / ".venv/bin/poe", "serve", "--port", str(port)],
            cwd=clone.root,
            env=clone.environment,
            stdout=output,
            stderr=output,
        )
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not answers(address):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield address
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
