"""The model on real features."""

import polars as pl
from PACKAGE.entrypoints.configure import Configuration
from PACKAGE.inference.predictor import load, score
from PACKAGE.schema import TARGET
from PACKAGE.training import export
from PACKAGE.training.gate import require_parity
from PACKAGE.training.model import fit, predict
from sklearn.metrics import r2_score


def test_the_exported_model_predicts_the_same(
    config: Configuration, windows: dict[str, pl.DataFrame]
) -> None:
    model = fit(windows["train"], windows["validation"], config.model, config.seed)
    exported = score(load(export.to_onnx(model)), windows["test"])
    assert require_parity(predict(model, windows["test"]), exported, 0.01) < 0.01
    assert r2_score(windows["test"][TARGET], exported[:, 0]) > 0.2
