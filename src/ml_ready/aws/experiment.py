"""A/B: from what two variants have answered and what came true, which of them is better."""

import argparse
import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from ..errors import ProjectError
from .command_line import say

_KEY = "inference_id"
_FEWEST = 30  # requests of a variant
_SKEWED = 355  # times the squared skewness: for a mean to be nearly normal
_EXPECTED = 5  # requests of a variant, for a test of shares
_UNEQUAL = 1e-4  # the chance below which shares have changed


def brier(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Compute the squared distance of a probability from what came true, 0 or 1.

    Parameters
    ----------
    prediction : numpy.ndarray of shape (rows,)
        Probability of 1.
    label : numpy.ndarray of shape (rows,)
        0 or 1.

    Returns
    -------
    numpy.ndarray of shape (rows,)
        0 to 1; lower is better.

    References
    ----------
    Brier, *Verification of Forecasts Expressed in Terms of Probability*, Monthly Weather Review 78,
    1950.
    """
    return np.asarray((prediction - label) ** 2)


def logarithmic(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Compute minus the logarithm of the probability of what came true.

    Parameters
    ----------
    prediction : numpy.ndarray of shape (rows,)
        Probability of 1.
    label : numpy.ndarray of shape (rows,)
        0 or 1.

    Returns
    -------
    numpy.ndarray of shape (rows,)
        Natural logarithm, 0 to 34.5, as a probability below 1e-15 counts as 1e-15; lower is better.

    References
    ----------
    Good, *Rational Decisions*, Journal of the Royal Statistical Society B 14, 1952.
    """
    likely = np.where(label == 1, prediction, 1 - prediction)
    return np.asarray(-np.log(np.clip(likely, 1e-15, 1)))


def absolute(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Compute the distance of a number from what came true.

    Parameters
    ----------
    prediction, label : numpy.ndarray of shape (rows,)

    Returns
    -------
    numpy.ndarray of shape (rows,)
        In the unit of the label; lower is better.
    """
    return np.asarray(np.abs(prediction - label))


def quantile(level: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the pinball loss of a quantile.

    Parameters
    ----------
    level : float
        Of the quantile, between 0 and 1.

    Returns
    -------
    callable
        From predictions and labels of shape (rows,), the loss of each row in the unit of the label;
        lower is better.

    References
    ----------
    Koenker, Bassett, *Regression Quantiles*, Econometrica 46, 1978.
    """

    def loss(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
        above = label - prediction
        return np.asarray(np.maximum(level * above, (level - 1) * above))

    return loss


_BINARY = ("brier", "log")
_LOSSES = {"brier": brier, "log": logarithmic, "absolute": absolute}


@dataclass(frozen=True)
class Result:
    """What an experiment shows.

    Parameters
    ----------
    variants : tuple of str
        The one that served before, and the new one.
    requests : tuple of int
        Answered by each, with a label.
    losses : tuple of float
        Mean loss of each.
    effect, low, high : float
        Mean loss of the new one less that of the old one, and its confidence interval.
    size : float
        The effect in pooled standard deviations: Cohen's d.
    needed : int
        Requests of each variant before there is a verdict: enough to show the smallest effect that
        matters and, where losses are skewed, for their mean to be nearly normal.
    verdict : str
    """

    variants: tuple[str, str]
    requests: tuple[int, int]
    losses: tuple[float, float]
    effect: float
    low: float
    high: float
    size: float
    needed: int
    verdict: str


def compare(
    old: np.ndarray,
    new: np.ndarray,
    smallest: float,
    *,
    variants: tuple[str, str] = ("old", "new"),
    confidence: float = 0.95,
    power: float = 0.8,
) -> Result:
    """Compare the losses of two variants, once there are as many requests as were needed.

    Parameters
    ----------
    old, new : numpy.ndarray of shape (requests,)
        The loss of each request; each request is answered by one of the variants.
    smallest : float
        The smallest difference of mean losses that matters.
    variants : tuple of str
    confidence : float
        Of the interval.
    power : float
        With which `needed` requests show an effect of `smallest`.

    Returns
    -------
    Result

    Raises
    ------
    ProjectError
        When there are too few requests, or an argument is out of its range.

    References
    ----------
    Welch, *The Generalization of "Student's" Problem when Several Different Population Variances
    are Involved*, Biometrika 34, 1947; Cohen, *Statistical Power Analysis for the Behavioral
    Sciences*, 1988; for the skewness Kohavi et al., *Seven Rules of Thumb for Web Site
    Experimenters*, KDD 2014.
    """
    if not 0 < smallest < math.inf:
        raise ProjectError(f"smallest effect {smallest}: expected a number above 0")
    for name, share in {"confidence": confidence, "power": power}.items():
        if not 0 < share < 1:
            raise ProjectError(f"{name} {share}: expected a number between 0 and 1")
    for name, losses in zip(variants, (old, new), strict=True):
        if len(losses) < _FEWEST:
            raise ProjectError(
                f"{name}: {len(losses)} requests with a label, expected at least {_FEWEST}:", "wait"
            )
    effect = float(new.mean() - old.mean())
    variances = float(old.var(ddof=1)), float(new.var(ddof=1))
    pooled = math.sqrt(sum(variances) / 2)
    low = high = effect
    if pooled:
        half = _half_width(variances, (len(old), len(new)), confidence)
        low, high = float(effect - half), float(effect + half)
    quantiles = stats.norm.ppf((1 + confidence) / 2) + stats.norm.ppf(power)
    needed = math.ceil(quantiles**2 * sum(variances) / smallest**2)
    centred = np.concatenate([old - old.mean(), new - new.mean()])
    if pooled:
        skewness = np.mean(centred**3) / np.mean(centred**2) ** 1.5
        needed = max(needed, math.ceil(_SKEWED * skewness**2))
    missing = needed - min(len(old), len(new))
    # A look before that, at what chance has made of it, is no test at this confidence.
    if missing > 0:
        verdict = f"undecided: wait for {missing} more requests of each"
    elif -smallest < low and high < smallest:
        verdict = f"no difference that matters: it is below {smallest:g}"
    elif high < 0:
        verdict = f"{variants[1]} is better"
    elif low > 0:
        verdict = f"{variants[0]} is better"
    else:
        verdict = (
            f"no difference is shown: to look for one below {smallest:g}, start a new experiment"
        )
    return Result(
        variants,
        (len(old), len(new)),
        (float(old.mean()), float(new.mean())),
        effect,
        low,
        high,
        effect / pooled if pooled else 0.0,
        needed,
        verdict,
    )


def _half_width(
    variances: tuple[float, float], counts: tuple[int, int], confidence: float
) -> float:
    """Return half the width of the interval of a difference of two means, after Welch."""
    of_means = [variance / count for variance, count in zip(variances, counts, strict=True)]
    weights = [each**2 / (count - 1) for each, count in zip(of_means, counts, strict=True)]
    freedom = sum(of_means) ** 2 / sum(weights)
    return float(stats.t.ppf((1 + confidence) / 2, freedom) * math.sqrt(sum(of_means)))


def captured(folder: Path, field: str) -> pl.DataFrame:
    """Read what SageMaker has captured of an endpoint.

    Parameters
    ----------
    folder : pathlib.Path
        A copy of `captured/VERSIONS/ENDPOINT` in the bucket: a folder for each variant, with JSON
        Lines below.
    field : str
        Of a prediction, such as `probability`; of CSV without a header its position, from 0.

    Returns
    -------
    polars.DataFrame of shape (predictions, 5)
        `variant`, the `hour` in which it was captured, `inference_id`, `position` within the
        request, and `prediction`.

    Raises
    ------
    ProjectError
        When there is no file, or one is not as SageMaker writes it.
    """
    files = sorted(folder.glob("*/*/*/*/*/*.jsonl"))  # VARIANT/yyyy/mm/dd/hh/
    rows = [
        (path.parents[4].name, "/".join(path.parts[-5:-1]), *row)
        for path in files
        for row in _rows(path, field)
    ]
    schema: dict[str, Any] = dict.fromkeys(("variant", "hour", _KEY), pl.String)
    schema |= {"position": pl.Int64, "prediction": pl.Float64}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    answered = table.drop_nulls("prediction")
    if answered.is_empty():
        raise ProjectError(
            f"{folder}: no captured prediction:",
            "copy captured/VERSIONS/ENDPOINT of the bucket there",
        )
    if without := table.height - answered.height:
        say(f"{without} captured events without an answer are left out")
    # A file that is there twice makes no second request.
    return answered.unique(["variant", _KEY, "position"], keep="first", maintain_order=True)


def _rows(path: Path, field: str) -> Iterator[tuple[str, int, float | None]]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            event = json.loads(line)
            about = event["eventMetadata"]
            key = about.get("inferenceId", about["eventId"])
            if "endpointOutput" not in event["captureData"]:
                yield key, 0, None
                continue
            output = event["captureData"]["endpointOutput"]
            text = output["data"]
            if output["encoding"] == "BASE64":
                text = base64.b64decode(text).decode()
            for position, value in enumerate(_values(text, output["observedContentType"], field)):
                yield key, position, float(value)
        except (AttributeError, LookupError, TypeError, ValueError, csv.Error) as error:
            raise ProjectError(
                f"{path}, line {number}: not a captured answer with {field} "
                f"({type(error).__name__}: {error}):",
                "check --prediction, and that the file is complete",
            ) from error


def _values(text: str, kind: str, field: str) -> list[Any]:
    if kind == "application/json":
        return [each[field] for each in json.loads(text)["predictions"]]
    if kind == "text/csv":
        first, *others = rows = [*csv.reader(io.StringIO(text))]
        # An answer has a header if its request has one.
        if field.isdecimal():
            return [row[int(field)] for row in rows]
        return [row[first.index(field)] for row in others]
    return [json.loads(each)[field] for each in text.encode().splitlines()]


def labelled(predictions: pl.DataFrame, labels: pl.DataFrame, label: str) -> pl.DataFrame:
    """Join predictions with what came true; those without a label are left out.

    Parameters
    ----------
    predictions : polars.DataFrame
        Of `captured`.
    labels : polars.DataFrame
        With `inference_id`, `position` if requests hold several records, and the label.
    label : str
        The name of its column.

    Returns
    -------
    polars.DataFrame

    Raises
    ------
    ProjectError
        When a column is missing or of another type, a label is infinite, or a record has several
        labels, or a label several records.
    """
    missing = {_KEY, label} - {*labels.columns}
    if missing:
        raise ProjectError(f"labels: no column {', '.join(sorted(missing))}:", "add it")
    keys = [_KEY, "position"] if "position" in labels.columns else [_KEY]
    if labels.select(keys).is_duplicated().any():
        raise ProjectError(f"labels: a record of {', '.join(keys)} has several labels:", "keep one")
    types: dict[str, Any] = {_KEY: pl.String, "position": pl.Int64, label: pl.Float64}
    try:
        known = labels.select(pl.col(name).cast(types[name]) for name in [*keys, label])
    except pl.exceptions.PolarsError as error:
        raise ProjectError(
            f"labels: expected numbers in {', '.join([*keys[1:], label])}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    known = known.rename({label: "label"}).fill_nan(None).drop_nulls()
    infinite = known.filter(pl.col("label").is_infinite())[_KEY]
    if len(infinite):
        raise ProjectError(
            f"labels: {label} of {infinite[0]} is infinite, expected a finite number:",
            "fix it, or leave it empty",
        )
    joined = predictions.join(known, on=keys)
    if "position" not in keys and (joined["position"] > 0).any():
        raise ProjectError(
            "labels: requests hold several records:", "add a column position, from 0"
        )
    return joined


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two variants on the command line."""
    options = _parser().parse_args(arguments)
    labels = _read_labels(options.labels)
    loss = _loss(options.loss)
    variants = (options.old, options.new)
    answered = captured(options.captured, options.prediction)
    names = {*answered["variant"]}
    if options.old == options.new or not names.issuperset(variants):
        raise ProjectError(
            f"{options.old}, {options.new}: expected two of {', '.join(sorted(names))}"
        )
    rows = labelled(answered, labels, options.label)
    if options.loss in _BINARY and not rows["label"].is_in([0.0, 1.0]).all():
        raise ProjectError(f"--loss {options.loss}: expected labels 0 and 1 in {options.label}")
    require_same_shares(answered.filter(pl.col("variant").is_in(variants)))
    losses = loss(rows["prediction"].to_numpy(), rows["label"].to_numpy())
    # What is drawn at random is a request: its records are alike.
    requests = rows.with_columns(loss=losses).group_by("variant", _KEY, maintain_order=True)
    means = requests.agg(pl.col("loss").mean())
    old, new = (means.filter(variant=name)["loss"].to_numpy() for name in variants)
    result = compare(old, new, options.smallest, variants=variants, confidence=options.confidence)
    for name, count, mean in zip(variants, result.requests, result.losses, strict=True):
        say(f"{name}: {count} requests, mean {options.loss} loss {mean:.5g}")
    say(
        f"difference {result.effect:+.5g} [{result.low:+.5g}, {result.high:+.5g}], "
        f"{result.size:+.3f} standard deviations; a verdict on {options.smallest:g} needs "
        f"{result.needed} requests of each"
    )
    say(result.verdict)


def require_same_shares(answered: pl.DataFrame) -> None:
    """Stop where the traffic shares of the variants have changed during the capture.

    Hours differ: with other shares, a difference of hours would look like one of variants.

    Parameters
    ----------
    answered : polars.DataFrame
        Of `captured`.

    Raises
    ------
    ProjectError
        When that is unlikely to be chance, by a test of independence of variant and hour.
    """
    requests = answered.unique(["variant", _KEY])
    counts = requests.pivot("variant", index="hour", values=_KEY, aggregate_function="len")
    hours = counts.sort("hour").drop("hour").fill_null(0).to_numpy()
    # Together, hours with few requests have as many as the test wants: five of each variant.
    size = _EXPECTED * hours.sum() / hours.sum(axis=0).min()
    table = [np.zeros(hours.shape[1])]
    for hour in hours:
        if table[-1].sum() >= size:
            table.append(np.zeros(hours.shape[1]))
        table[-1] += hour
    if len(table) > 1 and table[-1].sum() < size:
        rest = table.pop()
        table[-1] += rest
    if len(table) > 1 and stats.chi2_contingency(table).pvalue < _UNEQUAL:
        raise ProjectError(
            f"{len(table)} groups of hours: the shares of the variants differ by more than chance, "
            "expected the same shares throughout:",
            "copy only hours with the same shares, or start a new experiment",
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("experiment", description=__doc__)
    parser.add_argument("captured", type=Path, help="copy of captured/VERSIONS/ENDPOINT")
    parser.add_argument("labels", type=Path, help=f".csv or .parquet with {_KEY} and the label")
    parser.add_argument("old", help="the variant that served before, such as live")
    parser.add_argument("new", help="the new one, such as challenger")
    parser.add_argument(
        "--prediction", required=True, help="field of an answer, or its position in CSV"
    )
    parser.add_argument("--label", required=True, help="column of the labels")
    parser.add_argument("--loss", required=True, help=f"{', '.join(_LOSSES)}, or quantile:LEVEL")
    parser.add_argument("--smallest", type=float, required=True, help="effect that matters")
    parser.add_argument("--confidence", type=float, default=0.95, help="(%(default)s)")
    return parser


def _read_labels(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        return pl.read_csv(path, schema_overrides={_KEY: pl.String})  # such as 0001
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ProjectError(
            f"{path}: {str(error).splitlines()[0]}, expected .csv or .parquet with {_KEY}"
        ) from error


def _loss(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    kind, _, level = name.partition(":")
    try:
        if kind == "quantile" and not 0 < float(level) < 1:
            raise ValueError(level)
        return quantile(float(level)) if kind == "quantile" else _LOSSES[name]
    except (KeyError, ValueError) as error:
        raise ProjectError(
            f"--loss {name}: expected one of {', '.join(_LOSSES)}, quantile:LEVEL"
        ) from error
