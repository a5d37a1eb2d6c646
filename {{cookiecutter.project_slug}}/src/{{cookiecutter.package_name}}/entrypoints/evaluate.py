"""Stage `evaluate`: metrics, baselines, plots and the report; then the gate."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from ..inference.predictor import Predictor
from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..preprocessing.ingest import read
from ..schema import TARGET
from ..training import baselines, metrics, plots, report
from ..training.gate import Check, Interval, require_passed
from . import sagemaker
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)

WINDOWS = ("validation", "test")
FEW, FULL = "few_feature_linear", "full_linear"


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Write `reports/`, then stop a model that is not good enough."""
    config = configuration(where, overrides)
    every = [*NUMERIC, *CATEGORICAL]
    few = config.evaluation.baseline_features
    predictor = Predictor(sagemaker.unpacked(where.models))
    outputs = predictor.outputs
    train, *frames = (read(where.window(name), where.remedy(name)) for name in ("train", *WINDOWS))
    rivals = {
        FEW: baselines.linear(train, frames, few, outputs),
        FULL: baselines.linear(train, frames, every, outputs),
        baselines.CONSTANT: baselines.constant(train, frames, outputs),
    }
    seen, measured, compared = {}, {}, {}
    found: list[Check] = []
    for position, (window, frame) in enumerate(zip(WINDOWS, frames, strict=True)):
        target, scores = frame[TARGET].to_numpy(), predictor.score(frame)
        seen[window] = (target, scores)
        measured[window] = metrics.measure(target, scores, outputs)
        others = {name: values[position] for name, values in rivals.items()}
        compared[window] = metrics.compare(
            target, {"model": scores} | others, outputs, config.evaluation, config.seed
        )
        gains = {name: compared[window][name][1] for name in rivals if name != FULL}
        found += metrics.checks(window, measured[window], gains, outputs, config.evaluation)
    tables = plots.tables(seen, outputs)
    content = {
        "name": config.tracking.experiment,
        "passed": all(check.passed for check in found),
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
            baselines.CONSTANT: baselines.CONSTANT.replace("_", " ").capitalize(),
        },
        "remark": remark(compared["test"][FULL][1]),
        "checks": found,
    }
    for name, table in tables.items():
        for window in WINDOWS:
            folder = where.reports / "plots" / window
            folder.mkdir(parents=True, exist_ok=True)
            table.filter(pl.col("window") == window).write_csv(folder / f"{name}.csv")
    page = report.page(plots.drawings(tables), content)
    (where.reports / "index.html").write_text(page, encoding="utf-8")
    result: dict[str, dict[str, Any]] = {}
    for window, pairs in compared.items():
        over = {name: asdict(gain) for name, (_, gain) in pairs.items() if name != "model"}
        result[window] = measured[window] | {"gain": over}
    text = json.dumps(result, indent=2) + "\n"
    (where.reports / "metrics.json").write_text(text, encoding="utf-8")
    for window, values in measured.items():
        log.info("%s: %s", window, metrics.summary(values))
    log.info(content["remark"])
    require_passed(found)


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


if __name__ == "__main__":
    run(main)
