"""The model on real features."""

from typing import Any

import polars as pl
from ml_ready.serving.predictor import load, score
from ml_ready.training.export import export, require_parity
from PACKAGE.project import PROJECT
from PACKAGE.schema import TARGET
from PACKAGE.training.model import fit, predict
from sklearn.metrics import r2_score


def test_the_exported_model_predicts_the_same(
    config: Any, windows: dict[str, pl.DataFrame]
) -> None:
    model = fit(windows["train"], windows["validation"], config.model, config.seed)
    exported = score(PROJECT, load(PROJECT, export(PROJECT, model)), windows["test"])
    assert require_parity(predict(model, windows["test"]), exported, 0.01) < 0.01
    assert r2_score(windows["test"][TARGET], exported[:, 0]) > 0.2
