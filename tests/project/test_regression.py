"""Regression with XGBoost: its README followed.

With the project of test_readme.py, each task and each framework is run once. Its containers run in
test_container.py and test_clients.py.
"""

import json
import re
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import filelock
import polars as pl
import pytest

from tests.project import readme
from tests.project.conftest import OTHERS, Project, described
from tests.project.swap_surface import assert_only_the_surface_was_touched, swap
from tests.project.test_readme import ELSEWHERE, assert_promises_kept

CHOICES = f"{OTHERS['task']}-{OTHERS['framework']}"
SAME = "test_readme.py: it is the same for all"
WHOLE = "poe test, below it, runs every tier"
INSTALL = "python3 bootstrap.py\nsource .venv/bin/activate\npoe pipeline"
NOT_HERE = ELSEWHERE | {
    INSTALL: "the fixture `other` has installed it, and the table below names poe pipeline",
    "poe check": "test_another_problem_takes_the_place_of_the_example",
    "poe test-unit": WHOLE,
    "poe test-module": WHOLE,
    "poe test-integration": WHOLE,
    "poe test-e2e": WHOLE,
    "poe hooks": SAME,
    "poe test-sagemaker": SAME,
    "poe ui": SAME,
    "python3 bootstrap.py poetry install --with track": SAME,
    "poe full-data": SAME,
    "python3 bootstrap.py poetry add NAME": SAME,
}


@pytest.fixture(scope="module")
def project(other: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as its team clones it, on a machine without a container engine."""
    project = other.copy(tmp_path_factory.mktemp("other") / other.root.name)
    return replace(project, environment={**project.environment, "DOCKER_HOST": "unix:///nowhere"})


@pytest.fixture(scope="module")
def said(
    project: Project, turn: filelock.BaseFileLock, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What each command of the README printed."""
    record = tmp_path_factory.mktemp("record")
    shell = readme.Shell(project.root, {**project.environment, "BROWSER": "true %s"}, record)
    shell.run("source .venv/bin/activate")
    text = (project.root / "README.md").read_text()
    servers = {"poe serve": "http://127.0.0.1:8080/ping"}
    ran = readme.run(text, shell, servers, {}, NOT_HERE, turn)
    return {each.step.text.strip(): each.output for each in ran}


@pytest.mark.parametrize("choices", [CHOICES])
def test_every_command_works_verbatim(choices: str, said: dict[str, str]) -> None:
    for task in ("serve", "predict", "test"):
        assert re.search(rf"^poe {task}\b", "\n".join(said), re.MULTILINE)


def test_what_is_skipped_is_told(said: dict[str, str]) -> None:
    for reason in ("no SageMaker SDK: python3 bootstrap.py", "no container engine answers"):
        assert re.search(rf"^\d+ skipped: {re.escape(reason)}", said["poe test"], re.MULTILINE)


def test_requests_and_files_are_answered_as_the_task_wants(
    project: Project, said: dict[str, str]
) -> None:
    columns = ["q0.5", "q0.9"]
    (asked,) = (output for text, output in said.items() if text.startswith("curl"))
    (prediction,) = json.loads(asked)["predictions"]
    assert list(prediction) == columns
    scored = pl.read_parquet(project.root / "predictions.parquet")
    records = pl.read_parquet(project.root / "data/raw/records.parquet")
    assert scored.columns == [*records.columns, *columns]
    assert prediction["q0.5"] < prediction["q0.9"]
    assert (scored["q0.5"] <= scored["q0.9"]).all()
    below = [(scored["arr_delay"] <= scored[name]).mean() for name in columns]
    assert below == pytest.approx([0.5, 0.9], abs=0.03)


@pytest.mark.usefixtures("said")
def test_the_server_answers_as_it_is_described(project: Project, tmp_path: Path) -> None:
    command = [str(project.root / ".venv/bin/serve"), "--port", "0"]
    log = tmp_path / "log"
    with log.open("wb") as stream:
        server = subprocess.Popen(command, cwd=project.root, env=project.environment, stderr=stream)
    try:
        while not (found := re.search(r"http://\S+", log.read_text())):
            assert server.poll() is None, log.read_text()
            time.sleep(0.1)
        done = described(found[0], tmp_path)
    finally:
        server.terminate()
        server.wait(30)
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("said")
def test_the_quality_that_is_promised_is_reached(project: Project) -> None:
    text = (project.root / "README.md").read_text()
    measured = json.loads((project.root / "reports/metrics.json").read_text())["test"]
    assert_promises_kept("regression", text, measured)


@pytest.mark.usefixtures("said")
def test_without_quantiles_the_mean_is_predicted(project: Project) -> None:
    (conf,) = (project.root / "conf/model").iterdir()
    before = conf.read_text()
    conf.write_text(before.replace("quantiles: [0.5, 0.9]", "quantiles: []"))
    assert conf.read_text() != before
    project.does("poe pipeline && poe predict data/raw/records.parquet mean.csv")
    scored = pl.read_csv(project.root / "mean.csv", infer_schema_length=None)
    known = scored.drop_nulls("arr_delay")
    assert known["mean"].mean() == pytest.approx(known["arr_delay"].mean(), abs=3)


# What takes the place of a classification, with all tests: test_swap.py.
def test_another_problem_takes_the_place_of_the_example(project: Project, tmp_path: Path) -> None:
    swapped = project.copy(tmp_path / "progression")
    swap(swapped, "progression")
    assert_only_the_surface_was_touched(swapped)
    swapped.does("poe pipeline")
    swapped.does("poe check && poe test-e2e")
    swapped.does("poe predict data/raw/records.parquet scored.csv")
    scored = pl.read_csv(swapped.root / "scored.csv")
    assert scored.select(pl.corr("mean", "progression")).item() ** 2 > 0.25
