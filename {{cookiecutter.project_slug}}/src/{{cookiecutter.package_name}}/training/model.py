"""The model: gradient boosted trees behind an encoder, and the hyperparameters they take."""

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl
from pydantic import Field

from ..config import Section
from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..schema import TARGET

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Hyperparameters(Section):
    """What `conf/model` sets."""

    learning_rate: Annotated[float, Field(gt=0, le=1)]
    max_iter: Annotated[int, Field(ge=1, le=10_000)]
    max_leaf_nodes: Annotated[int, Field(ge=2, le=1024)]
    min_samples_leaf: Annotated[int, Field(ge=1)]
    l2_regularization: Annotated[float, Field(ge=0)]


def fit(
    train: pl.DataFrame, validation: pl.DataFrame, hyperparameters: Hyperparameters, seed: int
) -> "Pipeline":
    """Fit the model.

    Parameters
    ----------
    train : polars.DataFrame of shape (rows, columns)
        With the feature columns and the target.
    validation : polars.DataFrame
        Later rows, for an estimator that stops early; this one does not.
    hyperparameters : Hyperparameters
    seed : int
        Makes two fits on the same rows identical.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Predicts as it will when it is exported.
    """
    model = build(hyperparameters, seed).fit(train, train[TARGET].to_numpy())
    _floor_thresholds(model[-1])
    return model


def build(hyperparameters: Hyperparameters, seed: int) -> "Pipeline":
    """Build the untrained model.

    Numbers reach the trees unscaled, as float32, and categories as ordinal codes: what ONNX
    reproduces exactly. Missing numbers are a branch of their own.

    Parameters
    ----------
    hyperparameters : Hyperparameters
    seed : int

    Returns
    -------
    sklearn.pipeline.Pipeline
        Takes a frame with `NUMERIC` (float32) and `CATEGORICAL` (text) columns.

    References
    ----------
    Ke et al., *LightGBM: A Highly Efficient Gradient Boosting Decision Tree*, NeurIPS 2017, whose
    histogram algorithm scikit-learn follows.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    columns = ColumnTransformer(
        [("numeric", "passthrough", list(NUMERIC)), ("categorical", encoder, list(CATEGORICAL))]
    )
    trees = HistGradientBoostingClassifier(
        **hyperparameters.model_dump(), early_stopping=False, random_state=seed
    )
    return Pipeline([("columns", columns), ("trees", trees)])


def _floor_thresholds(trees: Any) -> None:
    # ONNX stores float32 thresholds. For float32 features x <= t and x <= floor32(t) are the same,
    # so flooring changes no prediction here and keeps ONNX from rounding a threshold up.
    for stage in trees._predictors:
        for predictor in stage:
            exact = predictor.nodes["num_threshold"]
            rounded = exact.astype(np.float32)
            above = rounded.astype(np.float64) > exact
            rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
            predictor.nodes["num_threshold"] = rounded
