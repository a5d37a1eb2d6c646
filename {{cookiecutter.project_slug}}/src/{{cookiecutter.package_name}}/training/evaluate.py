"""Evaluation: metrics with intervals, and the gate a model has to pass before it is used."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..config import EvaluationConfig
from ..errors import GateError

RELATIONS = {"≥": operator.ge, "≤": operator.le, ">": operator.gt}


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Check:
    """One condition of the gate."""

    name: str
    window: str
    value: float
    bound: str
    passed: bool


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


def metrics(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """Compute the metrics of a binary classifier.

    Parameters
    ----------
    labels : numpy.ndarray of shape (rows,)
        0 or 1, both present.
    probabilities : numpy.ndarray of shape (rows,)
        Of label 1.
    threshold : float
        A row is called positive at or above it.

    Returns
    -------
    dict of str to float
        Area under the ROC and the precision-recall curve, log loss, Brier score, expected
        calibration error, and at the threshold precision, recall, F1 and the four counts.
    """
    from sklearn import metrics as m

    called = (probabilities >= threshold).astype(int)
    negative, false_alarms, missed, hits = m.confusion_matrix(labels, called, labels=[0, 1]).ravel()
    return {
        "rows": labels.size,
        "positive_share": float(labels.mean()),
        "roc_auc": float(m.roc_auc_score(labels, probabilities)),
        "pr_auc": float(m.average_precision_score(labels, probabilities)),
        "log_loss": float(m.log_loss(labels, probabilities, labels=[0, 1])),
        "brier": float(m.brier_score_loss(labels, probabilities)),
        "calibration_error": calibration_error(labels, probabilities),
        "precision": float(m.precision_score(labels, called, zero_division=0.0)),
        "recall": float(m.recall_score(labels, called, zero_division=0.0)),
        "f1": float(m.f1_score(labels, called, zero_division=0.0)),
        "true_positives": int(hits),
        "false_positives": int(false_alarms),
        "false_negatives": int(missed),
        "true_negatives": int(negative),
    }


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equal size.

    Parameters
    ----------
    labels, probabilities : numpy.ndarray of shape (rows,)
    bins : int

    Returns
    -------
    float
        Mean distance between predicted probability and observed share, 0 to 1.

    References
    ----------
    Naeini, Cooper, Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*,
    AAAI 2015.
    """
    order = np.argsort(probabilities, kind="stable")
    groups = [group for group in np.array_split(order, bins) if group.size]
    gaps = [
        group.size * abs(probabilities[group].mean() - labels[group].mean()) for group in groups
    ]
    return float(sum(gaps) / labels.size)


def roc_auc_intervals(
    labels: np.ndarray,
    scores: Mapping[str, np.ndarray],
    samples: int,
    confidence: float,
    seed: int,
) -> dict[str, tuple[Interval, Interval]]:
    """Bootstrap the area under the ROC curve of several models on the same resampled rows.

    Parameters
    ----------
    labels : numpy.ndarray of shape (rows,)
    scores : mapping of str to numpy.ndarray of shape (rows,)
        That of the model under the name `model`, and those of its rivals.
    samples : int
        How often the rows are drawn anew.
    confidence : float
        Share of the draws that an interval holds, 0 to 1.
    seed : int

    Returns
    -------
    dict
        For each its area, and the gain of `model` over it, with percentile intervals.

    References
    ----------
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13. The area is computed
    from ranks, as the Mann-Whitney statistic: Hanley, McNeil, *Radiology* 143, 1982.
    """
    random = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {name: [] for name in scores}
    for draw in range(samples + 1):
        rows = random.integers(labels.size, size=labels.size) if draw else np.arange(labels.size)
        for name, values in scores.items():
            areas[name].append(_area(labels[rows], values[rows]))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def interval(values: np.ndarray) -> Interval:
        low, high = np.nanquantile(values[1:], tails)
        return Interval(float(values[0]), float(low), float(high))

    model = np.array(areas["model"])
    return {
        name: (interval(np.array(values)), interval(model - np.array(values)))
        for name, values in areas.items()
    }


def _area(labels: np.ndarray, scores: np.ndarray) -> float:
    from scipy.stats import rankdata

    positives = int(labels.sum())
    pairs = positives * (labels.size - positives)
    ranks = rankdata(scores)[labels == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / pairs) if pairs else np.nan


def checks(
    window: str,
    measured: Mapping[str, float],
    gains: Mapping[str, Interval],
    config: EvaluationConfig,
) -> list[Check]:
    """Hold one window's metrics against the thresholds.

    Parameters
    ----------
    window : str
    measured : mapping of str to float
        As `metrics` returns them.
    gains : mapping of str to Interval
        Gain of the model over each baseline that it has to beat.
    config : EvaluationConfig

    Returns
    -------
    list of Check
    """
    conditions = [
        ("roc_auc", measured["roc_auc"], "≥", config.minimum_roc_auc),
        ("log_loss", measured["log_loss"], "≤", config.maximum_log_loss),
        ("calibration_error", measured["calibration_error"], "≤", config.maximum_calibration_error),
    ]
    for name, gain in gains.items():
        conditions.append(
            (f"roc_auc gain over {name}, lower end", gain.low, ">", config.minimum_gain)
        )
    return [
        Check(name, window, value, f"{relation} {bound}", RELATIONS[relation](value, bound))
        for name, value, relation, bound in conditions
    ]


def require_passed(found: list[Check]) -> None:
    """Stop a model that failed a check.

    Parameters
    ----------
    found : list of Check

    Raises
    ------
    GateError
        Naming each failed check with its value and bound.
    """
    failed = [
        f"{check.name} on {check.window} is {check.value:.4f}, required {check.bound}"
        for check in found
        if not check.passed
    ]
    if failed:
        raise GateError(
            f"The model is not good enough: {'; '.join(failed)}. See reports/index.html, then "
            "improve the model or, with a reason, the thresholds in conf/evaluation/gate.yaml."
        )
