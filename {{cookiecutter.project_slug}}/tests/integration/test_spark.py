"""Spark makes the windows that polars makes, from this project's records and features."""

import importlib.util
import shutil
from pathlib import Path

import polars as pl
import pytest
from ml_ready.artifact import WINDOWS
from ml_ready.jobs.folders import Paths
from ml_ready.tables import read

from {{ cookiecutter.package_name }}.entrypoints import process, spark
from {{ cookiecutter.package_name }}.project import PROJECT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None,
    reason="Spark is missing: python3 bootstrap.py poetry install --with spark",
)


def windows(where: Paths) -> dict[str, pl.DataFrame]:
    """The rows of each window, in an order that does not depend on the engine."""
    return {name: read(where.window(name)).sort(pl.all()) for name in WINDOWS}


def test_every_column_of_every_window_is_as_from_polars(tmp_path: Path) -> None:
    for name in ("conf", "data/sample"):
        shutil.copytree(PROJECT.root / name, tmp_path / name)
    where = Paths(tmp_path)
    process.main(where, [])
    expected = windows(where)
    spark.main(where, [])
    for name, window in windows(where).items():
        assert window.schema == expected[name].schema
        assert window.height > 0
        for column in window.columns:
            assert window[column].equals(expected[name][column]), f"{name}: {column}"
