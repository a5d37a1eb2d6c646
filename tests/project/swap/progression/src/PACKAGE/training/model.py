"""The model: a ridge regression of the mean, and the hyperparameter it takes."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
from ml_ready.config import Section
from ml_ready.tasks.regression import MEAN
from ml_ready.training.checkpoints import NONE, Checkpoints
from pydantic import Field

from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..schema import TARGET

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Hyperparameters(Section):
    """What `conf/model` sets."""

    alpha: Annotated[float, Field(ge=0)]


def fit(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    hyperparameters: Hyperparameters,
    seed: int,
    checkpoints: Checkpoints = NONE,
) -> dict[str, "Pipeline"]:
    """Fit the model; it has no use for the validation window and for checkpoints."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(), StandardScaler()), list(NUMERIC)),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), list(CATEGORICAL)),
        ]
    )
    model = make_pipeline(columns, Ridge(hyperparameters.alpha, random_state=seed))
    return {MEAN: model.fit(train, train[TARGET].to_numpy())}


def predict(model: dict[str, "Pipeline"], frame: pl.DataFrame) -> np.ndarray:
    """Score rows with the mean."""
    return np.column_stack([each.predict(frame) for each in model.values()])
