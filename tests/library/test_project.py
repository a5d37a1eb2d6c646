"""The seams: a model that is loaded when it is used, and parts that are a project's own."""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import counts
import polars as pl
import pytest
import synthetic
from ml_ready import tables
from ml_ready.errors import GateError, ParityError, ProjectError
from ml_ready.jobs import evaluate, ingest, preprocess, train
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project, Task
from ml_ready.serving.formats import Formats
from ml_ready.serving.openapi import description
from ml_ready.serving.predictor import Predictor

MODULE = "model_of_a_test"
EVALUATION = {
    "baseline_features": ["hour"],
    "bootstrap_samples": 100,
    "confidence": 0.95,
    "minimum_gain": 0.0,
    "maximum_deviance": 5.0,
    "parity_tolerance": 1e-3,
}


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a model that nothing has imported."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder / f"{MODULE}.py"
    sys.modules.pop(MODULE, None)


def test_a_model_is_imported_when_it_is_used_and_once(tmp_path: Path, module: Path) -> None:
    module.write_text("Hyperparameters = fit = predict = print\n", encoding="utf-8")
    project = synthetic.make(tmp_path / "project", model=MODULE)
    assert project.feature_names
    assert project.contract_version
    assert MODULE not in sys.modules
    assert project.training.fit is print
    assert project.training is sys.modules[MODULE]


def test_a_model_that_lacks_a_part_is_named_with_what_it_lacks(
    tmp_path: Path, module: Path
) -> None:
    module.write_text("def predict(model, frame): ...\n", encoding="utf-8")
    project = synthetic.make(tmp_path / "project", model=MODULE)
    expected = rf"{MODULE}\.py: has no Hyperparameters, fit, expected Hyperparameters, fit\(\)"
    with pytest.raises(ProjectError, match=expected) as caught:
        _ = project.training
    assert "\n" not in str(caught.value)


def test_a_model_may_be_an_object(tmp_path: Path) -> None:
    own = SimpleNamespace(Hyperparameters=dict, fit=print, predict=print)
    project = synthetic.make(tmp_path / "project", model=own)
    assert project.training is own


def test_what_is_known_at_prediction_time_is_an_input(tmp_path: Path) -> None:
    project = synthetic.make(tmp_path / "project")
    names = [column.name for column in project.inputs]
    assert "hours" not in names
    assert [*names, "hours"] == [column.name for column in project.columns]


def test_records_may_come_from_a_function_of_the_project(tmp_path: Path) -> None:
    asked = []

    def half(folder: Path, name: str) -> pl.DataFrame:
        asked.append(name)
        table = tables.read_named(folder, name)
        return table.head(400) if name == "parcels.parquet" else table

    project = synthetic.make(tmp_path / "project", source=half)
    config = configuration(project, Paths(project.root))
    checked = ingest.records(project, project.root / config.source, config.data)
    assert sorted(asked) == ["parcels.parquet", "staff.parquet"]
    assert checked.valid.height == 400


@pytest.fixture(scope="session")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a task of its own, whose model is trained."""
    root = tmp_path_factory.mktemp("counting") / "project"
    # mypy holds it to the protocol.
    task: Task = counts.Counts()
    project = replace(
        synthetic.make(root, "mean", model="counts", add_target=counts.add_count), task=task
    )
    synthetic.write(root / "conf" / "config.yaml", synthetic.CONFIG | {"evaluation": EVALUATION})
    where = Paths(root)
    for stage in (ingest, preprocess, train):
        stage.main(project, where, [])
    return project


def test_a_task_of_a_project_is_exported_measured_compared_and_drawn(counting: Project) -> None:
    evaluate.main(counting, Paths(counting.root), [])
    metadata = json.loads((counting.root / "models" / "metadata.json").read_text("utf-8"))
    assert metadata["outputs"] == {"columns": ["count"]}
    assert 0 < metadata["parity"] < 1e-3
    metrics = json.loads((counting.root / "reports" / "metrics.json").read_text("utf-8"))
    assert metrics["gate"]["good"] is True
    assert metrics["test"]["deviance"] < 5
    assert metrics["test"]["gain"]["mean_count"]["low"] > 0
    page = (counting.root / "reports" / "index.html").read_text("utf-8")
    assert re.search("<h3>Counts</h3>", page)
    assert (counting.root / "reports" / "plots" / "test" / "counts.csv").is_file()


def test_a_task_of_a_project_stops_a_model_that_is_not_good_enough(counting: Project) -> None:
    with pytest.raises(GateError, match=r"deviance on test is .*, required ≤ 0\.01"):
        evaluate.main(counting, Paths(counting.root), ["evaluation.maximum_deviance=0.01"])


def test_a_task_of_a_project_is_held_to_parity(counting: Project) -> None:
    class Rounded(counts.Counts):
        """Forgets that it exports a logarithm."""

        def to_onnx(self, model: object, *features: object) -> bytes:
            exported = super().to_onnx(model, *features)  # type: ignore[arg-type]
            return exported.replace(b"Exp", b"Abs")

    with pytest.raises(ParityError, match="differs from the trained one"):
        train.main(replace(counting, task=Rounded()), Paths(counting.root), [])


def test_a_task_of_a_project_answers_requests(counting: Project) -> None:
    predictor = Predictor(counting, counting.root / "models")
    record: dict[str, Any] = {column.name: None for column in counting.inputs}
    record |= {"sent_at": synthetic.START, "depot": "west", "code": "AX", "stops": 3}
    answers = predictor.outputs.predictions(
        predictor.records([record | {"distance": 900}]).tolist()
    )
    assert [*answers[0]] == ["count"]
    assert 0 < answers[0]["count"] < 12
    assert b'"count"' in description(Formats(counting))
