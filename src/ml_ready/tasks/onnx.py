"""Conversion of scikit-learn pipelines to ONNX, with what skl2onnx needs to be exact."""

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ParityError

if TYPE_CHECKING:
    from onnx import ModelProto

# Versions of the operator sets: the tree converters write version 3 of ai.onnx.ml.
OPSET = {"": 21, "ai.onnx.ml": 3}


def convert(
    model: Any, numeric: Sequence[str], categorical: Sequence[str], **options: Any
) -> "ModelProto":
    """Convert a fitted estimator to ONNX.

    Parameters
    ----------
    model : sklearn.base.BaseEstimator
        Fitted on a frame with the features as columns. It may hold estimators of XGBoost.
    numeric, categorical : sequence of str
        Names of the features.
    **options
        Options of skl2onnx for the whole model, such as `zipmap=False`.

    Returns
    -------
    onnx.ModelProto
        With an input of shape (rows, 1) per feature: float32 for a number, text for a category.

    Raises
    ------
    ParityError
        When skl2onnx cannot convert the model.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    inputs: list[tuple[str, Any]] = [
        *((name, FloatTensorType([None, 1])) for name in numeric),
        *((name, StringTensorType([None, 1])) for name in categorical),
    ]
    try:
        model = _exact(model)
        _register_xgboost(model)
        converted: ModelProto = convert_sklearn(
            model, "model", inputs, target_opset=OPSET, options={id(model): options}
        )
    except Exception as error:  # skl2onnx raises a class of its own for each thing it cannot do
        raise ParityError(
            f"training/model.py: skl2onnx cannot export it ({' '.join(str(error).split())[:300]}).",
            "Use estimators and parameters that it converts.",
        ) from error
    # skl2onnx lists them in the order of a set, which differs from run to run.
    converted.opset_import.sort(key=lambda opset: opset.domain)
    return converted


def _exact(model: Any) -> Any:
    """Return a copy whose thresholds are float32, which ONNX stores exactly.

    For float32 features x <= t and x <= floor32(t) are the same, so flooring changes no prediction
    and keeps skl2onnx (1.20) from rounding a threshold up.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    boosted = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    if not any(isinstance(part, boosted) for part in _parts(model, set())):
        return model
    model = copy.deepcopy(model)
    trees = [part for part in _parts(model, set()) if isinstance(part, boosted)]
    for predictor in (each for part in trees for stage in part._predictors for each in stage):
        exact = predictor.nodes["num_threshold"]
        rounded = exact.astype(np.float32)
        above = rounded.astype(np.float64) > exact
        rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
        predictor.nodes["num_threshold"] = rounded
    return model


def _register_xgboost(model: Any) -> None:
    """Register the converters of the XGBoost estimators that a model holds."""
    kinds = {
        kind.__name__
        for part in _parts(model, set())
        for kind in inspect.getmro(type(part))
        if kind.__module__.startswith("xgboost.")
    }
    if not kinds & {"XGBClassifier", "XGBRegressor"}:
        return
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes
    from xgboost import XGBClassifier, XGBRegressor

    update_registered_converter(
        XGBClassifier,
        "XGBClassifier",
        shapes.calculate_linear_classifier_output_shapes,
        convert_xgboost,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
    update_registered_converter(
        XGBRegressor,
        "XGBRegressor",
        shapes.calculate_linear_regressor_output_shapes,
        convert_xgboost,
    )


def _parts(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield a model and all that it is made of: steps, transformers, estimators of ensembles."""
    if isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple):
        children = list(value)
    elif type(value).__module__.partition(".")[0] in ("sklearn", "xgboost"):
        yield value
        children = list(getattr(value, "__dict__", {}).values())
    else:
        return
    if id(value) not in seen:
        seen.add(id(value))
        for child in children:
            yield from _parts(child, seen)
