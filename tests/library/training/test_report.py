"""The report: one page with everything in it."""

import base64
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from jinja2 import UndefinedError
from matplotlib.axes import Axes
from ml_ready.checks import Check, Interval, Verdict, compare
from ml_ready.project import Drawing, Task
from ml_ready.tasks.binary import BinaryClassification
from ml_ready.tasks.binary import Outputs as Labels
from ml_ready.tasks.regression import Outputs, Regression
from ml_ready.training.report import page

INTERVAL = Interval(0.5, 0.25, 0.75)
WINDOWS = ("validation", "test")
RANDOM = np.random.default_rng(0)


def content(**changes: Any) -> dict[str, Any]:
    """Return what the page shows beside its figures."""
    metadata = {
        "trained_at": "2024-01-01T00:00:00+00:00",
        "git_commit": "abc",
        "git_clean": False,
        "data_sha256": "def",
        "lock_sha256": None,
        "contract_version": "123",
        "window": {"column": "sent_at", "first": "1", "last": "2", "rows": 7},
        "outputs": {"threshold": 0.5},
        "hyperparameters": {"max_iter": 15},
    }
    rivals = {"model": (INTERVAL, Interval(0, 0, 0)), "linear": (INTERVAL, INTERVAL)}
    checks = [
        compare("roc_auc", "Is it good?", 0.7, "≥", 0.6, window="test"),
        compare("log_loss", "Is it close?", 0.9, "≤", 0.8, window="validation"),
    ]
    return {
        "name": "parcels <late>",
        "passed": False,
        "metadata": metadata,
        "metrics": {window: {"rows": 7, "loss": 0.123456} for window in WINDOWS},
        "title": "ROC-AUC",
        "gain": "ROC-AUC",
        "tiles": dict.fromkeys(WINDOWS, ("Positives found", "40 %", "a remark")),
        "compared": dict.fromkeys(WINDOWS, rivals),
        "confidence": 0.95,
        "labels": {"model": "This model", "linear": "Linear"},
        "remark": "It gains.",
        "checks": checks,
        "not_compared": "",
    } | changes


def text(html: str) -> str:
    """Return the texts of a page, in one line."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def test_each_check_is_shown_with_its_window_value_threshold_and_verdict() -> None:
    shown = text(page([], content()))
    assert "roc_auc test 0.7000 ≥ 0.6 passed" in shown
    assert "log_loss validation 0.9000 ≤ 0.8 failed" in shown
    assert "Gate failed" in shown
    assert "Gate passed" in text(page([], content(passed=True)))
    looked_at = Check("looked_at", "Was it looked at?", "data-science", "yes", Verdict.NOT_RUN)
    shown = text(page([], content(checks=[looked_at])))
    assert f"looked_at {Verdict.NOT_RUN} yes {Verdict.NOT_RUN}" in shown


def test_texts_of_a_project_are_escaped() -> None:
    assert "parcels &lt;late&gt;: model report" in page([], content())


def test_a_model_in_production_that_was_not_compared_is_mentioned() -> None:
    assert "model in production: it" not in text(page([], content()))
    assert "Not compared with the model in production: it is older" in text(
        page([], content(not_compared="it is older"))
    )


def test_content_that_is_missing_is_an_error() -> None:
    incomplete = content()
    del incomplete["remark"]
    with pytest.raises(UndefinedError, match="remark"):
        page([], incomplete)


def test_a_figure_is_in_the_page() -> None:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], label="test")

    html = page([Drawing("A line", "What it shows.", draw)], content())
    match = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html)
    assert match
    assert b"<svg" in base64.b64decode(match[1])
    assert "http" not in re.sub(r'src="data:[^"]+"', "", html)
    assert "A line What it shows." in text(html)


def binary() -> tuple[Task, Any, Callable[[], tuple[np.ndarray, np.ndarray]]]:
    """A classifier and scores."""
    return (
        BinaryClassification(),
        Labels(0.5),
        lambda: (RANDOM.integers(2, size=300), RANDOM.uniform(size=300)),
    )


def regression(*columns: str) -> tuple[Task, Any, Callable[[], tuple[np.ndarray, np.ndarray]]]:
    """A regression and scores."""
    return (
        Regression(),
        Outputs(columns),
        lambda: (RANDOM.normal(size=300), np.sort(RANDOM.normal(size=(300, len(columns))))),
    )


@pytest.mark.parametrize(
    ("case", "titles"),
    [
        (binary(), ["ROC curve", "Precision and recall", "Calibration", "Distribution"]),
        (
            regression("q0.5", "q0.9"),
            ["Residuals", "Residuals by prediction", "Calibration", "Coverage"],
        ),
        (regression("mean"), ["Residuals", "Residuals by prediction", "Calibration"]),
    ],
    ids=["binary", "quantiles", "mean"],
)
def test_the_curves_of_each_task_are_drawn(case: Any, titles: list[str]) -> None:
    task, outputs, draw = case
    curves = task.curves({window: draw() for window in WINDOWS}, outputs)
    drawings = task.drawings(curves)
    assert [drawing.title for drawing in drawings] == titles
    assert page(drawings, content()).count("<img") == len(titles)
