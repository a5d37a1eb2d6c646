"""The swap surface: another problem, by editing what the README names and nothing else."""

import json
import re

import polars as pl
import pytest

from tests.project.conftest import Project
from tests.project.swap_surface import assert_only_the_surface_was_touched, swap


@pytest.fixture(scope="module")
def swapped(installed: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with the example replaced by the masses of scikit-learn's breast cancer data."""
    project = installed.copy(tmp_path_factory.mktemp("swapped") / "masses")
    swap(project, "masses")
    return project


def test_only_the_swap_surface_was_touched(swapped: Project) -> None:
    assert_only_the_surface_was_touched(swapped)


def test_the_whole_project_is_green_again(swapped: Project) -> None:
    swapped.does("poe pipeline")
    # With Spark, without containers, which hold no code of the example.
    said = swapped.does("poe lint && poe types && poe test", DOCKER_HOST="unix:///nowhere")
    told = r"^\d+ skipped: no container engine answers: .*; then run poe test-e2e$"
    assert len(re.findall(told, said, re.MULTILINE)) == 1, said
    measured = json.loads((swapped.root / "reports" / "metrics.json").read_text())
    assert measured["test"]["roc_auc"] > 0.95


def test_the_other_problem_is_served(swapped: Project) -> None:
    swapped.does("dvc repro && poe predict data/raw/records.parquet scored.csv")
    scored = pl.read_csv(swapped.root / "scored.csv")
    records = pl.read_parquet(swapped.root / "data" / "raw" / "records.parquet")
    malignant = records["diagnosis"] == "malignant"
    assert (scored["label"].cast(bool) == malignant).mean() > 0.9  # type: ignore[operator]
