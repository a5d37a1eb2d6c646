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
from ..training import baselines, report
from ..training.evaluate import Interval, checks, metrics, require_passed, roc_auc_intervals
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)

WINDOWS = ("validation", "test")
FEW, FULL, PRIOR = "few_feature_linear", "full_linear", "class_prior"


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Write `reports/`, then stop a model that is not good enough."""
    config = configuration(where, overrides)
    every = [*NUMERIC, *CATEGORICAL]
    few = config.evaluation.baseline_features
    predictor = Predictor(where.models)
    train, *frames = (
        read(where.processed / f"{name}.parquet", "Make it first: poe pipeline")
        for name in ("train", *WINDOWS)
    )
    linear = {
        FEW: baselines.linear(train, frames, few),
        FULL: baselines.linear(train, frames, every),
    }
    scores, measured, intervals, found = {}, {}, {}, []
    for position, (window, frame) in enumerate(zip(WINDOWS, frames, strict=True)):
        labels, probabilities = frame[TARGET].to_numpy(), predictor.score(frame)
        scores[window] = (labels, probabilities)
        measured[window] = metrics(labels, probabilities, predictor.threshold)
        rivals = {name: values[position] for name, values in linear.items()}
        rivals[PRIOR] = baselines.class_prior(train, frame.height)
        intervals[window] = roc_auc_intervals(
            labels,
            {"model": probabilities} | rivals,
            config.evaluation.bootstrap_samples,
            config.evaluation.confidence,
            config.seed,
        )
        gains = {name: intervals[window][name][1] for name in (PRIOR, FEW)}
        found += checks(window, measured[window], gains, config.evaluation)
    tables = report.curves(scores, predictor.threshold)
    content = {
        "name": config.tracking.experiment,
        "passed": all(check.passed for check in found),
        "metadata": predictor.metadata,
        "metrics": measured,
        "intervals": intervals,
        "labels": {
            "model": "This model",
            FEW: f"Linear, {' and '.join(few)} only",
            FULL: f"Linear, all {len(every)} features",
            PRIOR: "Class prior",
        },
        "remark": remark(intervals["test"][FULL][1]),
        "checks": found,
    }
    for name, table in tables.items():
        for window in WINDOWS:
            folder = where.reports / "plots" / window
            folder.mkdir(parents=True, exist_ok=True)
            table.filter(pl.col("window") == window).write_csv(folder / f"{name}.csv")
    page = report.page(tables, content)
    (where.reports / "index.html").write_text(page, encoding="utf-8")
    result: dict[str, dict[str, Any]] = {}
    for window, pairs in intervals.items():
        over = {name: asdict(gain) for name, (_, gain) in pairs.items() if name != "model"}
        result[window] = measured[window] | {"gain": over}
    text = json.dumps(result, indent=2) + "\n"
    (where.reports / "metrics.json").write_text(text, encoding="utf-8")
    for window, values in measured.items():
        log.info("%s: ROC-AUC %.3f, log loss %.3f", window, values["roc_auc"], values["log_loss"])
    log.info(content["remark"])
    require_passed(found)


def remark(gain: Interval) -> str:
    """Say in a sentence whether the model is worth more than a linear one on all features."""
    measured = f"{gain.value:+.3f} ROC-AUC on the test window [{gain.low:+.3f}, {gain.high:+.3f}]"
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
