"""The model and the target of a synthetic project with three labels: how fast a parcel was."""

from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
from ml_ready.tasks.multiclass import MulticlassClassification
from synthetic import TARGET
from synthetic_classifier import Hyperparameters, fit

__all__ = ["EVALUATION", "TASK", "Hyperparameters", "add_speed", "fit", "predict"]

TASK = MulticlassClassification("fast", "usual", "slow")
EVALUATION = {
    "baseline_features": ["hour"],
    "bootstrap_samples": 100,
    "confidence": 0.95,
    "minimum_gain": 0.0,
    "minimum_balanced_accuracy": 0.5,
    "maximum_log_loss": 1.0,
    "maximum_calibration_error": 0.3,
    "parity_tolerance": 1e-5,
}


def add_speed(records: Any) -> Any:
    """Add the position of the label: under 12 hours, under 24 hours, or more."""
    frame = nw.from_native(records).filter(~nw.col("hours").is_null())
    slower = [(nw.col("hours") >= limit).cast(nw.Int8) for limit in (12, 24)]
    return frame.with_columns((slower[0] + slower[1]).alias(TARGET)).to_native()


def predict(model: Any, frame: pl.DataFrame) -> np.ndarray:
    """Score rows: a probability per label."""
    return np.asarray(model.predict_proba(frame))
