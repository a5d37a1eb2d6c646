"""Training: fit the model, choose its decision threshold, describe what it was trained on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..schema import TARGET
from .model import Hyperparameters, build

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def fit(frame: pl.DataFrame, hyperparameters: Hyperparameters, seed: int) -> "Pipeline":
    """Fit the model.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, columns)
        With the feature columns and the target.
    hyperparameters : Hyperparameters
    seed : int

    Returns
    -------
    sklearn.pipeline.Pipeline
    """
    return build(hyperparameters, seed).fit(frame, frame[TARGET].to_numpy())


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Find the decision threshold with the highest F1 score.

    Parameters
    ----------
    labels : numpy.ndarray of shape (rows,)
        0 or 1.
    probabilities : numpy.ndarray of shape (rows,)

    Returns
    -------
    float
        A row is labelled 1 where its probability is at or above it.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(thresholds[np.argmax(f1[:-1])])


def reference(frame: pl.DataFrame, bins: int = 10) -> dict[str, Any]:
    """Describe the distribution of each feature, for drift to be measured against.

    Parameters
    ----------
    frame : polars.DataFrame
        The training window.
    bins : int
        Bins of a number, cut at its quantiles.

    Returns
    -------
    dict
        For a number `missing` (share), `edges` and `shares` of the bins between them; for a
        category the share of each level.
    """
    described: dict[str, Any] = {}
    for name in NUMERIC:
        values = frame[name].drop_nulls().to_numpy()
        entry: dict[str, Any] = {"missing": frame[name].null_count() / frame.height}
        if values.size:
            edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
            counts, _ = np.histogram(values, edges if edges.size > 1 else 1)
            entry |= {"edges": edges.tolist(), "shares": (counts / values.size).tolist()}
        described[name] = entry
    for name in CATEGORICAL:
        shares = frame[name].value_counts(normalize=True).sort(name)
        described[name] = dict(shares.iter_rows())
    return described
