"""Jobs and pipeline in local containers, as the SageMaker SDK runs them."""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ml_ready.aws import local
from ml_ready.config import DataConfig
from ml_ready.jobs.job import unpacked
from ml_ready.serving.predictor import Predictor
from ml_ready.tables import files, read

from {{ cookiecutter.package_name }}.project import PROJECT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sagemaker") is None,
    reason="no SageMaker SDK: python3 bootstrap.py poetry install --with sagemaker",
)


def docker(*arguments: str) -> set[str]:
    return {*subprocess.check_output(["docker", *arguments], text=True).split()}


@pytest.fixture
def run(images: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `poe sagemaker-local`, and see that it leaves no container and no network."""

    def ran(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        image = images("train")
        command = [sys.executable, "-m", "ml_ready", "sagemaker-local", "--image", image]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            cwd=PROJECT.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        inside = ["ps", "--all", "--quiet", "--filter", f"network={local.NETWORK}"]
        assert not docker(*inside, "--filter", f"ancestor={image}")
        # Another project may run its own jobs there at the same time.
        networks = docker("network", "ls", "--quiet", "--filter", f"name=^{local.NETWORK}$")
        assert not networks or docker(*inside)
        return done

    return ran


def trained(folder: Path, target: Path) -> Predictor:
    """Load the model that a run has left."""
    (packed,) = folder.glob("trained/**/model.tar.gz")
    target.mkdir()
    shutil.copy(packed, target)
    return Predictor(PROJECT, unpacked(target))


def test_the_whole_pipeline_makes_the_model_that_is_made_here(
    run: Callable[..., subprocess.CompletedProcess[str]],
    model_folder: Path,
    windows: dict[str, pl.DataFrame],
    tmp_path: Path,
) -> None:
    done = run("--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("Process", "Train", "Evaluate", "GoodEnough"):
        assert f"{step}: Succeeded" in done.stdout
    test = windows["test"]
    scores = trained(tmp_path / "out", tmp_path / "model").score(test)
    assert np.allclose(scores, Predictor(PROJECT, model_folder).score(test), atol=1e-4)
    assert [*(tmp_path / "out").glob("runs/*/reports/index.html")]


def test_a_model_of_noise_is_refused_with_metric_value_and_threshold(
    run: Callable[..., subprocess.CompletedProcess[str]], config: Any, tmp_path: Path
) -> None:
    source = noise(PROJECT.root / config.source, config.data, tmp_path / "source")
    done = run("--source", source, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "NotGoodEnough: Failed" in done.stdout
    *_, said = done.stderr.splitlines()
    assert "The model is not registered: " in said
    assert "on test is " in said
    assert ", required " in said


def noise(source: Path, config: DataConfig, target: Path) -> Path:
    """Copy source tables, with the outcomes dealt out at random."""
    shutil.copytree(source, target)
    known = {column.name for column in PROJECT.inputs}
    for path in files(target / config.table):
        table = read(path)
        outcomes = {column.name for column in PROJECT.columns} & {*table.columns} - known
        assert outcomes
        table = table.with_columns(pl.col(*outcomes).shuffle(seed=0))
        table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)
    return target
