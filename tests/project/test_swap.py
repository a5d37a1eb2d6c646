"""The swap surface: another problem, by editing what the README names and nothing else."""

import json
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

SWAP = Path(__file__).with_name("swap")
DRAW = """
import polars as pl
from sklearn.datasets import load_breast_cancer
data = load_breast_cancer()
names = [name.replace(" ", "_") for name in data.feature_names]
wanted = ["mean_radius", "mean_texture", "mean_smoothness", "mean_concavity", "mean_symmetry", "worst_area"]
frame = pl.DataFrame(data.data, schema=names).select(wanted)
frame = frame.with_row_index("patient").with_columns(
    diagnosis=pl.Series([data.target_names[each] for each in data.target]),
)
frame.write_csv("data/sample/masses.csv")
"""
CONF = {
    "conf/config.yaml": """
defaults:
  - data: masses
  - model: logistic_regression
  - evaluation: gate
  - _self_

source: data/sample
seed: 1

tracking:
  uri: sqlite:///mlflow.db
  experiment: masses
""",
    "conf/data/masses.yaml": """
table: masses.csv
joins: []
tolerance: 0.01
split:
  column: patient
  train_until: 350
  validation_until: 460
""",
    "conf/model/logistic_regression.yaml": "inverse_regularization: 1.0\n",
    "conf/evaluation/gate.yaml": """
baseline_features: [mean_symmetry]
bootstrap_samples: 500
confidence: 0.95
minimum_gain: 0.05
minimum_roc_auc: 0.9
maximum_log_loss: 0.4
maximum_calibration_error: 0.15
parity_tolerance: 1.0e-5
""",
}
SURFACE = (
    "conf/",
    "data/sample/",
    "src/{package}/schema.py",
    "src/{package}/preprocessing/features.py",
    "src/{package}/training/model.py",
    "tests/unit/test_features.py",
    "tests/module/test_training.py",
)


def swap(project: Path, package: str) -> None:
    """Replace the example by another problem."""
    for name in ("conf", "data/sample"):
        shutil.rmtree(project / name)
    for name, text in CONF.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text.lstrip(), encoding="utf-8")
    (project / "data" / "sample").mkdir()
    subprocess.run([project / ".venv" / "bin" / "python", "-c", DRAW], cwd=project, check=True)
    source = project / "src" / package
    for name, target in {
        "schema.py": source / "schema.py",
        "features.py": source / "preprocessing" / "features.py",
        "model.py": source / "training" / "model.py",
        "test_features.py": project / "tests" / "unit" / "test_features.py",
        "test_training.py": project / "tests" / "module" / "test_training.py",
    }.items():
        text = (SWAP / name).read_text(encoding="utf-8")
        target.write_text(text.replace("PACKAGE", package), encoding="utf-8")
