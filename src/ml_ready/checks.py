"""Checks: questions with a verdict, and the confidence intervals that verdicts rest on."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from .errors import GateError

DATA_SCIENCE = "data science"
_RELATIONS = {"≥": operator.ge, "≤": operator.le, ">": operator.gt}


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    TOO_FEW_ROWS = "too few rows"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Check:
    """A question about a model, its data or its repository, and the answer.

    Parameters
    ----------
    id : str
        Short and stable, such as `roc_auc`: reports and thresholds name the check by it.
    question : str
        What the check asks.
    owner : str
        The team that acts when the check fails.
    threshold : str
        What is required, such as `≥ 0.65`.
    verdict : Verdict
    evidence : mapping of str to object
        The numbers behind the verdict. Errors and report show `window` and `value`.
    """

    id: str
    question: str
    owner: str
    threshold: str
    verdict: Verdict
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the verdict is `passed`: a check that was not run has not passed."""
        return self.verdict is Verdict.PASSED

    @property
    def shown(self) -> str:
        """The value of the evidence as text, or the verdict where there is no value."""
        value = self.evidence.get("value", self.verdict.value)
        return f"{value:.4f}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Interval:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def percentiles(draws: Sequence[float] | np.ndarray, confidence: float) -> Interval:
    """Turn a value and its bootstrap draws into an interval.

    Parameters
    ----------
    draws : sequence of float
        The value itself, then the value on each resampled set of rows.
    confidence : float
        Share of the draws that the interval holds, 0 to 1.

    Returns
    -------
    Interval

    References
    ----------
    Efron, Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.

    Examples
    --------
    >>> from ml_ready.checks import percentiles
    >>> percentiles([7.0, 4.0, 6.0, 8.0, 10.0], confidence=0.5)
    Interval(value=7.0, low=5.5, high=8.5)
    """
    value, *others = draws
    low, high = np.nanquantile(others, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))


def compare_losses(
    losses: Mapping[str, np.ndarray], samples: int, confidence: float, seed: int
) -> dict[str, tuple[Interval, Interval]]:
    """Compare a model with others by bootstrap, on the same resampled rows.

    The rows are drawn as if they were independent.

    Parameters
    ----------
    losses : mapping of str to numpy.ndarray of shape (rows,)
        The loss of each row, of the model under the name `model` and of the others.
    samples : int
        How many times rows are drawn.
    confidence : float
        Share of the draws that an interval holds, 0 to 1.
    seed : int

    Returns
    -------
    dict of str to (Interval, Interval)
        The mean loss of each, and the share of it that `model` saves.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.checks import compare_losses
    >>> losses = {"model": np.array([1.0, 1.0]), "mean": np.array([2.0, 2.0])}
    >>> compare_losses(losses, samples=10, confidence=0.9, seed=0)["mean"][1]
    Interval(value=0.5, low=0.5, high=0.5)
    """
    random = np.random.default_rng(seed)
    table = np.array([*losses.values()])
    rows = table.shape[1]
    draws = [table.mean(axis=1)]
    for _ in range(samples):
        draws.append(table[:, random.integers(rows, size=rows)].mean(axis=1))
    means = dict(zip(losses, np.array(draws).T, strict=True))
    return {
        name: (
            percentiles(values, confidence),
            percentiles(1 - means["model"] / values, confidence),
        )
        for name, values in means.items()
    }


def compare(
    id: str,
    question: str,
    value: float,
    relation: str,
    bound: float,
    *,
    window: str,
    owner: str = DATA_SCIENCE,
) -> Check:
    """Compare a value with its bound; NaN fails.

    Parameters
    ----------
    id, question, owner : str
        As for `Check`.
    value : float
    relation : str
        `≥`, `≤` or `>`.
    bound : float
    window : str
        The window on which the value was measured.

    Returns
    -------
    Check
        With `window` and `value` as evidence.

    Examples
    --------
    >>> from ml_ready.checks import compare
    >>> check = compare("loss", "Is the loss small?", 0.7, "≤", 0.5, window="test")
    >>> check.threshold, check.passed
    ('≤ 0.5', False)
    """
    verdict = Verdict.PASSED if _RELATIONS[relation](value, bound) else Verdict.FAILED
    evidence = {"window": window, "value": value}
    return Check(id, question, owner, f"{relation} {bound}", verdict, evidence)


def compare_gains(
    window: str, gains: Mapping[str, Interval], score: str, minimum: float
) -> list[Check]:
    """Compare the lower end of each gain over a simpler model with the least gain required.

    Parameters
    ----------
    window : str
    gains : mapping of str to Interval
        By the name of the simpler model.
    score : str
        What the models are compared by, such as `roc_auc`.
    minimum : float
        The lower end has to be above it.

    Returns
    -------
    list of Check

    Examples
    --------
    >>> from ml_ready.checks import Interval, compare_gains
    >>> gains = {"prior": Interval(0.2, 0.1, 0.3), "linear": Interval(0.01, -0.01, 0.03)}
    >>> {check.id: check.passed for check in compare_gains("test", gains, "roc_auc", 0.0)}
    {'roc_auc gain over prior, lower end': True, 'roc_auc gain over linear, lower end': False}
    """
    return [
        compare(
            f"{score} gain over {name}, lower end",
            f"Does the model beat {name.replace('_', ' ')}?",
            gain.low,
            ">",
            minimum,
            window=window,
        )
        for name, gain in gains.items()
    ]


def failures(checks: Sequence[Check]) -> list[str]:
    """Describe each check that has not passed: its value and its threshold.

    Parameters
    ----------
    checks : sequence of Check

    Returns
    -------
    list of str
        Empty where all have passed.
    """
    return [
        f"{check.id}{f' on {window}' if (window := check.evidence.get('window')) else ''} is "
        f"{check.shown}, required {check.threshold}"
        for check in checks
        if not check.passed
    ]


def require_passed(checks: Sequence[Check]) -> None:
    """Stop a model that failed a check.

    Parameters
    ----------
    checks : sequence of Check

    Raises
    ------
    GateError
        Naming each failed check with its value and bound.

    Examples
    --------
    >>> from ml_ready.checks import compare, require_passed
    >>> require_passed([compare("loss", "Is the loss small?", 0.7, "≤", 0.5, window="test")])
    Traceback (most recent call last):
    ml_ready.errors.GateError: The model is not good enough: loss on test is 0.7000...
    """
    failed = failures(checks)
    if failed:
        raise GateError(
            f"The model is not good enough: {'; '.join(failed)}.",
            "See reports/index.html, then improve the model or, with a reason, its thresholds in "
            "conf/config.yaml.",
        )
