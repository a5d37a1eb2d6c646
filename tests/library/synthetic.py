"""Tiny projects, one per task: parcels that arrive within hours, late or not.

The models are modules of their own, as in a real project: a server starts without them.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import yaml
from ml_ready.contract import Column
from ml_ready.project import Project, Task
from ml_ready.tasks.binary import BinaryClassification
from ml_ready.tasks.regression import Regression

ROWS = 900
START = datetime(2024, 1, 1)
LATE_AFTER = 24.0
TARGET = "outcome"
NUMERIC = ("hour", "weight", "stops", "distance", "staff")
CATEGORICAL = ("depot",)
TASKS = ("binary", "quantiles", "mean")
CLASSIFIER, REGRESSORS = "synthetic_classifier", "synthetic_regressors"
COLUMNS = (
    Column("sent_at", "Datetime", "when the parcel was sent"),
    Column("depot", "String", "where it was sent from", allowed=("north", "south", "west")),
    Column("code", "String", "code of the courier", pattern="[A-Z]{2}"),
    Column("weight", "Float32", "kg", nullable=True, minimum=0, maximum=100),
    Column("stops", "Int32", "stops before it", minimum=0, maximum=50),
    Column("distance", "Int32", "km", minimum=1, maximum=2000),
    Column("express", "Boolean", "paid for speed", nullable=True),
    Column("staff", "Int32", "people at the depot", nullable=True, minimum=0, maximum=500),
    Column("hours", "Float32", "hours on the way", nullable=True, known_at_prediction=False),
)
EVALUATION: dict[str, dict[str, Any]] = {
    "binary": {
        "minimum_roc_auc": 0.6,
        "maximum_log_loss": 0.8,
        "maximum_calibration_error": 0.3,
        "parity_tolerance": 1e-5,
    },
    "quantiles": {
        "maximum_mean_absolute_error": 30,
        "maximum_coverage_error": 0.3,
        "parity_tolerance": 1e-3,
    },
}
EVALUATION["mean"] = EVALUATION["quantiles"]


def features(records: Any) -> Any:
    """Turn records into features, row by row."""
    frame = nw.from_native(records).with_columns(hour=nw.col("sent_at").dt.hour())
    return frame.with_columns(nw.col(*NUMERIC).cast(nw.Float32)).to_native()


def add_late(records: Any) -> Any:
    """Add whether a parcel was late."""
    frame = nw.from_native(records).filter(~nw.col("hours").is_null())
    late = (nw.col("hours") > LATE_AFTER).cast(nw.Int8)
    return frame.with_columns(late.alias(TARGET)).to_native()


def add_hours(records: Any) -> Any:
    """Add how many hours a parcel took."""
    frame = nw.from_native(records).filter(~nw.col("hours").is_null())
    return frame.with_columns(nw.col("hours").cast(nw.Float64).alias(TARGET)).to_native()


def parcels(rows: int = ROWS, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw parcels over a year, and the staff of each depot per day."""
    random = np.random.default_rng(seed)
    sent = [START + timedelta(hours=24 * 365 * n / rows) for n in range(rows)]
    depots = np.array(["north", "south", "west"])[random.integers(3, size=rows)]
    distance = random.integers(1, 2000, rows)
    stops = random.integers(0, 50, rows)
    weight = random.uniform(0, 100, rows)
    noise = random.exponential(4, rows)
    hours = distance / 100 + stops / 5 + 6 * (depots == "west") + noise
    table = pl.DataFrame(
        {
            "sent_at": sent,
            "depot": depots,
            "code": [f"{'ABC'[n % 3]}{'XYZ'[n % 2]}" for n in range(rows)],
            "weight": [None if n % 9 == 0 else each for n, each in enumerate(weight)],
            "stops": stops,
            "distance": distance,
            "express": [None if n % 5 == 0 else bool(n % 2) for n in range(rows)],
            "day": [each.strftime("%Y-%m-%d") for each in sent],
            "hours": [None if n % 40 == 7 else each for n, each in enumerate(hours)],
        },
        schema_overrides={"stops": pl.Int32, "distance": pl.Int32, "sent_at": pl.Datetime("us")},
    )
    staff = table.select("depot", "day").unique(maintain_order=True)
    counts = pl.Series("staff", random.integers(0, 500, staff.height), pl.Int32)
    return table, staff.with_columns(counts).filter(pl.int_range(pl.len()) % 17 != 3)


def make(root: Path, task: str = "binary", **changes: Any) -> Project:
    """Write configuration and source tables of a project, and return it.

    Parameters
    ----------
    root : pathlib.Path
        Gets `conf/`, `data/sample/`, `pyproject.toml` and `src/`.
    task : str
        One of `TASKS`.
    **changes
        Fields of the project that differ.
    """
    table, staff = parcels()
    (root / "data" / "sample").mkdir(parents=True)
    (root / "src" / "parcels").mkdir(parents=True)
    (root / "src" / "parcels" / "__init__.py").write_text('"""Parcels."""\n')
    (root / "pyproject.toml").write_text('[project]\nname = "parcels"\ndependencies = ["polars"]\n')
    table.write_parquet(root / "data" / "sample" / "parcels.parquet")
    staff.write_parquet(root / "data" / "sample" / "staff.parquet")
    levels = [0.5, 0.9] if task == "quantiles" else []
    write(root / "conf" / "data" / "parcels.yaml", DATA)
    model = {"quantiles": levels, "max_iter": 15, "max_leaf_nodes": 8}
    write(root / "conf" / "model" / "trees.yaml", model)
    evaluation = {
        "baseline_features": ["hour"],
        "bootstrap_samples": 100,
        "confidence": 0.95,
        "minimum_gain": 0.0,
        **EVALUATION[task],
    }
    write(root / "conf" / "config.yaml", CONFIG | {"evaluation": evaluation})
    kind: Task = BinaryClassification() if task == "binary" else Regression()
    project = Project(
        root=root,
        columns=COLUMNS,
        target=TARGET,
        numeric=NUMERIC,
        categorical=CATEGORICAL,
        features=features,
        add_target=add_late if task == "binary" else add_hours,
        task=kind,
        model=CLASSIFIER if task == "binary" else REGRESSORS,
    )
    return replace(project, **changes)


DATA = {
    "table": "parcels.parquet",
    "joins": [{"table": "staff.parquet", "keys": ["depot", "day"]}],
    "tolerance": 0.01,
    "split": {
        "column": "sent_at",
        "train_until": datetime(2024, 8, 1),
        "validation_until": datetime(2024, 10, 1),
    },
}
CONFIG = {
    "defaults": [{"data": "parcels"}, {"model": "trees"}, "_self_"],
    "source": "data/sample",
    "seed": 7,
    "tracking": {"uri": "sqlite:///mlflow.db", "experiment": "parcels"},
}


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file of the configuration."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
