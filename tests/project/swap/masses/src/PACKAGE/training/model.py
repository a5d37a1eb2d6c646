"""The model: a logistic regression, and the hyperparameter it takes."""

from typing import TYPE_CHECKING, Annotated

import numpy as np
import polars as pl
from ml_ready.config import Section
from ml_ready.training.checkpoints import NONE, Checkpoints
from pydantic import Field

from ..preprocessing.features import NUMERIC
from ..schema import TARGET

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Hyperparameters(Section):
    """What `conf/model` sets."""

    inverse_regularization: Annotated[float, Field(gt=0)]


def fit(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    hyperparameters: Hyperparameters,
    seed: int,
    checkpoints: Checkpoints = NONE,
) -> "Pipeline":
    """Fit the model; it has no use for the validation window and for checkpoints."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    columns = ColumnTransformer([("numeric", SimpleImputer(strategy="median"), list(NUMERIC))])
    classifier = LogisticRegression(C=hyperparameters.inverse_regularization, random_state=seed)
    model = Pipeline([("columns", columns), ("scaled", StandardScaler()), ("linear", classifier)])
    return model.fit(train, train[TARGET].to_numpy())


def predict(model: "Pipeline", frame: pl.DataFrame) -> np.ndarray:
    """Score rows with the probability of label 1."""
    probabilities: np.ndarray = model.predict_proba(frame)[:, 1]
    return probabilities
