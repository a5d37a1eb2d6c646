"""The gates a model has to pass before it is used, and the intervals they are judged by."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import GateError, ParityError

RELATIONS = {"≥": operator.ge, "≤": operator.le, ">": operator.gt}


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval."""

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


def percentiles(draws: Sequence[float] | np.ndarray, confidence: float) -> Interval:
    """Turn a value and its bootstrap draws into an interval.

    Parameters
    ----------
    draws : sequence of float
        The value itself, then that of each resampled set of rows.
    confidence : float
        Share of the draws that the interval holds, 0 to 1.

    Returns
    -------
    Interval

    References
    ----------
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.
    """
    value, *others = draws
    low, high = np.nanquantile(others, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))


def check(name: str, window: str, value: float, relation: str, bound: float) -> Check:
    """Hold a value against its bound; what is not a number fails."""
    return Check(name, window, value, f"{relation} {bound}", RELATIONS[relation](value, bound))


def check_gains(
    window: str, gains: Mapping[str, Interval], over: str, minimum: float
) -> list[Check]:
    """Hold the lower end of each gain over a simpler model against the least that is wanted."""
    return [
        check(f"{over} gain over {name}, lower end", window, gain.low, ">", minimum)
        for name, gain in gains.items()
    ]


def failures(found: Sequence[Check]) -> list[str]:
    """Say of each failed check what was measured and what is required."""
    return [
        f"{check.name} on {check.window} is {check.value:.4f}, required {check.bound}"
        for check in found
        if not check.passed
    ]


def require_passed(found: Sequence[Check]) -> None:
    """Stop a model that failed a check.

    Parameters
    ----------
    found : sequence of Check

    Raises
    ------
    GateError
        Naming each failed check with its value and bound.
    """
    failed = failures(found)
    if failed:
        raise GateError(
            f"The model is not good enough: {'; '.join(failed)}. See reports/index.html, then "
            "improve the model or, with a reason, its thresholds in conf/config.yaml."
        )


def require_parity(trained: np.ndarray, exported: np.ndarray, tolerance: float) -> float:
    """Compare what the exported model predicts with what the trained one does.

    Parameters
    ----------
    trained, exported : numpy.ndarray of shape (rows,) or (rows, outputs)
        Scores of the same held-out rows.
    tolerance : float
        In the unit of the scores.

    Returns
    -------
    float
        The largest absolute difference.

    Raises
    ------
    ParityError
        When shapes differ, a difference is above the tolerance, or a score is not a number.
    """
    if trained.shape != exported.shape:
        raise ParityError(
            f"The trained model predicts {trained.shape} values, the exported {exported.shape}. "
            "Give them one shape in predict() of training/model.py."
        )
    differences = np.abs(trained - exported).reshape(len(trained), -1)
    worst = float(np.nan_to_num(differences, nan=np.inf).max())
    if worst > tolerance:
        broken = int((~(differences <= tolerance)).any(axis=1).sum())
        raise ParityError(
            f"The exported model differs from the trained one by up to {worst:.2g} on {broken} of "
            f"{len(exported)} rows, {tolerance:.2g} is allowed (evaluation.parity_tolerance). "
            "Use only float32 features and estimators that skl2onnx converts exactly, and a "
            "tolerance that fits the size of the target: float32 has seven digits."
        )
    return worst
