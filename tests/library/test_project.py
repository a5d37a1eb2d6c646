"""The seams of a project: a model that is imported at first use, and a task of its own."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from ml_ready import artifact
from ml_ready.checks import Check, Interval, compare
from ml_ready.errors import ProjectError
from ml_ready.jobs import configure, evaluate, process, train
from ml_ready.jobs.folders import Paths
from ml_ready.serving.predictor import Predictor
from ml_ready.tasks.regression import Outputs, Regression


def module(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module, and return its name."""
    (folder / "odd_model.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "odd_model", raising=False)
    return "odd_model"


def test_a_model_is_imported_at_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, "Hyperparameters = fit = predict = 1\n", monkeypatch)
    project = synthetic.make(tmp_path / "project", model=name)
    assert name not in sys.modules
    assert project.training.fit == 1  # type: ignore[comparison-overlap]
    assert name in sys.modules


def test_what_a_model_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(tmp_path, "predict = 1\n", monkeypatch)
    project = synthetic.make(tmp_path / "project", model=name)
    with pytest.raises(ProjectError, match=r"odd_model\.py: Hyperparameters, fit is missing"):
        _ = project.training


class Median(Regression):
    """A task of a project: one median, which has to be right within a number of hours."""

    score = "Median error"
    constant = "median"

    def measure(self, target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> dict[str, float]:
        """Add the median of the absolute errors."""
        error = float(np.median(np.abs(target - scores[:, 0])))
        return super().measure(target, scores, outputs) | {"median_error": error}

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Outputs,
        config: Any,
    ) -> Sequence[Check]:
        """Ask one question."""
        error = metrics["median_error"]
        return [compare("median_error", "Is it near?", error, "≤", 10, window=window)]


def test_a_project_hands_over_a_task_of_its_own(tmp_path: Path) -> None:
    project = replace(synthetic.make(tmp_path, "quantiles"), task=Median())
    where = Paths(tmp_path)
    model = tmp_path / "conf" / "model" / "trees.yaml"
    model.write_text(model.read_text().replace("- 0.9\n", ""))
    configure.main(project, where, [])
    process.main(project, where, [])
    train.main(project, where, [])
    evaluate.main(project, where, ["evaluation.bootstrap_samples=100"])
    metrics = artifact.read_metrics(where.reports)
    assert metrics["gate"]["good"] is True
    assert 0 < metrics["test"]["median_error"] < 10
    assert "median" in metrics["test"]["gain"]
    assert Predictor(project, where.models).outputs.columns == ["q0.5"]
    page = (where.reports / artifact.REPORT_FILE).read_text(encoding="utf-8")
    assert "Median error, test" in page
