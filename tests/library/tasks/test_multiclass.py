"""Multiclass classification: what is answered, measured, gated and drawn, from source to server."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import synthetic
from ml_ready.errors import (
    ConfigError,
    ContractError,
    GateError,
    MismatchError,
    ModelError,
    ProjectError,
)
from ml_ready.jobs import evaluate, ingest, preprocess, train
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project, Task
from ml_ready.serving.formats import Formats
from ml_ready.serving.openapi import description
from ml_ready.serving.predictor import Predictor
from ml_ready.tasks.multiclass import MulticlassClassification, Outputs, calibration_error
from ml_ready.testing.checks import check_project
from synthetic_speeds import EVALUATION, TASK, add_speed

LABELS = ["fast", "usual", "slow"]
COLUMNS = ["label", "probability_fast", "probability_usual", "probability_slow"]


@pytest.fixture(scope="module")
def speeds(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with three labels, whose model is trained and evaluated."""
    root = tmp_path_factory.mktemp("speeds") / "project"
    # mypy holds it to the protocol.
    task: Task = TASK
    binary = synthetic.make(root, model="synthetic_speeds", add_target=add_speed)
    project = replace(binary, task=task)
    synthetic.write(root / "conf/config.yaml", synthetic.CONFIG | {"evaluation": EVALUATION})
    for stage in (ingest, preprocess, train, evaluate):
        stage.main(project, Paths(root), [])
    return project


def test_a_model_of_several_labels_is_exported_measured_compared_and_drawn(speeds: Project) -> None:
    metadata = json.loads((speeds.root / "models/metadata.json").read_text("utf-8"))
    assert metadata["outputs"] == {"labels": LABELS}
    assert metadata["parity"] < 1e-5
    metrics = json.loads((speeds.root / "reports/metrics.json").read_text("utf-8"))
    assert metrics["gate"]["good"] is True
    test = metrics["test"]
    assert test["balanced_accuracy"] > 0.6
    assert sum(test[f"share_{label}"] for label in LABELS) == pytest.approx(1)
    assert test["gain"]["class_shares"]["low"] > 0
    page = (speeds.root / "reports/index.html").read_text("utf-8")
    for title in ("Confusion", "Calibration", "Distribution"):
        assert f"<h3>{title}</h3>" in page
    confusion = pl.read_csv(speeds.root / "reports/plots/test/confusion.csv")
    assert {*confusion["actual"]} == {*LABELS}
    assert confusion.height == test["rows"]


def test_each_threshold_stops_the_model(speeds: Project) -> None:
    for setting, line in (
        ("minimum_balanced_accuracy=0.99", r"balanced_accuracy on test is .*, required ≥ 0\.99"),
        ("maximum_log_loss=0.01", r"log_loss on test is .*, required ≤ 0\.01"),
        ("maximum_calibration_error=0", r"calibration_error on test is .*, required ≤ 0"),
        ("minimum_gain=0.99", r"gain over class_shares"),
    ):
        with pytest.raises(GateError, match=line):
            evaluate.main(speeds, Paths(speeds.root), [f"evaluation.{setting}"])


def test_requests_and_files_get_the_likeliest_label(speeds: Project) -> None:
    predictor = Predictor(speeds, speeds.root / "models")
    records = pl.read_parquet(speeds.root / "data/raw/records.parquet").head(50)
    scores = predictor.frame(records)
    table = predictor.outputs.table(scores)
    assert table.columns == COLUMNS
    assert table.select(pl.sum_horizontal(COLUMNS[1:])).to_series().to_list() == pytest.approx(
        [1] * 50
    )
    answers = predictor.outputs.predictions(scores.tolist())
    assert answers == table.to_dicts()
    assert all(each["label"] == LABELS[np.argmax([*each.values()][1:])] for each in answers)
    assert b'"predictions"' in description(Formats(speeds))


def test_the_project_holds_to_the_contract_of_the_library(speeds: Project) -> None:
    # It has no stages of DVC.
    with pytest.raises(ProjectError, match=r"^check_stages_list_their_code: .*$"):
        check_project(speeds)


def test_a_model_of_other_labels_is_not_served(speeds: Project) -> None:
    others = replace(speeds, task=MulticlassClassification("slow", "usual", "fast"))
    with pytest.raises(MismatchError, match=r"other outputs \(labels are .*, expected"):
        Predictor(others, speeds.root / "models")


@pytest.mark.parametrize("odd", [3, -1, 0.5, "fast"])
def test_a_target_that_is_no_position_is_refused(odd: Any) -> None:
    line = (
        f"target is {odd!r}, expected 0 to 2, the positions of fast, usual, slow. Change target()"
    )
    target, scores = np.array([odd] * 3), np.full((3, 3), 1 / 3)
    with pytest.raises(ContractError, match=re.escape(line)):
        TASK.derive_outputs(None, target, scores)
    with pytest.raises(ContractError, match=re.escape(line)):
        TASK.measure(target, scores, Outputs(LABELS))


@pytest.mark.parametrize(
    "scores", [np.full((2, 2), 0.5), np.full((2, 3), 0.5), np.array([[2.0, -1, 0]] * 2), np.ones(2)]
)
def test_scores_that_are_no_probabilities_of_the_labels_are_refused(scores: np.ndarray) -> None:
    with pytest.raises(ModelError, match="expected the probabilities of fast, usual, slow"):
        TASK.derive_outputs(None, np.array([0, 1]), scores)


@pytest.mark.parametrize(
    "labels", [[], ["one"], ["one", "one"], ["one", 2], ["one", "a,b"], ["one", "$"], [["a", "b"]]]
)
def test_what_are_no_labels_is_refused(labels: list[Any]) -> None:
    with pytest.raises(ConfigError, match=r"project\.py: .* expected two or more different texts"):
        MulticlassClassification(*labels)


def test_labels_may_have_spaces_and_umlauts() -> None:
    assert Outputs(["sehr früh", "15 min"]).columns[1:] == [
        "probability_sehr früh",
        "probability_15 min",
    ]


def test_columns_are_labels_in_whatever_order_the_scores_are_kept() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.1, 0.4]])
    outputs = Outputs(LABELS)
    assert outputs.table(np.asfortranarray(scores)).equals(outputs.table(scores))
    assert outputs.table(scores)["probability_fast"].to_list() == [0.7, 0.1, 0.5]


def test_metrics_are_those_that_are_computed_by_hand() -> None:
    target = np.array([0, 0, 1, 2])
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25]])
    metrics = TASK.measure(target, scores, Outputs(LABELS))
    assert metrics["accuracy"] == 0.5
    assert metrics["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert metrics["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.2, 0.8, 0.25]).mean())
    assert (metrics["precision_usual"], metrics["recall_slow"]) == (0.5, 0)


def test_a_label_that_does_not_occur_has_no_part_in_balanced_accuracy() -> None:
    metrics = TASK.measure(np.array([0, 1]), np.eye(3)[:2], Outputs(LABELS))
    assert metrics["balanced_accuracy"] == 1
    assert metrics["share_slow"] == 0
    assert TASK.tile(metrics) == ("Labels found", "100 %", "of fast: 100 %")


def test_a_probability_that_is_right_as_often_as_it_says_is_calibrated() -> None:
    random = np.random.default_rng(0)
    scores = random.dirichlet([1, 1, 1], 20_000)
    target = (random.uniform(size=(20_000, 1)) > scores.cumsum(axis=1)).sum(axis=1)
    assert calibration_error(target, scores) < 0.01
    assert calibration_error(target, scores**3 / (scores**3).sum(axis=1, keepdims=True)) > 0.1
