"""The model of the synthetic project that classifies: boosted trees."""

from typing import Annotated, Any

import numpy as np
import polars as pl
from ml_ready.config import Section
from ml_ready.training.checkpoints import NONE, Checkpoints
from pydantic import Field
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder
from synthetic import CATEGORICAL, NUMERIC, TARGET


class Hyperparameters(Section):
    """What `conf/model` sets."""

    quantiles: list[float]
    max_iter: Annotated[int, Field(ge=1, le=1000)]
    max_leaf_nodes: Annotated[int, Field(ge=2)]


def encoder() -> Any:
    """Encode categories, and leave numbers as they are."""
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    return ColumnTransformer(
        [("numeric", "passthrough", list(NUMERIC)), ("categorical", codes, list(CATEGORICAL))]
    )


def grown(trees: Any, name: str, data: Any, most: int, checkpoints: Checkpoints) -> Any:
    """Grow trees from where a training that was cut off has stopped."""
    trees = checkpoints.load(name) or trees
    for rounds in checkpoints.due(getattr(trees, "n_iter_", 0), most):
        trees.set_params(max_iter=rounds).fit(*data)
        checkpoints.save(name, trees)
    return trees


def fit(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    hyperparameters: Hyperparameters,
    seed: int,
    checkpoints: Checkpoints = NONE,
) -> Any:
    """Fit a classifier."""
    columns = encoder()
    data = columns.fit_transform(train), train[TARGET].to_numpy()
    settings = hyperparameters.model_dump(exclude={"quantiles"})
    trees = HistGradientBoostingClassifier(**settings, random_state=seed, warm_start=True)
    trees = grown(trees, "trees", data, hyperparameters.max_iter, checkpoints)
    return Pipeline([("columns", columns), ("trees", trees)])


def predict(model: Any, frame: pl.DataFrame) -> np.ndarray:
    """Score rows: the probability of label 1."""
    return np.asarray(model.predict_proba(frame)[:, 1])
