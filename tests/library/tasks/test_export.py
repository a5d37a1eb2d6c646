"""Export: the exported model predicts what the trained one does, whatever it is made of."""

import copy
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import polars as pl
import pytest
from fitted import Fitted
from ml_ready.errors import ParityError
from ml_ready.tasks.onnx import OPSET, convert
from ml_ready.training.export import export, require_parity
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from synthetic import CATEGORICAL, NUMERIC, TARGET
from synthetic_classifier import encoder

BY_HEART = {"max_leaf_nodes": 31, "max_iter": 100}
# Neighbours in float32: what is halfway between them is rounded up to the second.
LOW = np.nextafter(np.float32(1), np.float32(2))
HIGH = np.nextafter(LOW, np.float32(2))


def test_the_exported_model_predicts_the_same(each: Fitted) -> None:
    test = each.windows["test"]
    scores = each.score(each.model, test)
    assert scores.shape == each.predict(each.model, test).shape
    assert require_parity(each.predict(each.model, test), scores, each.tolerance) <= each.tolerance


def test_export_changes_no_prediction_of_the_model(each: Fitted) -> None:
    before = each.predict(each.model, each.windows["test"])
    export(each.project, each.model)
    assert (each.predict(each.model, each.windows["test"]) == before).all()


def test_two_exports_are_identical(each: Fitted) -> None:
    again = each.fit()
    assert export(each.project, again) == export(each.project, each.model)


def test_a_model_whose_export_predicts_otherwise_is_stopped(each: Fitted) -> None:
    train = each.windows["train"]
    other = each.fit(train.with_columns(pl.col(TARGET).reverse()))
    scores = each.score(other, each.windows["test"])
    with pytest.raises(ParityError, match=r"evaluation\.parity_tolerance"):
        require_parity(each.predict(each.model, each.windows["test"]), scores, each.tolerance)


def test_a_model_that_cannot_be_exported_ends_in_one_line(each: Fitted) -> None:
    odd: Any = Pipeline([("same", FunctionTransformer(lambda frame: frame))])
    odd.fit(each.windows["train"])
    with pytest.raises(ParityError, match="skl2onnx cannot export it") as caught:
        export(each.project, odd if each.task == "binary" else {"mean": odd})
    assert "\n" not in str(caught.value)
    assert caught.value.remedy.startswith("Use estimators")


def test_missing_values_and_unknown_categories_are_scored(each: Fitted) -> None:
    odd = (
        each.windows["test"]
        .head(3)
        .with_columns(
            *(pl.lit(None, pl.Float32).alias(name) for name in NUMERIC),
            *(pl.lit("never seen").alias(name) for name in CATEGORICAL),
        )
    )
    scores = each.score(each.model, odd)
    assert np.isfinite(scores).all()
    assert require_parity(each.predict(each.model, odd), scores, each.tolerance) <= each.tolerance


def test_extreme_values_are_scored(each: Fitted) -> None:
    extremes = [3.4e38, -3.4e38, 0.0]
    odd = (
        each.windows["test"]
        .head(3)
        .with_columns(pl.Series(name, extremes, pl.Float32) for name in NUMERIC)
    )
    scores = each.score(each.model, odd)
    assert np.isfinite(scores).all()
    assert require_parity(each.predict(each.model, odd), scores, each.tolerance) <= each.tolerance


@pytest.mark.parametrize("levels", [[0.5, 0.9], [0.2, 0.3, 0.8], [0.4], []])
def test_each_list_of_quantiles_is_fitted_and_exported(
    quantiles: Fitted, levels: list[float]
) -> None:
    model, test = quantiles.fit(quantiles=levels), quantiles.windows["test"]
    scores = quantiles.score(model, test)
    assert scores.shape == (test.height, max(1, len(levels)))
    tolerance = quantiles.tolerance
    assert require_parity(quantiles.predict(model, test), scores, tolerance) <= tolerance


def test_quantiles_that_cross_are_sorted_in_the_exported_model_too(quantiles: Fitted) -> None:
    model = quantiles.fit(quantiles.windows["train"], quantiles=[0.5, 0.52], **BY_HEART)
    test, tolerance = quantiles.windows["test"], quantiles.tolerance
    alone = np.column_stack([each.predict(test) for each in model.values()])
    assert (alone[:, 0] > alone[:, 1]).any()
    scores = quantiles.score(model, test)
    assert (scores[:, 0] <= scores[:, 1]).all()
    assert require_parity(quantiles.predict(model, test), scores, tolerance) <= tolerance


def stump() -> tuple[HistGradientBoostingClassifier, np.ndarray]:
    """Fit a tree that splits between two neighbours in float32."""
    numbers = np.repeat([[LOW], [HIGH]], 50, axis=0)
    trees = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=1)
    return trees.fit(numbers, np.repeat([0, 1], 50)), np.array([[LOW], [HIGH]])


def probabilities(model: bytes, name: str, numbers: np.ndarray) -> np.ndarray:
    """Score numbers with an exported classifier."""
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], {name: numbers})[0])


def test_a_threshold_between_two_neighbours_in_float32_keeps_its_side() -> None:
    trees, numbers = stump()
    exported = convert(trees, ["x"], [], zipmap=False).SerializeToString()
    exact = trees.predict_proba(numbers)
    assert probabilities(exported, "x", numbers) == pytest.approx(exact, abs=1e-6)


def test_skl2onnx_alone_still_rounds_thresholds_up() -> None:
    """When this fails, skl2onnx rounds down itself: remove `_exact` from tasks/onnx.py."""
    trees, numbers = stump()
    exported = convert_sklearn(
        trees,
        initial_types=[("x", FloatTensorType([None, 1]))],
        target_opset=OPSET,
        options={id(trees): {"zipmap": False}},
    ).SerializeToString()
    exact = trees.predict_proba(numbers)
    assert np.abs(probabilities(exported, "x", numbers) - exact).max() > 0.01


def test_the_trained_model_keeps_its_thresholds() -> None:
    trees, _ = stump()
    before = copy.deepcopy(trees._predictors[0][0].nodes["num_threshold"])
    convert(trees, ["x"], [], zipmap=False)
    assert (trees._predictors[0][0].nodes["num_threshold"] == before).all()


@pytest.mark.parametrize("kind", ["calibrated", "voting"])
def test_trees_within_another_estimator_are_exact(kind: str) -> None:
    trees, numbers = stump()
    rows, labels = np.repeat(numbers, 50, axis=0), np.repeat([0, 1], 50)
    outer: Any = (
        CalibratedClassifierCV(trees, cv=2)
        if kind == "calibrated"
        else VotingClassifier(
            [("trees", trees), ("line", LogisticRegression())],
            voting="soft",
            flatten_transform=False,
        )
    )
    outer.fit(rows, labels)
    exported = convert(Pipeline([("outer", outer)]), ["x"], [], zipmap=False).SerializeToString()
    exact = outer.predict_proba(numbers)
    assert probabilities(exported, "x", numbers) == pytest.approx(exact, abs=1e-6)


def test_the_operator_sets_are_in_one_order(binary: Fitted) -> None:
    exported = onnx.load_from_string(export(binary.project, binary.model))
    domains = [opset.domain for opset in exported.opset_import]
    assert domains == sorted(domains)
    assert {opset.domain: opset.version for opset in exported.opset_import}[""] <= OPSET[""]


def test_a_classifier_of_xgboost_is_exported(binary: Fitted) -> None:
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("onnxmltools")
    train, test = binary.windows["train"], binary.windows["test"]
    trees = xgboost.XGBClassifier(n_estimators=20, max_leaves=8, grow_policy="lossguide")
    model = Pipeline([("columns", encoder()), ("trees", trees)]).fit(train, train[TARGET])
    scores = binary.score(model, test)
    assert require_parity(binary.predict(model, test), scores, 1e-5) < 1e-5
    assert np.ptp(scores) > 0.1


def test_regressors_of_xgboost_are_exported(quantiles: Fitted) -> None:
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("onnxmltools")
    train, test = quantiles.windows["train"], quantiles.windows["test"]
    model = {}
    for level in (0.5, 0.9):
        trees = xgboost.XGBRegressor(
            objective="reg:quantileerror", quantile_alpha=level, n_estimators=20
        )
        pipeline = Pipeline([("columns", encoder()), ("trees", trees)])
        model[f"q{level}"] = pipeline.fit(train, train[TARGET])
    scores = quantiles.score(model, test)
    parity = require_parity(quantiles.predict(model, test), scores, quantiles.tolerance)
    assert parity <= quantiles.tolerance
    assert np.ptp(scores) > 1


def test_a_task_starts_without_what_only_training_needs() -> None:
    heavy = ("matplotlib", "ml_ready.config", "onnx", "pydantic", "scipy", "sklearn", "skl2onnx")
    code = f"""
import sys
import ml_ready.tasks.binary, ml_ready.tasks.regression
assert not [name for name in {heavy} if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_settings_of_an_evaluation_have_one_type(each: Fitted) -> None:
    assert each.project.task.evaluation() is each.project.task.evaluation()
    assert isinstance(each.config.evaluation, each.project.task.evaluation())


def test_outputs_survive_the_metadata(each: Fitted) -> None:
    validation, task = each.windows["validation"], each.project.task
    scores = each.predict(each.model, validation)
    outputs = task.derive_outputs(each.model, validation[TARGET].to_numpy(), scores)
    assert task.outputs(task.describe(outputs)) == outputs
    with pytest.raises(TypeError):
        task.outputs({"other": 1})
