"""Stage `evaluate`: metrics, baselines, plots and the report; then the gate."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from .. import artifact, tables
from ..artifact import WINDOWS
from ..checks import Check, Interval, compare, failures, require_passed
from ..config import Config
from ..errors import MismatchError, ModelError
from ..project import Project
from ..serving.predictor import Predictor
from ..training import report
from . import job
from .configure import configuration
from .folders import Paths

_log = logging.getLogger(__name__)

_HELD_OUT = WINDOWS[1:]
_FEW, _FULL, _PRODUCTION = "few_feature_linear", "full_linear", "production"
_VERDICT = "--verdict"


@dataclass(frozen=True)
class Comparison:
    """A model measured in each held-out window, beside the models that it is compared with.

    Parameters
    ----------
    scored : dict of str to (numpy.ndarray, numpy.ndarray)
        Target and scores of the model.
    metrics : dict of str to dict
        Of the model.
    compared : dict of str to dict of str to (Interval, Interval)
        Of each model the score, and the gain of this one over it.
    checks : list of Check
    """

    scored: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    compared: dict[str, dict[str, tuple[Interval, Interval]]] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Write `reports/`, then fail if the model is not good enough, or worse than in production.

    With `--verdict`, it does not fail: `metrics.json` has the verdict.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        `--verdict`, and overrides as `configuration` takes them.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    ContractError
        When a window is missing.
    GateError
        When the model is not good enough, or worse than the one in production.
    ModelError
        When the model, or the one in production, cannot be loaded.
    """
    overrides = [each for each in arguments if each != _VERDICT]
    checks = evaluate(project, where, configuration(project, where, overrides))
    if _VERDICT not in arguments:
        require_passed(checks)


def evaluate(project: Project, where: Paths, config: Config[Any, Any]) -> list[Check]:
    """Measure and compare the model, and write metrics, plots and report.

    Parameters
    ----------
    project : Project
    where : Paths
    config : Config

    Returns
    -------
    list of Check
        Also those that the model has failed.

    Raises
    ------
    ContractError, ModelError
        As `main` does.
    """
    predictor = Predictor(project, job.unpacked(where.models))
    train, *held_out = (
        tables.read_window(
            where.window(name),
            project.numeric,
            project.categorical,
            project.target,
            where.remedy(name),
        )
        for name in WINDOWS
    )
    rivals = score_baselines(project, train, held_out, config, predictor.outputs)
    in_production, not_compared = None, ""
    try:
        in_production = production(project, where, predictor.outputs.columns)
    except MismatchError as error:
        not_compared = error.problem
        _log.warning("Not compared with the model in production: %s", not_compared)
    if in_production:
        rivals[_PRODUCTION] = [in_production.score(frame) for frame in held_out]
    comparison = measure(project, predictor, held_out, rivals, config)
    checks = [*comparison.checks]
    if in_production:
        checks.append(_against_production(project, comparison))
    remark = remark_on(project, comparison.compared["test"][_FULL][1])
    _write_report(project, where.reports, config, predictor, comparison, checks, not_compared)
    verdict = {
        "good": not failures(comparison.checks),
        "not_worse_than_production": not in_production or checks[-1].passed,
        "not_compared": not_compared,
        "failed": "; ".join(failures(checks)),
    }
    metrics = {**_with_gains(comparison), "gate": verdict}
    artifact.write_metrics(where.reports, metrics, predictor.metadata["model"])
    for window, values in comparison.metrics.items():
        _log.info("%s: %s", window, project.task.summary(values))
    _log.info(remark)
    return checks


def score_baselines(
    project: Project,
    train: pl.DataFrame,
    held_out: Sequence[pl.DataFrame],
    config: Config[Any, Any],
    outputs: Any,
) -> dict[str, list[np.ndarray]]:
    """Score windows with simpler models.

    Parameters
    ----------
    project : Project
    train : polars.DataFrame
        What they are fitted on.
    held_out : sequence of polars.DataFrame
    config : Config
    outputs : Outputs
        Of the model that they are compared with.

    Returns
    -------
    dict of str to list of numpy.ndarray
        By the name of the baseline, scores of each window.
    """
    task, few = project.task, config.evaluation.baseline_features
    return {
        _FEW: task.linear_baseline(project, train, held_out, few, outputs),
        _FULL: task.linear_baseline(project, train, held_out, project.feature_names, outputs),
        task.constant: task.constant_baseline(project, train, held_out, outputs),
    }


def measure(
    project: Project,
    predictor: Predictor,
    held_out: Sequence[pl.DataFrame],
    rivals: Mapping[str, Sequence[np.ndarray]],
    config: Config[Any, Any],
) -> Comparison:
    """Measure a model in each window and compare it with others.

    Parameters
    ----------
    project : Project
    predictor : Predictor
    held_out : sequence of polars.DataFrame
        The validation and the test window.
    rivals : mapping of str to sequence of numpy.ndarray
        By the name of a model, its scores of each window.
    config : Config

    Returns
    -------
    Comparison
    """
    task, outputs = project.task, predictor.outputs
    comparison = Comparison()
    for position, (window, frame) in enumerate(zip(_HELD_OUT, held_out, strict=True)):
        target, scores = frame[project.target].to_numpy(), predictor.score(frame)
        others = {name: values[position] for name, values in rivals.items()}
        metrics = task.measure(target, scores, outputs)
        compared = task.compare(
            target, {"model": scores} | others, outputs, config.evaluation, config.seed
        )
        gains = {name: compared[name][1] for name in (_FEW, task.constant)}
        comparison.scored[window] = (target, scores)
        comparison.metrics[window] = metrics
        comparison.compared[window] = compared
        comparison.checks.extend(task.checks(window, metrics, gains, outputs, config.evaluation))
    return comparison


def production(project: Project, where: Paths, columns: Sequence[str]) -> Predictor | None:
    """Load the model in production, where a job is given one.

    Parameters
    ----------
    project : Project
    where : Paths
    columns : sequence of str
        What it has to answer, from these features.

    Returns
    -------
    Predictor or None

    Raises
    ------
    MismatchError
        When it cannot be compared: it was made for another contract, other features or outputs.
    ModelError
        When it is damaged.
    """
    folder = where.work / _PRODUCTION
    names = (job.ARCHIVE, artifact.METADATA_FILE)
    if not where.job or not any((folder / name).is_file() for name in names):
        return None
    try:
        predictor = Predictor(project, job.unpacked(folder))
    except MismatchError:
        raise
    except ModelError as error:
        # To train it is no remedy: it serves.
        promote = "Promote one that works: `poe registry promote VERSION`"
        raise ModelError(
            f"The model in production cannot be loaded: {error.problem}",
            promote if error.remedy == artifact.RETRAIN else error.remedy,
        ) from error
    if [*predictor.outputs.columns] != [*columns]:
        raise MismatchError(
            f"the model in production predicts {', '.join(predictor.outputs.columns)}, the new one "
            f"{', '.join(columns)}"
        )
    return predictor


def remark_on(project: Project, gain: Interval) -> str:
    """Say in a sentence whether the model is worth more than a linear one on all features.

    Parameters
    ----------
    project : Project
    gain : Interval
        Of the model over the linear one, on the test window.

    Returns
    -------
    str
        It says that the model is better or worse only where the interval does not hold 0.
    """
    interval = f"[{gain.low:+.3f}, {gain.high:+.3f}]"
    measured = f"{gain.value:+.3f} {project.task.gain} on the test window {interval}"
    if gain.low > 0:
        return f"The model gains {measured} over a linear model on all features."
    if gain.high < 0:
        return f"A linear model on all features is better: {measured}. Use it, or find out why."
    return (
        f"A linear model on all features is as good, within noise: {measured}. "
        "It would be the simpler choice."
    )


def _against_production(project: Project, comparison: Comparison) -> Check:
    gain = comparison.compared["test"][_PRODUCTION][1]
    return compare(
        f"{project.task.gain} gain over production, upper end",
        "Is the model at least as good as the one in production, within noise?",
        gain.high,
        "≥",
        0,
        window="test",
    )


def _write_report(
    project: Project,
    folder: Path,
    config: Config[Any, Any],
    predictor: Predictor,
    comparison: Comparison,
    checks: Sequence[Check],
    not_compared: str,
) -> None:
    task = project.task
    few = config.evaluation.baseline_features
    content = {
        "name": config.tracking.experiment,
        "passed": not failures(checks),
        "metadata": predictor.metadata,
        "metrics": comparison.metrics,
        "title": task.metric,
        "gain": task.gain,
        "tiles": {window: task.tile(values) for window, values in comparison.metrics.items()},
        "compared": comparison.compared,
        "confidence": config.evaluation.confidence,
        "labels": {
            "model": "This model",
            _FEW: f"Linear, {' and '.join(few)} only",
            _FULL: f"Linear, all {len(project.feature_names)} features",
            _PRODUCTION: "The model in production",
            task.constant: task.constant.replace("_", " ").capitalize(),
        },
        "remark": remark_on(project, comparison.compared["test"][_FULL][1]),
        "checks": checks,
        "not_compared": not_compared,
    }
    curves = task.curves(comparison.scored, predictor.outputs)
    for name, curve in curves.items():
        for window in _HELD_OUT:
            plots = folder / "plots" / window
            plots.mkdir(parents=True, exist_ok=True)
            curve.filter(pl.col("window") == window).write_csv(plots / f"{name}.csv")
    page = report.page(task.drawings(curves), content)
    (folder / artifact.REPORT_FILE).write_text(page, encoding="utf-8")


def _with_gains(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return the metrics of each window, with the gain over each other model."""
    return {
        window: {
            **comparison.metrics[window],
            "gain": {name: asdict(gain) for name, (_, gain) in pairs.items() if name != "model"},
        }
        for window, pairs in comparison.compared.items()
    }
