"""Regression, on numbers small enough to check by hand."""

import numpy as np
import polars as pl
import pytest
from fitted import Fitted
from ml_ready.checks import Interval, require_passed
from ml_ready.errors import GateError
from ml_ready.tasks import regression
from ml_ready.tasks.regression import GROUPS, Outputs, Regression, losses, names, point
from sklearn.metrics import mean_pinball_loss, r2_score
from synthetic import NUMERIC, TARGET

ACTUAL = np.array([0.0, 10.0, 20.0, 30.0])
QUANTILES, MEAN = Outputs(["q0.5", "q0.9"]), Outputs(["mean"])
SCORES = np.column_stack([np.full(4, 12.0), np.full(4, 25.0)])
TASK = Regression()
EVALUATION = TASK.evaluation()(
    baseline_features=["a"],
    bootstrap_samples=500,
    confidence=0.95,
    minimum_gain=0.02,
    maximum_mean_absolute_error=30,
    maximum_coverage_error=0.06,
    parity_tolerance=1e-3,
)
GOOD = {"mean_absolute_error": 1.0, "coverage_q0.5": 0.5, "coverage_q0.9": 0.9}


@pytest.mark.parametrize(
    ("levels", "expected"),
    [([0.5, 0.9], ["q0.5", "q0.9"]), ([0.05, 1e-5], ["q0.05", "q0.00001"]), ([], ["mean"])],
)
def test_predictions_are_named_by_their_level(levels: list[float], expected: list[str]) -> None:
    assert names(levels) == expected


def test_each_quantile_of_a_record_is_answered() -> None:
    assert QUANTILES.predictions([[1.0, 2.0]]) == [{"q0.5": 1.0, "q0.9": 2.0}]
    assert MEAN.predictions([[1.0]]) == [{"mean": 1.0}]


def test_a_file_is_answered_as_a_request_is() -> None:
    table = QUANTILES.table(SCORES)
    assert table.columns == [*QUANTILES.columns]
    assert table.to_dicts() == QUANTILES.predictions(SCORES.tolist())


@pytest.mark.parametrize(
    "columns", [[], ["q0.9", "q0.5"], ["q0.5", "q0.5"], ["q1"], ["q0.50"], ["mean", "q0.5"], ["x"]]
)
def test_other_columns_are_no_outputs(columns: list[str]) -> None:
    with pytest.raises(ValueError, match=r"expected \['mean'\], or rising"):
        Outputs(columns)


def test_the_outputs_are_what_the_models_are_called() -> None:
    assert TASK.derive_outputs({"q0.5": None, "q0.9": None}, ACTUAL, SCORES) == QUANTILES


def test_the_loss_is_the_pinball_loss_averaged_over_the_quantiles() -> None:
    expected = [
        mean_pinball_loss(ACTUAL, SCORES[:, index], alpha=level)
        for index, level in enumerate((0.5, 0.9))
    ]
    assert losses(ACTUAL, SCORES, QUANTILES).mean() == pytest.approx(np.mean(expected))


def test_the_loss_of_a_mean_is_the_squared_error() -> None:
    assert losses(ACTUAL, SCORES[:, :1], MEAN).tolist() == [144, 4, 64, 324]


@pytest.mark.parametrize(
    ("columns", "expected"), [(["q0.1", "q0.6"], 2), (["q0.4", "q0.9"], 1), (["mean"], 1)]
)
def test_the_point_prediction_is_next_to_the_median(columns: list[str], expected: float) -> None:
    scores = np.array([[1.0, 2.0]])[:, : len(columns)]
    assert point(scores, Outputs(columns)).tolist() == [expected]


def test_an_error_of_no_median_is_not_judged() -> None:
    tail = Outputs(["q0.9"])
    metrics = TASK.measure(ACTUAL, SCORES[:, 1:], tail)
    verdicts = TASK.checks("test", metrics, {}, tail, EVALUATION)
    assert [each.id for each in verdicts] == ["distance of coverage_q0.9 from 0.9"]
    assert TASK.tile(metrics) == ("Coverage q0.9", "0.75", "95 % interval 0.30 to 0.95")
    assert TASK.summary(metrics) == "loss 2.250, coverage q0.9 0.75"


def test_metrics_are_those_of_the_textbook() -> None:
    metrics = TASK.measure(ACTUAL, SCORES, QUANTILES)
    assert metrics["mean_absolute_error"] == (12 + 2 + 8 + 18) / 4
    assert metrics["mean_residual"] == 15 - 12
    assert (metrics["coverage_q0.5"], metrics["coverage_q0.9"]) == (0.5, 0.75)
    # Wilson's interval of 2 in 4, as Newcombe's tables of 1998 have it.
    assert metrics["coverage_q0.5_low"] == pytest.approx(0.150, abs=5e-4)
    assert metrics["coverage_q0.5_high"] == pytest.approx(0.850, abs=5e-4)


def test_the_summary_and_the_tile_name_the_error_of_a_median() -> None:
    metrics = TASK.measure(ACTUAL, SCORES, QUANTILES)
    remark = "actual less predicted: +3.00 on average"
    assert TASK.tile(metrics) == ("Mean absolute error", "10.00", remark)
    assert TASK.summary(metrics) == "loss 3.625, mean absolute error 10.00"


def test_a_model_gives_a_value_for_each_column() -> None:
    assert (QUANTILES.width, MEAN.width) == (2, 1)


def test_a_mean_has_r2_and_no_coverage() -> None:
    metrics = TASK.measure(ACTUAL, SCORES[:, :1], MEAN)
    assert metrics["r2"] == pytest.approx(r2_score(ACTUAL, SCORES[:, 0]))
    assert metrics["root_mean_squared_error"] == pytest.approx(134**0.5)
    assert not [name for name in metrics if name.startswith("coverage")]


def test_a_constant_has_the_quantiles_or_the_mean_of_training(quantiles: Fitted) -> None:
    frame = pl.DataFrame({TARGET: [0.0, 0.0, 10.0, 10.0, 30.0]})
    assert TASK.constant_baseline(quantiles.project, frame, [frame.head(1)], Outputs(["q0.5"]))[
        0
    ].tolist() == [[10]]
    assert TASK.constant_baseline(quantiles.project, frame, [frame.head(2)], MEAN)[0].tolist() == [
        [10],
        [10],
    ]


@pytest.mark.parametrize("outputs", [QUANTILES, MEAN])
def test_bootstrapped_losses_hold_the_loss_and_the_gain(outputs: Outputs) -> None:
    random = np.random.default_rng(0)
    actual = random.normal(size=500)
    wide = np.tile([0.0, 1.28], (500, 1))[:, : len(outputs.columns)]
    good, poor = wide + 0.5 * actual[:, None], wide + random.normal(size=(500, 1))
    intervals = TASK.compare(
        actual, {"model": good, "poor": poor, "same": good}, outputs, EVALUATION, 1
    )
    loss, gain = intervals["poor"]
    assert loss.value == pytest.approx(losses(actual, poor, outputs).mean())
    assert loss.low < loss.value < loss.high
    assert 0 < gain.low < gain.value < gain.high < 1
    assert intervals["same"][1] == Interval(0, 0, 0)


def test_a_good_model_passes_the_gate() -> None:
    gains = {"constant": Interval(0.2, 0.15, 0.25)}
    require_passed(TASK.checks("test", GOOD, gains, QUANTILES, EVALUATION))
    require_passed(TASK.checks("test", GOOD, gains, MEAN, EVALUATION))


@pytest.mark.parametrize(
    ("changed", "gain", "message"),
    [
        ({"mean_absolute_error": 1e6}, 0.2, "mean_absolute_error on test is 1000000.0000, requir"),
        ({"coverage_q0.9": 0.5}, 0.2, "distance of coverage_q0.9 from 0.9 on test is 0.4000, requ"),
        ({"coverage_q0.5": 1.0}, 0.2, "distance of coverage_q0.5 from 0.5 on test is 0.5000, requ"),
        ({}, 0.0, "loss gain over constant, lower end on test is 0.0000, required >"),
        ({"mean_absolute_error": float("nan")}, 0.2, "mean_absolute_error on test is nan"),
        ({}, float("nan"), "gain over constant, lower end on test is nan"),
    ],
)
def test_a_model_that_is_not_good_enough_is_stopped(
    changed: dict[str, float], gain: float, message: str
) -> None:
    gains = {"constant": Interval(gain, gain, gain)}
    verdicts = TASK.checks("test", GOOD | changed, gains, QUANTILES, EVALUATION)
    with pytest.raises(GateError, match=message):
        require_passed(verdicts)


@pytest.mark.parametrize("outputs", [QUANTILES, MEAN])
def test_a_linear_model_on_few_features_beats_a_constant(
    quantiles: Fitted, outputs: Outputs
) -> None:
    train, test = quantiles.windows["train"], quantiles.windows["test"]
    few = ["distance"]
    (linear,) = TASK.linear_baseline(quantiles.project, train, [test], few, outputs)
    (constant,) = TASK.constant_baseline(quantiles.project, train, [test], outputs)
    actual = test[TARGET].to_numpy()
    assert losses(actual, linear, outputs).mean() < losses(actual, constant, outputs).mean()


def test_the_linear_quantiles_are_the_quantiles(quantiles: Fitted) -> None:
    train = quantiles.windows["train"]
    (scores,) = TASK.linear_baseline(quantiles.project, train, [train], NUMERIC[:2], QUANTILES)
    actual = train[TARGET].to_numpy()
    assert (actual[:, None] <= scores).mean(axis=0) == pytest.approx([0.5, 0.9], abs=0.02)
    assert mean_pinball_loss(actual, scores[:, 1], alpha=0.9) < mean_pinball_loss(
        actual, scores[:, 0], alpha=0.9
    )


def test_linear_quantiles_are_fitted_on_a_sample(
    quantiles: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = quantiles.windows["train"]
    arguments = (quantiles.project, train, [train.head(5)], ["distance"])
    (whole,) = TASK.linear_baseline(*arguments, QUANTILES)
    (mean,) = TASK.linear_baseline(*arguments, MEAN)
    monkeypatch.setattr(regression, "LINEAR_ROWS", 50)
    (sampled,) = TASK.linear_baseline(*arguments, QUANTILES)
    assert (whole != sampled).any()
    (again,) = TASK.linear_baseline(*arguments, MEAN)
    assert (again == mean).all()


def test_baselines_see_only_the_features_that_they_are_given(quantiles: Fitted) -> None:
    train, test = quantiles.windows["train"], quantiles.windows["test"]
    few = [NUMERIC[0]]
    others = [name for name in quantiles.project.feature_names if name not in few]
    (full,) = TASK.linear_baseline(quantiles.project, train, [test], few, MEAN)
    (short,) = TASK.linear_baseline(
        quantiles.project, train.drop(others), [test.drop(others)], few, MEAN
    )
    assert (full == short).all()


@pytest.mark.parametrize(("outputs", "columns"), [(QUANTILES, 2), (MEAN, 1)])
def test_the_tables_of_the_plots_account_for_every_group(
    quantiles: Fitted, outputs: Outputs, columns: int
) -> None:
    test = quantiles.windows["test"]
    scores = quantiles.predict(quantiles.model, test)[:, :columns]
    curves = TASK.curves({"test": (test[TARGET].to_numpy(), scores)}, outputs)
    assert curves["residuals"]["share"].sum() == pytest.approx(0.98, abs=0.02)
    assert curves["calibration"].height == GROUPS
    assert ("coverage" in curves) == bool(outputs.levels)
    assert len(TASK.drawings(curves)) == len(curves)
