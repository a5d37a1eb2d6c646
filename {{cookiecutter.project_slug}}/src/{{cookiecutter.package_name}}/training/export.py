"""Export to ONNX, and the gate that compares the exported model with the trained one."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..errors import ParityError
from ..preprocessing.features import CATEGORICAL, NUMERIC

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# Versions of the operator sets: the tree converters of skl2onnx write version 3 of ai.onnx.ml.
OPSET = {"": 21, "ai.onnx.ml": 3}


def to_onnx(model: "Pipeline") -> bytes:
    """Convert a trained pipeline to ONNX.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline
        Fitted on a frame with `NUMERIC` and `CATEGORICAL` columns.

    Returns
    -------
    bytes
        A model with one input of shape (rows, 1) a feature, and the outputs `label` and
        `probabilities` of shape (rows, 2).

    Raises
    ------
    ParityError
        When skl2onnx cannot convert the pipeline.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    numbers: list[tuple[str, Any]] = [(name, FloatTensorType([None, 1])) for name in NUMERIC]
    texts: list[tuple[str, Any]] = [(name, StringTensorType([None, 1])) for name in CATEGORICAL]
    try:
        exported = convert_sklearn(
            model,
            "model",
            numbers + texts,
            target_opset=OPSET,
            options={id(model): {"zipmap": False}},
        )
    except Exception as error:  # skl2onnx raises a class of its own for each thing it cannot do
        raise ParityError(
            f"training/model.py: skl2onnx cannot export it ({' '.join(str(error).split())[:300]}). "
            "Use estimators and parameters that it converts."
        ) from error
    return bytes(exported.SerializeToString())


def require_parity(
    model: "Pipeline", exported: np.ndarray, frame: pl.DataFrame, tolerance: float
) -> float:
    """Compare the probabilities of the exported model with those of the trained one.

    Parameters
    ----------
    model : sklearn.pipeline.Pipeline
    exported : numpy.ndarray of shape (rows,)
        Probabilities that the exported model gave for `frame`.
    frame : polars.DataFrame
        Held-out rows with the feature columns.
    tolerance : float

    Returns
    -------
    float
        The largest absolute difference.

    Raises
    ------
    ParityError
        When the difference is above the tolerance, or a probability is not a number.
    """
    trained = model.predict_proba(frame)[:, 1]
    differences = np.abs(trained - exported)
    worst = float(np.nan_to_num(differences, nan=np.inf).max())
    if worst > tolerance:
        broken = int((~(differences <= tolerance)).sum())
        raise ParityError(
            f"The exported model differs from the trained one by up to {worst:.2g} on {broken} of "
            f"{len(exported)} rows, {tolerance:.2g} is allowed (evaluation.parity_tolerance). "
            "Use only float32 features and estimators that skl2onnx converts exactly."
        )
    return worst
