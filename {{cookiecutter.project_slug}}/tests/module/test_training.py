"""The training package on real features."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from {{ cookiecutter.package_name }}.entrypoints.configure import Configuration
from {{ cookiecutter.package_name }}.errors import ParityError
from {{ cookiecutter.package_name }}.inference.predictor import load, score
from {{ cookiecutter.package_name }}.preprocessing.features import CATEGORICAL, NUMERIC
from {{ cookiecutter.package_name }}.schema import TARGET
from {{ cookiecutter.package_name }}.training import baselines, export, report
from {{ cookiecutter.package_name }}.training.metadata import reference
from {{ cookiecutter.package_name }}.training.model import fit

Windows = dict[str, pl.DataFrame]


@pytest.fixture(scope="module")
def model(config: Configuration, windows: Windows) -> Pipeline:
    """A small model."""
    few = config.model.model_copy(update={"max_iter": 20})
    return fit(windows["train"], windows["validation"], few, config.seed)


def test_one_probability_a_row_and_each_between_0_and_1(model: Pipeline, windows: Windows) -> None:
    probabilities = model.predict_proba(windows["test"])
    assert probabilities.shape == (windows["test"].height, 2)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_loss_falls_with_more_iterations_on_a_tiny_set(
    config: Configuration, windows: Windows
) -> None:
    tiny = windows["train"].sample(200, seed=0)
    labels = tiny[TARGET].to_numpy()
    losses = []
    for iterations in (1, 10, 100):
        settings = config.model.model_copy(update={"max_iter": iterations, "min_samples_leaf": 5})
        fitted = fit(tiny, tiny, settings, config.seed)
        losses.append(log_loss(labels, fitted.predict_proba(tiny)[:, 1]))
    assert losses == sorted(losses, reverse=True)


def test_a_tiny_set_is_learnt_by_heart(config: Configuration, windows: Windows) -> None:
    tiny = windows["train"].sample(100, seed=0)
    settings = config.model.model_copy(
        update={
            "max_iter": 300,
            "min_samples_leaf": 1,
            "l2_regularization": 0.0,
            "max_leaf_nodes": 31,
        }
    )
    fitted = fit(tiny, tiny, settings, config.seed)
    assert roc_auc_score(tiny[TARGET], fitted.predict_proba(tiny)[:, 1]) > 0.99


def test_two_fits_are_identical(config: Configuration, windows: Windows, model: Pipeline) -> None:
    settings = config.model.model_copy(update={"max_iter": 20})
    again = fit(windows["train"], windows["validation"], settings, config.seed)
    assert (again.predict_proba(windows["test"]) == model.predict_proba(windows["test"])).all()
    assert export.to_onnx(again) == export.to_onnx(model)


def test_the_exported_model_predicts_the_same(model: Pipeline, windows: Windows) -> None:
    exported = score(load(export.to_onnx(model)), windows["test"])
    assert export.require_parity(model, exported, windows["test"], 1e-5) < 1e-5


def test_export_changes_no_prediction_of_the_model(model: Pipeline, windows: Windows) -> None:
    before = model.predict_proba(windows["test"])
    export.to_onnx(model)
    assert (model.predict_proba(windows["test"]) == before).all()


def test_a_model_whose_export_predicts_otherwise_is_stopped(
    config: Configuration, windows: Windows, model: Pipeline
) -> None:
    train = windows["train"].with_columns((1 - pl.col(TARGET)).alias(TARGET))
    opposite = fit(train, train, config.model, config.seed)
    exported = score(load(export.to_onnx(opposite)), windows["test"])
    with pytest.raises(ParityError, match=r"evaluation\.parity_tolerance"):
        export.require_parity(model, exported, windows["test"], 1e-5)


def test_a_model_that_cannot_be_exported_ends_in_one_line(windows: Windows) -> None:
    odd = Pipeline([("same", FunctionTransformer(lambda frame: frame))]).fit(windows["train"])
    with pytest.raises(ParityError, match="skl2onnx cannot export it") as caught:
        export.to_onnx(odd)
    assert "\n" not in str(caught.value)


def test_missing_values_and_unknown_categories_are_scored(
    model: Pipeline, windows: Windows
) -> None:
    odd = (
        windows["test"]
        .head(3)
        .with_columns(
            *(pl.lit(None, pl.Float32).alias(name) for name in NUMERIC),
            *(pl.lit("never seen").alias(name) for name in CATEGORICAL),
        )
    )
    exported = score(load(export.to_onnx(model)), odd)
    assert np.isfinite(exported).all()
    assert export.require_parity(model, exported, odd, 1e-5) < 1e-5


def test_extreme_values_are_scored(model: Pipeline, windows: Windows) -> None:
    extremes = [3.4e38, -3.4e38, 0.0]
    odd = (
        windows["test"]
        .head(3)
        .with_columns(pl.Series(name, extremes, pl.Float32) for name in NUMERIC)
    )
    exported = score(load(export.to_onnx(model)), odd)
    assert np.isfinite(exported).all()
    assert export.require_parity(model, exported, odd, 1e-5) < 1e-5


def test_a_linear_model_on_few_features_beats_chance(
    windows: Windows, config: Configuration
) -> None:
    test = windows["test"]
    (scores,) = baselines.linear(windows["train"], [test], config.evaluation.baseline_features)
    assert roc_auc_score(test[TARGET], scores) > 0.5


def test_baselines_see_only_the_features_they_are_given(windows: Windows) -> None:
    test, given = windows["test"], [NUMERIC[0]]
    others = [name for name in (*NUMERIC, *CATEGORICAL) if name not in given]
    (full,) = baselines.linear(windows["train"], [test], given)
    (short,) = baselines.linear(windows["train"].drop(others), [test.drop(others)], given)
    assert (full == short).all()


def test_baselines_scale_numbers(windows: Windows) -> None:
    stretched = [
        frame.with_columns((pl.col(NUMERIC[0]) * 1000 + 7).alias(NUMERIC[0]))
        for frame in (windows["train"], windows["test"])
    ]
    (plain,) = baselines.linear(windows["train"], [windows["test"]], NUMERIC)
    (scaled,) = baselines.linear(stretched[0], stretched[1:], NUMERIC)
    assert plain == pytest.approx(scaled, abs=1e-3)


def test_the_reference_can_be_written_as_json(windows: Windows) -> None:
    described = json.loads(json.dumps(reference(windows["train"]), allow_nan=False))
    assert set(described) == {*NUMERIC, *CATEGORICAL}


def test_curves_reach_both_corners(model: Pipeline, windows: Windows) -> None:
    test = windows["test"]
    scores = {"test": (test[TARGET].to_numpy(), model.predict_proba(test)[:, 1])}
    roc = report.curves(scores, 0.3)["roc"]
    assert roc.row(0)[1:] == (0, 0)
    assert roc.row(-1)[1:] == (1, 1)
    assert roc.height <= report.POINTS
