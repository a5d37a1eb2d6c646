"""Fit the peers' model, and write single-row requests for each server.

Runs in a project that has been through its pipeline: peer_model.py PACKAGE OUTPUT
"""

import importlib
import json
import sys
from pathlib import Path

import polars as pl
from skl2onnx import to_onnx  # type: ignore[import-not-found]
from skl2onnx.common.data_types import FloatTensorType  # type: ignore[import-not-found]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-not-found]

REQUESTS = 200


def main() -> None:
    """Run the command line."""
    package, folder = sys.argv[1], Path(sys.argv[2])
    features = importlib.import_module(f"{package}.preprocessing.features")
    schema = importlib.import_module(f"{package}.schema")
    train = pl.read_parquet("data/processed/train/part-0.parquet")
    codes = pl.col(features.CATEGORICAL).rank("dense")
    rows = train.select(pl.col(features.NUMERIC), codes.cast(pl.Float32)).to_numpy()
    metadata = json.loads(Path("models/metadata.json").read_text(encoding="utf-8"))
    model = HistGradientBoostingClassifier(**metadata["hyperparameters"], early_stopping=False)
    model.fit(rows, train[schema.TARGET].to_numpy())
    inputs = [("rows", FloatTensorType([None, rows.shape[1]]))]
    exported = to_onnx(model, initial_types=inputs, options={"zipmap": False})
    (folder / "model.onnx").write_bytes(exported.SerializeToString())

    known = [column.name for column in schema.COLUMNS if column.known_at_prediction]
    raw = pl.read_parquet("data/raw/records.parquet").select(known).sample(REQUESTS, seed=1)
    records = raw.with_columns(pl.col(pl.Datetime).dt.to_string("iso:strict")).to_dicts()
    # JSON has no NaN: the peers get rows without missing values.
    numbers = [row.tolist() for row in rows if row.sum() == row.sum()][:REQUESTS]
    write(folder / "ml-ready.jsonl", [{"instances": [record]} for record in records])
    write(folder / "mlflow.jsonl", [{"inputs": [row]} for row in numbers])
    write(folder / "mlserver.jsonl", [{"inputs": [tensor(row)]} for row in numbers])


def tensor(row: list[float]) -> dict[str, object]:
    """Return a row as the open inference protocol has it."""
    return {"name": "rows", "shape": [1, len(row)], "datatype": "FP32", "data": row}


def write(path: Path, bodies: list[dict[str, object]]) -> None:
    """Write a body a line."""
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")


if __name__ == "__main__":
    main()
