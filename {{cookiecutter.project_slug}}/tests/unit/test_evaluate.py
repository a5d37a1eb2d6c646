"""Metrics, intervals and the gate, on numbers small enough to check by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from {{ cookiecutter.package_name }}.entrypoints.configure import Configuration
from {{ cookiecutter.package_name }}.entrypoints.evaluate import remark
from {{ cookiecutter.package_name }}.errors import GateError
from {{ cookiecutter.package_name }}.training.evaluate import (
    Interval,
    calibration_error,
    checks,
    metrics,
    require_passed,
    roc_auc_intervals,
)

LABELS = np.array([0, 0, 1, 1])
SCORES = np.array([0.1, 0.6, 0.4, 0.9])
GOOD = {"roc_auc": 0.9, "log_loss": 0.3, "calibration_error": 0.01}


def test_metrics_are_those_of_the_textbook() -> None:
    measured = metrics(LABELS, SCORES, threshold=0.5)
    assert measured["roc_auc"] == 0.75
    assert (measured["precision"], measured["recall"], measured["f1"]) == (0.5, 0.5, 0.5)
    assert [
        measured[f"{side}_{kind}"]
        for side in ("true", "false")
        for kind in ("positives", "negatives")
    ] == [1, 1, 1, 1]
    assert measured["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)


def test_nobody_called_positive_is_no_error() -> None:
    assert metrics(LABELS, SCORES, threshold=1.0)["precision"] == 0


def test_a_calibrated_score_has_no_calibration_error() -> None:
    labels = np.tile([0, 0, 0, 1], 100)
    assert calibration_error(labels, np.full(400, 0.25), bins=1) == pytest.approx(0)
    assert calibration_error(labels, np.full(400, 0.75), bins=1) == pytest.approx(0.5)


def test_the_calibration_error_weighs_each_bin_by_its_rows() -> None:
    labels = np.array([0, 0, 0, 1])
    assert calibration_error(labels, np.array([0.1, 0.1, 0.1, 0.6]), bins=2) == pytest.approx(
        (2 * 0.1 + 2 * abs(0.35 - 0.5)) / 4
    )


def test_bootstrapped_areas_hold_the_area_and_the_gain() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=500)
    good, poor = labels + random.normal(size=500), random.normal(size=500)
    scores = {"model": good, "poor": poor, "same": good}
    found = roc_auc_intervals(labels, scores, samples=500, confidence=0.95, seed=1)
    area, gain = found["poor"]
    assert area.value == pytest.approx(roc_auc_score(labels, poor))
    assert area.low < area.value < area.high
    assert 0 < gain.low < gain.value < gain.high
    assert found["same"][1] == Interval(0, 0, 0)


def test_tied_scores_count_half_and_a_draw_of_one_class_counts_nothing() -> None:
    flat = {"model": np.full(4, 0.5)}
    area, _ = roc_auc_intervals(LABELS, flat, samples=500, confidence=0.95, seed=1)["model"]
    assert area == Interval(0.5, 0.5, 0.5)


def test_a_good_model_passes_the_gate(config: Configuration) -> None:
    gains = {"class_prior": Interval(0.2, 0.15, 0.25)}
    require_passed(checks("test", GOOD, gains, config.evaluation))


@pytest.mark.parametrize(
    ("changed", "gain", "message"),
    [
        ({"roc_auc": 0.5}, 0.2, "roc_auc on test is 0.5000, required ≥"),
        ({"log_loss": 2.0}, 0.2, "log_loss on test is 2.0000, required ≤"),
        ({"calibration_error": 0.4}, 0.2, "calibration_error on test is 0.4000, required ≤"),
        ({}, 0.0, "roc_auc gain over class_prior, lower end on test is 0.0000, required >"),
        ({"roc_auc": float("nan")}, 0.2, "roc_auc on test is nan"),
        ({}, float("nan"), "gain over class_prior, lower end on test is nan"),
    ],
)
def test_a_model_that_is_not_good_enough_is_stopped(
    config: Configuration, changed: dict[str, float], gain: float, message: str
) -> None:
    found = checks(
        "test", GOOD | changed, {"class_prior": Interval(gain, gain, gain)}, config.evaluation
    )
    with pytest.raises(GateError, match=message):
        require_passed(found)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.03, "It gains"), (-0.01, 0.01, "as good"), (-0.03, -0.01, "is better")],
)
def test_the_remark_says_who_is_better(low: float, high: float, said: str) -> None:
    assert said in remark(Interval((low + high) / 2, low, high))
