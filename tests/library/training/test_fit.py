"""From a fitted model to ONNX, and what it is compared with, for each task."""

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import synthetic
from ml_ready.errors import ParityError
from ml_ready.project import Project
from ml_ready.serving.predictor import load, score
from ml_ready.tasks import regression
from ml_ready.tasks.binary import POINTS
from ml_ready.training.export import export, require_parity
from ml_ready.training.provenance import reference
from prepared import Prepared
from sklearn.metrics import mean_pinball_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

NUMERIC, CATEGORICAL, TARGET = synthetic.NUMERIC, synthetic.CATEGORICAL, synthetic.TARGET


def fitted(prepared: Prepared, **changes: Any) -> Any:
    """Fit the model of a prepared project."""
    train, validation = (prepared.windows[name] for name in ("train", "validation"))
    settings = prepared.config.model.model_copy(update=changes)
    return prepared.project.training.fit(train, validation, settings, prepared.config.seed)


@pytest.fixture(scope="module")
def model(each: Prepared) -> Any:
    """A fitted model."""
    return fitted(each)


def exported_scores(project: Project, model: Any, frame: pl.DataFrame) -> np.ndarray:
    """Score rows with the exported model."""
    return score(project, load(project, export(project, model)), frame)


def outputs(prepared: Prepared, model: Any) -> Any:
    """Derive the outputs of a model."""
    window = prepared.windows["validation"]
    scores = prepared.project.training.predict(model, window)
    return prepared.project.task.derive_outputs(model, window[TARGET].to_numpy(), scores)


def odd_rows(test: pl.DataFrame) -> pl.DataFrame:
    """Rows with missing numbers and unknown categories, and with extreme numbers."""
    extremes = [3.4e38, -3.4e38, 0.0]
    rows = test.head(3)
    return pl.concat(
        [
            rows.with_columns(
                *(pl.lit(None, pl.Float32).alias(name) for name in NUMERIC),
                *(pl.lit("never seen").alias(name) for name in CATEGORICAL),
            ),
            rows.with_columns(pl.Series(name, extremes, pl.Float32) for name in NUMERIC),
        ]
    )


def test_the_exported_model_predicts_the_same(each: Prepared, model: Any) -> None:
    tolerance = each.config.evaluation.parity_tolerance
    predict = each.project.training.predict
    for frame in (each.windows["test"], odd_rows(each.windows["test"])):
        exported = exported_scores(each.project, model, frame)
        assert np.isfinite(exported).all()
        assert require_parity(predict(model, frame), exported, tolerance) <= tolerance


def test_thresholds_that_are_no_float32_are_exported_exactly(each: Prepared, model: Any) -> None:
    # Between two float32 numbers: rounded up, the threshold would send the row to the other side.
    frame = each.windows["train"]
    exported = exported_scores(each.project, model, frame)
    worst = require_parity(each.project.training.predict(model, frame), exported, 1e-3)
    assert worst < 1e-3


def test_export_changes_no_prediction_of_the_model(each: Prepared, model: Any) -> None:
    predict, test = each.project.training.predict, each.windows["test"]
    before = predict(model, test)
    assert export(each.project, model) == export(each.project, model)
    assert (predict(model, test) == before).all()


def test_a_model_whose_export_predicts_otherwise_is_stopped(each: Prepared, model: Any) -> None:
    test = each.windows["test"]
    other = exported_scores(each.project, fitted(each, max_iter=1), test)
    with pytest.raises(ParityError, match=r"evaluation\.parity_tolerance"):
        require_parity(each.project.training.predict(model, test), other, 1e-5)


def test_a_model_that_cannot_be_exported_ends_in_one_line(each: Prepared) -> None:
    odd: Any = Pipeline([("same", FunctionTransformer(lambda frame: frame))])
    odd.fit(each.windows["train"])
    model = odd if each.task == "binary" else {"mean": odd}
    with pytest.raises(ParityError, match="skl2onnx cannot export it") as caught:
        export(each.project, model)
    assert "\n" not in str(caught.value)


def test_a_model_may_bring_its_own_export(one: Prepared) -> None:
    class Own:
        export = staticmethod(lambda model: f"{model} in ONNX".encode())

    project: Any = type("Stub", (), {"training": Own})
    assert export(project, "a network") == b"a network in ONNX"


@pytest.mark.parametrize("task", ["binary", "quantiles"])
def test_a_model_of_xgboost_is_exported(task: str, of_task: Any) -> None:
    xgboost = pytest.importorskip("xgboost", reason="XGBoost is in the lock of its framework")
    prepared = of_task(task)
    train, test = prepared.windows["train"], prepared.windows["test"]
    encoder = pytest.importorskip("synthetic_classifier").encoder()
    kind = xgboost.XGBClassifier if task == "binary" else xgboost.XGBRegressor
    trees = kind(n_estimators=5, max_depth=3, random_state=0)
    pipeline = Pipeline([("columns", encoder), ("trees", trees)])
    pipeline.fit(train, train[TARGET].to_numpy())
    model = pipeline if task == "binary" else {"mean": pipeline}
    exported = exported_scores(prepared.project, model, test)
    expected = prepared.project.training.predict(model, test)
    assert require_parity(expected, exported, 1e-3) < 1e-3


def test_a_linear_model_on_few_features_beats_a_constant(each: Prepared, model: Any) -> None:
    train, test = each.windows["train"], each.windows["test"]
    task, given = each.project.task, outputs(each, model)
    (linear,) = task.linear_baseline(each.project, train, [test], ["distance"], given)
    (constant,) = task.constant_baseline(each.project, train, [test], given)
    target = test[TARGET].to_numpy()
    if each.task == "binary":
        assert roc_auc_score(target, linear) > 0.5
        return
    losses = [regression.losses(target, scores, given).mean() for scores in (linear, constant)]
    assert losses[0] < losses[1]


def test_the_linear_quantiles_are_the_quantiles(of_task: Any) -> None:
    prepared = of_task("quantiles")
    train = prepared.windows["train"]
    quantiles = regression.Outputs(["q0.5", "q0.9"])
    task = prepared.project.task
    (scores,) = task.linear_baseline(prepared.project, train, [train], NUMERIC[:2], quantiles)
    actual = train[TARGET].to_numpy()
    assert (actual[:, None] <= scores).mean(axis=0) == pytest.approx([0.5, 0.9], abs=0.02)
    upper, lower = (mean_pinball_loss(actual, scores[:, n], alpha=0.9) for n in (1, 0))
    assert upper < lower


def test_baselines_see_only_the_features_they_are_given(each: Prepared, model: Any) -> None:
    train, test = each.windows["train"], each.windows["test"]
    others = [name for name in (*NUMERIC, *CATEGORICAL) if name != "distance"]
    linear, given = each.project.task.linear_baseline, outputs(each, model)
    (full,) = linear(each.project, train, [test], ["distance"], given)
    short = [test.drop(others)]
    (few,) = linear(each.project, train.drop(others), short, ["distance"], given)
    assert (full == few).all()


def test_baselines_scale_numbers(of_task: Any) -> None:
    prepared = of_task("binary")
    stretched = [
        prepared.windows[name].with_columns((pl.col("distance") * 1000 + 7).alias("distance"))
        for name in ("train", "test")
    ]
    linear = prepared.project.task.linear_baseline
    train, test = prepared.windows["train"], prepared.windows["test"]
    (plain,) = linear(prepared.project, train, [test], NUMERIC, None)
    (scaled,) = linear(prepared.project, stretched[0], stretched[1:], NUMERIC, None)
    assert plain == pytest.approx(scaled, abs=1e-3)


def test_the_reference_can_be_written_as_json(each: Prepared) -> None:
    described = reference(each.project, each.windows["train"])
    assert set(json.loads(json.dumps(described, allow_nan=False))) == {*NUMERIC, *CATEGORICAL}


def test_the_curves_account_for_every_row(each: Prepared, model: Any) -> None:
    test, task = each.windows["test"], each.project.task
    scored = {"test": (test[TARGET].to_numpy(), each.project.training.predict(model, test))}
    given = outputs(each, model)
    curves = task.curves(scored, given)
    if each.task == "binary":
        roc = curves["roc"]
        assert roc.row(0)[1:] == (0, 0)
        assert roc.row(-1)[1:] == (1, 1)
        assert roc.height <= POINTS
        return
    assert curves["residuals"]["share"].sum() == pytest.approx(0.98, abs=0.02)
    assert curves["calibration"].height == regression.GROUPS
    assert ("coverage" in curves) == bool(given.levels)
    assert len(task.drawings(curves)) == len(curves)
