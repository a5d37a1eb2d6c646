"""Regression with XGBoost: installed, and its README followed.

With the project of test_readme.py, each task and each framework is run once.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import polars as pl
import pytest

from tests.conftest import bake_into
from tests.project import engine, readme
from tests.project.conftest import ANSWERS, Project, described
from tests.project.swap_surface import assert_only_the_surface_was_touched, swap
from tests.project.test_readme import ELSEWHERE, assert_promises_kept

OTHERS = ANSWERS | {"task": "regression", "framework": "xgboost"}
CHOICES = f"{OTHERS['task']}-{OTHERS['framework']}"
SAME = "test_readme.py: it is the same for all"
WHOLE = "poe test, below it, runs every tier"
NOT_HERE = ELSEWHERE | {
    "poe test-unit": WHOLE,
    "poe test-module": WHOLE,
    "poe test-integration": WHOLE,
    "poe test-e2e": WHOLE,
    "poe test-sagemaker": "the last tests here run what differs; all of it: test_readme.py",
    "poe ui": SAME,
    "python3 bootstrap.py poetry install --with track": SAME,
    "poe full-data": SAME,
    "python3 bootstrap.py poetry add NAME": SAME,
}


@pytest.fixture(scope="module")
def project(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project as `bootstrap.py` leaves it."""
    project = Project(bake_into(tmp_path_factory.mktemp("other"), **OTHERS), user)
    project.does("python3 bootstrap.py", activated=False)
    project.does("git tag baked")
    yield project
    shutil.rmtree(project.root / ".venv")


def label(project: Project) -> str:
    """What the images bear that the commands of its README build."""
    return f"{engine.RUN}={project.root}"


@pytest.fixture(scope="module")
def said(
    project: Project, turn: filelock.BaseFileLock, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What each command of the README printed."""
    record = tmp_path_factory.mktemp("record")
    options = f"{project.environment.get('IMAGE_OPTIONS', '')} --label {label(project)}"
    given = {"BROWSER": "true %s", "IMAGE_OPTIONS": options}
    shell = readme.Shell(project.root, {**project.environment, **given}, record)
    text = (project.root / "README.md").read_text()
    servers = {"poe serve": "http://127.0.0.1:8080/ping"}
    found = readme.run(text, shell, servers, {}, NOT_HERE, turn)
    return {each.step.text.strip(): each.output for each in found}


@pytest.mark.parametrize("choices", [CHOICES])
def test_every_command_works_verbatim(choices: str, said: dict[str, str]) -> None:
    for task in ("check", "pipeline", "serve", "predict", "test", "hooks"):
        assert re.search(rf"^poe {task}\b", "\n".join(said), re.MULTILINE)


def test_what_is_skipped_is_told(said: dict[str, str]) -> None:
    assert re.search(r"\d skipped: no SageMaker SDK: python3 bootstrap\.py", said["poe test"])


def test_the_images_of_the_tests_go_with_them(project: Project, said: dict[str, str]) -> None:
    if not engine.answers():
        pytest.skip(engine.NONE)
    assert "no container engine answers" not in said["poe test"]
    assert engine.labelled(label(project)) == set()


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


@pytest.mark.usefixtures("said")
def test_the_pipeline_of_sagemaker_makes_the_model_that_is_made_here(project: Project) -> None:
    project.does("python3 bootstrap.py poetry install --with sagemaker")
    told = project.does("pytest tests/e2e/test_sagemaker_local.py -k whole_pipeline")
    if not engine.answers():
        pytest.skip(engine.NONE)
    assert re.search(r"\b1 passed", told)


def test_spark_makes_the_windows_of_the_other_task(project: Project) -> None:
    project.does("python3 bootstrap.py poetry install --with spark")
    told = project.does("pytest tests/integration/test_spark.py -k every_column")
    assert re.search(r"\b1 passed", told)
    # As docs/sagemaker.md says.
    project.does("process-spark")
    assert not (project.root / "data/raw/records.parquet").exists()
    project.does("poe pipeline")
    assert (project.root / "data/raw/records.parquet").exists()
    assert "up to date" in project.does("dvc status")
