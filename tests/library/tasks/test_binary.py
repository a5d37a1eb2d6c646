"""Binary classification, on numbers small enough to check by hand."""

from collections.abc import Mapping

import numpy as np
import polars as pl
import pytest
from fitted import Fitted
from ml_ready.checks import Interval, require_passed
from ml_ready.errors import GateError
from ml_ready.tasks.binary import POINTS, BinaryClassification, Outputs, calibration_error
from sklearn.metrics import roc_auc_score
from synthetic import NUMERIC, TARGET

LABELS = np.array([0, 0, 1, 1])
SCORES = np.array([0.1, 0.6, 0.4, 0.9])
HALF = Outputs(0.5)
TASK = BinaryClassification()
EVALUATION = TASK.evaluation()(
    baseline_features=["a"],
    bootstrap_samples=500,
    confidence=0.95,
    minimum_gain=0.02,
    minimum_roc_auc=0.65,
    maximum_log_loss=0.55,
    maximum_calibration_error=0.06,
    parity_tolerance=1e-5,
)
GOOD = {"roc_auc": 0.9, "log_loss": 0.3, "calibration_error": 0.01}


def test_a_record_is_labelled_at_and_above_the_threshold() -> None:
    assert HALF.predictions([0.5, 0.4]) == [
        {"probability": 0.5, "label": 1},
        {"probability": 0.4, "label": 0},
    ]


def test_a_file_is_answered_as_a_request_is() -> None:
    table = HALF.table(SCORES)
    assert table.columns == [*HALF.columns]
    assert table.to_dicts() == HALF.predictions(SCORES.tolist())


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        Outputs(threshold)


def test_the_threshold_lies_halfway_between_what_can_be_separated() -> None:
    outputs = TASK.derive_outputs(None, LABELS, np.array([0.1, 0.2, 0.3, 0.9]))
    assert outputs.threshold == pytest.approx(0.25)


def test_metrics_are_those_of_the_textbook() -> None:
    metrics = TASK.measure(LABELS, SCORES, HALF)
    assert metrics["roc_auc"] == 0.75
    assert (metrics["precision"], metrics["recall"], metrics["f1"]) == (0.5, 0.5, 0.5)
    assert [
        metrics[f"{side}_{kind}"]
        for side in ("true", "false")
        for kind in ("positives", "negatives")
    ] == [1, 1, 1, 1]
    assert metrics["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)


def test_nobody_called_positive_is_no_error() -> None:
    assert TASK.measure(LABELS, SCORES, Outputs(1.0))["precision"] == 0


def test_a_calibrated_score_has_no_calibration_error() -> None:
    labels = np.tile([0, 0, 0, 1], 100)
    assert calibration_error(labels, np.full(400, 0.25), bins=1) == pytest.approx(0)
    assert calibration_error(labels, np.full(400, 0.75), bins=1) == pytest.approx(0.5)


def test_the_calibration_error_depends_on_no_order_of_equal_scores() -> None:
    labels = np.sort(np.tile([0, 0, 0, 1], 100))
    assert calibration_error(labels, np.full(400, 0.25), bins=10) == pytest.approx(0)


def test_the_calibration_error_weighs_each_bin_by_its_rows() -> None:
    labels = np.array([0, 0, 0, 1])
    assert calibration_error(labels, np.array([0.1, 0.1, 0.1, 0.6]), bins=2) == pytest.approx(
        (3 * 0.1 + 1 * abs(0.6 - 1)) / 4
    )


def test_the_class_prior_is_the_share_of_positives(binary: Fitted) -> None:
    frame = pl.DataFrame({TARGET: [0, 1, 1, 0]})
    (prior,) = TASK.constant_baseline(binary.project, frame, [frame.head(3)], HALF)
    assert prior.tolist() == [0.5, 0.5, 0.5]


def test_bootstrapped_areas_hold_the_area_and_the_gain() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=500)
    good, poor = labels + random.normal(size=500), random.normal(size=500)
    intervals = TASK.compare(
        labels, {"model": good, "poor": poor, "same": good}, HALF, EVALUATION, seed=1
    )
    area, gain = intervals["poor"]
    assert area.value == pytest.approx(roc_auc_score(labels, poor))
    assert area.low < area.value < area.high
    assert 0 < gain.low < gain.value < gain.high
    assert intervals["same"][1] == Interval(0, 0, 0)


def test_tied_scores_count_half_and_a_draw_of_one_class_counts_nothing() -> None:
    flat: Mapping[str, np.ndarray] = {"model": np.full(4, 0.5)}
    area, _ = TASK.compare(LABELS, flat, HALF, EVALUATION, seed=1)["model"]
    assert area == Interval(0.5, 0.5, 0.5)


def test_a_good_model_passes_the_gate() -> None:
    gains = {"class_prior": Interval(0.2, 0.15, 0.25)}
    require_passed(TASK.checks("test", GOOD, gains, HALF, EVALUATION))


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
    changed: dict[str, float], gain: float, message: str
) -> None:
    gains = {"class_prior": Interval(gain, gain, gain)}
    verdicts = TASK.checks("test", GOOD | changed, gains, HALF, EVALUATION)
    with pytest.raises(GateError, match=message):
        require_passed(verdicts)


def test_the_summary_and_the_tile_name_the_metrics() -> None:
    metrics = {"roc_auc": 0.75, "log_loss": 0.5, "precision": 0.6, "recall": 0.4}
    assert TASK.summary(metrics) == "ROC-AUC 0.750, log loss 0.500"
    assert TASK.tile(metrics) == ("Positives found", "40 %", "60 % of the alarms are right")


def test_a_linear_model_on_few_features_beats_chance(binary: Fitted) -> None:
    train, test = binary.windows["train"], binary.windows["test"]
    few = ["distance"]
    (scores,) = TASK.linear_baseline(binary.project, train, [test], few, HALF)
    assert roc_auc_score(test[TARGET], scores) > 0.5


def test_baselines_see_only_the_features_that_they_are_given(binary: Fitted) -> None:
    train, test = binary.windows["train"], binary.windows["test"]
    few = [NUMERIC[0]]
    others = [name for name in binary.project.feature_names if name not in few]
    (full,) = TASK.linear_baseline(binary.project, train, [test], few, HALF)
    (short,) = TASK.linear_baseline(
        binary.project, train.drop(others), [test.drop(others)], few, HALF
    )
    assert (full == short).all()


def test_baselines_scale_numbers(binary: Fitted) -> None:
    frames = [binary.windows["train"], binary.windows["test"]]
    stretched = [
        frame.with_columns((pl.col(NUMERIC[0]) * 1000 + 7).alias(NUMERIC[0])) for frame in frames
    ]
    (plain,) = TASK.linear_baseline(binary.project, frames[0], frames[1:], NUMERIC, HALF)
    (scaled,) = TASK.linear_baseline(binary.project, stretched[0], stretched[1:], NUMERIC, HALF)
    assert plain == pytest.approx(scaled, abs=1e-3)


def test_curves_reach_both_corners(binary: Fitted) -> None:
    test = binary.windows["test"]
    scored = {"test": (test[TARGET].to_numpy(), binary.predict(binary.model, test))}
    roc = TASK.curves(scored, HALF)["roc"]
    assert roc.row(0)[1:] == (0, 0)
    assert roc.row(-1)[1:] == (1, 1)
    assert roc.height <= POINTS


def test_a_long_curve_is_thinned() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=5000)
    curves = TASK.curves({"test": (labels, random.uniform(size=5000))}, HALF)
    assert curves["roc"].height <= POINTS
    assert curves["precision_recall"].height <= POINTS
    assert curves["confusion"].height == 5000
    assert curves["distribution"]["share"].sum() == pytest.approx(1)
