"""Stage `evaluate`: metrics, baselines, plots and the report; then the gate."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from ..config import WINDOWS
from ..errors import MismatchError, ModelError
from ..inference.predictor import CHECKSUM, Predictor
from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..preprocessing.ingest import read_window
from ..schema import TARGET
from ..training import baselines, metrics, plots, report
from ..training.gate import Check, Interval, check, failures, require_passed
from . import sagemaker
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)

HELD_OUT = WINDOWS[1:]
FEW, FULL, PRODUCTION = "few_feature_linear", "full_linear", "production"
VERDICT = "--verdict"
FILES = ("model.tar.gz", "metadata.json")


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Write `reports/`, then stop a model that is not good enough, or worse than the one in use.

    With `--verdict` it stops none: whoever reads `metrics.json` decides.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    ContractError
        When a window is missing.
    GateError
        When the model is not good enough, or worse than the one in use.
    ModelError
        When the model, or the one in production, cannot be loaded.
    """
    config = configuration(where, [each for each in arguments if each != VERDICT])
    every = [*NUMERIC, *CATEGORICAL]
    few = config.evaluation.baseline_features
    predictor = Predictor(sagemaker.unpacked(where.models))
    outputs = predictor.outputs
    train, *frames = (
        read_window(where.window(name), NUMERIC, CATEGORICAL, TARGET, where.remedy(name))
        for name in WINDOWS
    )
    rivals = {
        FEW: baselines.linear(train, frames, few, outputs),
        FULL: baselines.linear(train, frames, every, outputs),
        baselines.CONSTANT: baselines.constant(train, frames, outputs),
    }
    in_use, not_compared = None, ""
    try:
        in_use = production(where, outputs.columns)
    except MismatchError as error:
        not_compared = _reason(error)
        log.warning("Not compared with the model in production: %s", not_compared)
    seen, measured, compared = {}, {}, {}
    found: list[Check] = []
    for position, (window, frame) in enumerate(zip(HELD_OUT, frames, strict=True)):
        target, scores = frame[TARGET].to_numpy(), predictor.score(frame)
        seen[window] = (target, scores)
        measured[window] = metrics.measure(target, scores, outputs)
        others = {name: values[position] for name, values in rivals.items()}
        if in_use:
            others[PRODUCTION] = in_use.score(frame)
        compared[window] = metrics.compare(
            target, {"model": scores} | others, outputs, config.evaluation, config.seed
        )
        gains = {name: compared[window][name][1] for name in rivals if name != FULL}
        found += metrics.checks(window, measured[window], gains, outputs, config.evaluation)
    good = not failures(found)
    if in_use:
        gain = compared["test"][PRODUCTION][1]
        name = f"{metrics.GAIN} gain over production, upper end"
        found.append(check(name, "test", gain.high, "≥", 0))
    tables = plots.tables(seen, outputs)
    content = {
        "name": config.tracking.experiment,
        "passed": not failures(found),
        "metadata": predictor.metadata,
        "metrics": measured,
        "title": metrics.TITLE,
        "gain": metrics.GAIN,
        "tiles": {window: metrics.tile(values) for window, values in measured.items()},
        "compared": compared,
        "confidence": config.evaluation.confidence,
        "labels": {
            "model": "This model",
            FEW: f"Linear, {' and '.join(few)} only",
            FULL: f"Linear, all {len(every)} features",
            PRODUCTION: "The model in production",
            baselines.CONSTANT: baselines.CONSTANT.replace("_", " ").capitalize(),
        },
        "remark": remark(compared["test"][FULL][1]),
        "checks": found,
        "not_compared": not_compared,
    }
    for name, table in tables.items():
        for window in HELD_OUT:
            folder = where.reports / "plots" / window
            folder.mkdir(parents=True, exist_ok=True)
            table.filter(pl.col("window") == window).write_csv(folder / f"{name}.csv")
    page = report.page(plots.drawings(tables), content)
    (where.reports / "index.html").write_text(page, encoding="utf-8")
    result: dict[str, dict[str, Any]] = {}
    for window, pairs in compared.items():
        over = {name: asdict(gain) for name, (_, gain) in pairs.items() if name != "model"}
        result[window] = measured[window] | {"gain": over}
    result["gate"] = {
        "good": good,
        "not_worse_than_production": not in_use or found[-1].passed,
        "not_compared": not_compared,
        "failed": "; ".join(failures(found)),
    }
    # Which model all this is of; see deployment/registry.py.
    described = result | {CHECKSUM: predictor.metadata.get(CHECKSUM)}
    text = json.dumps(described, indent=2) + "\n"
    (where.reports / "metrics.json").write_text(text, encoding="utf-8")
    for window, values in measured.items():
        log.info("%s: %s", window, metrics.summary(values))
    log.info(content["remark"])
    if VERDICT not in arguments:
        require_passed(found)


def production(where: Paths, columns: Sequence[str]) -> Predictor | None:
    """Load the model in production, where a job is given one.

    Parameters
    ----------
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
    folder = where.work / PRODUCTION
    if not where.job or not any((folder / name).is_file() for name in FILES):
        return None
    try:
        found = Predictor(sagemaker.unpacked(folder))
    except MismatchError:
        raise
    except ModelError as error:
        raise ModelError(
            f"The model in production cannot be loaded: {_reason(error)} Put it there "
            "again: poe registry promote VERSION"
        ) from error
    if [*found.outputs.columns] != [*columns]:
        raise MismatchError(
            f"it answers {', '.join(found.outputs.columns)}, this one {', '.join(columns)}"
        )
    return found


def remark(gain: Interval) -> str:
    """Say in a sentence whether the model is worth more than a linear one on all features."""
    interval = f"[{gain.low:+.3f}, {gain.high:+.3f}]"
    measured = f"{gain.value:+.3f} {metrics.GAIN} on the test window {interval}"
    if gain.low > 0:
        return f"It gains {measured} over a linear model on all features."
    if gain.high < 0:
        return f"A linear model on all features is better: {measured}. Prefer it, or find out why."
    return (
        f"A linear model on all features is as good, within noise: {measured}. "
        "It would be the simpler choice."
    )


def _reason(error: ModelError) -> str:
    # To train it is no remedy: it serves.
    return str(error).partition(" Train it")[0]


if __name__ == "__main__":
    run(main)
