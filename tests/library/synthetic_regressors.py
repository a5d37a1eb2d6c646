"""The model of the synthetic projects that predict numbers: boosted trees for each of them."""

from typing import Any

import numpy as np
import polars as pl
from ml_ready.tasks.regression import names
from ml_ready.training.checkpoints import NONE, Checkpoints
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from synthetic import TARGET
from synthetic_classifier import Hyperparameters, encoder, grown

__all__ = ["Hyperparameters", "fit", "predict"]


def fit(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    hyperparameters: Hyperparameters,
    seed: int,
    checkpoints: Checkpoints = NONE,
) -> dict[str, Any]:
    """Fit a regressor for each quantile, or for the mean."""
    columns = encoder()
    data = columns.fit_transform(train), train[TARGET].to_numpy()
    settings = hyperparameters.model_dump(exclude={"quantiles"})
    levels = hyperparameters.quantiles
    losses: list[dict[str, Any]] = [{"loss": "quantile", "quantile": each} for each in levels]
    model = {}
    for name, loss in zip(names(levels), losses or [{"loss": "squared_error"}], strict=True):
        trees = HistGradientBoostingRegressor(
            **loss, **settings, random_state=seed, warm_start=True
        )
        trees = grown(trees, name, data, hyperparameters.max_iter, checkpoints)
        model[name] = Pipeline([("columns", columns), ("trees", trees)])
    return model


def predict(model: dict[str, Any], frame: pl.DataFrame) -> np.ndarray:
    """Score rows: the quantiles, sorted, or the mean."""
    return np.sort(np.column_stack([each.predict(frame) for each in model.values()]), axis=1)
