"""Simpler models on the same split: what the model has to beat, and what it is compared with."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..schema import TARGET


def class_prior(train: pl.DataFrame, rows: int) -> np.ndarray:
    """Give every row the share of positives in training.

    Parameters
    ----------
    train : polars.DataFrame
    rows : int

    Returns
    -------
    numpy.ndarray of shape (rows,)
    """
    return np.full(rows, float(np.mean(train[TARGET].to_numpy())))


def linear(
    train: pl.DataFrame, frames: Sequence[pl.DataFrame], columns: Sequence[str]
) -> list[np.ndarray]:
    """Score frames with a logistic regression on some of the features.

    Numbers are standardised, missing ones take the median; categories are one-hot encoded.

    Parameters
    ----------
    train : polars.DataFrame
    frames : sequence of polars.DataFrame
    columns : sequence of str
        Features to use.

    Returns
    -------
    list of numpy.ndarray of shape (rows,)
        Probabilities, a frame each.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in NUMERIC if name in columns]
    texts = [name for name in CATEGORICAL if name in columns]
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore")
    model = make_pipeline(
        ColumnTransformer([("numbers", scaled, numbers), ("texts", encoder, texts)]),
        LogisticRegression(max_iter=1000),
    )
    model.fit(train, train[TARGET].to_numpy())
    return [model.predict_proba(frame)[:, 1] for frame in frames]
