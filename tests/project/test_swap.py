"""The swap surface: another problem, by editing what the README names and nothing else."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from tests.project.conftest import Project

SWAP = Path(__file__).with_name("swap")
DRAW = """
import polars as pl
from sklearn.datasets import load_breast_cancer
data = load_breast_cancer()
names = [name.replace(" ", "_") for name in data.feature_names]
wanted = "mean_radius mean_texture mean_smoothness mean_concavity mean_symmetry worst_area"
frame = pl.DataFrame(data.data, schema=names).select(wanted.split())
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
FILES = {
    "schema.py": "src/{package}/schema.py",
    "features.py": "src/{package}/preprocessing/features.py",
    "model.py": "src/{package}/training/model.py",
    "test_features.py": "tests/unit/test_features.py",
    "test_training.py": "tests/module/test_training.py",
}
SURFACE = ("conf/", "data/sample/", *FILES.values())


@pytest.fixture(scope="module")
def swapped(installed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with the example replaced by another problem."""
    project = installed.copy(tmp_path_factory.mktemp("swapped") / "masses")
    for name in ("conf", "data/sample"):
        shutil.rmtree(project.root / name)
    for name, text in CONF.items():
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip())
    (project.root / "data" / "sample").mkdir()
    (project.root / "draw.py").write_text(DRAW)
    project.does("python draw.py && rm draw.py")
    for name, target in FILES.items():
        text = (SWAP / name).read_text().replace("PACKAGE", project.package.name)
        (project.root / target.format(package=project.package.name)).write_text(text)
    project.does("ruff check --fix --quiet tests && ruff format --quiet tests")
    return project


def test_only_the_swap_surface_was_touched(swapped: Project) -> None:
    changed = swapped.does("git status --porcelain --untracked-files=all --no-renames")
    surface = tuple(each.format(package=swapped.package.name) for each in SURFACE)
    assert all(line[3:].startswith(surface) for line in changed.splitlines()), changed


def test_the_whole_project_is_green_again(swapped: Project) -> None:
    swapped.does("poe pipeline")
    swapped.does("poe check")
    swapped.does("poe test")
    measured = json.loads((swapped.root / "reports" / "metrics.json").read_text())
    assert measured["test"]["roc_auc"] > 0.95


def test_the_other_problem_is_served(swapped: Project) -> None:
    swapped.does("dvc repro && poe predict data/raw/records.parquet scored.csv")
    scored = pl.read_csv(swapped.root / "scored.csv")
    records = pl.read_parquet(swapped.root / "data" / "raw" / "records.parquet")
    malignant = records["diagnosis"] == "malignant"
    assert (scored["label"].cast(bool) == malignant).mean() > 0.9  # type: ignore[operator]
