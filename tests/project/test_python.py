"""A project on Python 3.13, the newest that it is for, whichever Python runs these tests."""

import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import polars as pl
import pytest

from tests.conftest import as_cloned
from tests.project import debian
from tests.project.conftest import Project
from tests.project.readme import Shell, steps


def test_bootstrap_makes_an_environment_of_this_python(newest: Project) -> None:
    assert newest.does("python --version").startswith("Python 3.13.")
    assert "All is in place" in newest.does("python3.13 bootstrap.py", activated=False)


def test_every_check_passes(newest: Project) -> None:
    said = newest.does("poe check")
    assert re.search(r"\d+ passed", said), said
    assert newest.does("git status --porcelain") == ""


SLOW = ("aws", "jobs", "serving", "testing")


def run_library_tests(project: Project, folder: Path, chosen: str) -> None:
    """Run the tests of the library that start no process, in the environment of a project."""
    template = shutil.copytree(as_cloned(), folder / "template")
    output = project.does(
        f"cd {template} && pytest -c tests/library/pytest.toml -n 2 -rs --in-process {chosen}",
        PYTHONPATH=str(template / "tests" / "library"),
    )
    assert "starts a process" in output
    ((passed, skipped),) = re.findall(r"(\d+) passed, (\d+) skipped", output)
    assert int(passed) > 4 * int(skipped), output


# What takes most of the time: test_python_jobs.py.
def test_the_library_passes_its_tests_that_start_no_process(
    newest: Project, tmp_path: Path
) -> None:
    slow = " ".join(f"--ignore tests/library/{folder}" for folder in SLOW)
    run_library_tests(newest, tmp_path, f"{slow} tests/library")


@pytest.fixture(scope="module")
def scored(newest: Project) -> pl.DataFrame:
    """The records of the pipeline, with the predictions of `poe predict`."""
    newest.does("poe pipeline && poe predict data/raw/records.parquet predictions.parquet")
    return pl.read_parquet(newest.root / "predictions.parquet")


def test_the_pipeline_makes_a_model_that_predicts(newest: Project, scored: pl.DataFrame) -> None:
    records = pl.read_parquet(newest.root / "data/raw/records.parquet")
    assert scored.height == records.height > 0
    predicted = set(scored.columns) - set(records.columns)
    assert predicted
    assert all(scored[name].n_unique() > 1 for name in predicted)


def test_the_server_answers_the_request_of_the_readme(
    newest: Project, scored: pl.DataFrame, tmp_path: Path
) -> None:
    text = (newest.root / "README.md").read_text()
    (asked,) = (step.text for step in steps(text) if step.block and step.text.startswith("curl"))
    flight = re.findall(r"--data '(.+?)'", asked, re.DOTALL)[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    shell = Shell(newest.root, newest.environment, tmp_path, newest.within)
    shell.run("source .venv/bin/activate")
    server = shell.start(f"poe serve --port {address.rpartition(':')[2]}", f"{address}/ping")
    answer = httpx.post(f"{address}/invocations", json=json.loads(flight))
    server.stop()
    shell.close()
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 1


def test_a_debian_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "debootstrap").write_text('#!/bin/sh\nmkdir "$4" && touch "$4/half" && exit 1\n')
    (tmp_path / "debootstrap").chmod(0o755)
    monkeypatch.setattr(debian, "KEPT", tmp_path / "kept")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises((debian.NoDebianError, subprocess.CalledProcessError)):
        debian.root("trixie")
    assert list(tmp_path.glob("kept/*")) == []


def test_a_machine_that_cannot_make_a_debian_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "KEPT", tmp_path / "kept")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(debian.NoDebianError, match=r"only root can|debootstrap is not installed"):
        debian.root("trixie")
    with pytest.raises(debian.NoDebianError, match="apt knows no mirror of Debian"):
        debian.mirror()


def test_no_mount_is_left(newest: Project) -> None:
    assert str(debian.KEPT) not in Path("/proc/mounts").read_text()
