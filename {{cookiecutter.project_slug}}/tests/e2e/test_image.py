"""The images as SageMaker runs them: jobs in one, a server in the other, nothing else in either."""

import hashlib
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ml_ready.artifact import WINDOWS
from ml_ready.aws import images as recipe
from ml_ready.serving.predictor import Predictor
from ml_ready.tables import read

from {{ cookiecutter.package_name }}.project import PROJECT

ROOT = PROJECT.root


def run(name: str, base: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a container on a folder in place of `/opt/ml`, and take over what root leaves there."""
    container = ["docker", "run", "--rm", "--volume", f"{base}:/opt/ml"]
    done = subprocess.run(
        [*container, name, *command], capture_output=True, text=True, check=False, timeout=600
    )
    owner = ["--user", "0", name, "chown", "--recursive", "--reference=/opt/ml", "/opt/ml"]
    subprocess.run([*container, *owner], check=True)
    return done


def test_jobs_make_a_model_of_source_tables(
    images: Callable[[str], str],
    training_job: Callable[..., None],
    config: Any,
    model_folder: Path,
    tmp_path: Path,
) -> None:
    work = tmp_path / "process" / "processing"
    (tmp_path / "process" / "config").mkdir(parents=True)
    shutil.copytree(ROOT / config.source, work / "source")
    done = run(images("train"), tmp_path / "process", "process")
    assert done.returncode == 0, done.stderr
    windows = {name: read(work / "data" / "processed" / name) for name in WINDOWS}

    training_job(tmp_path / "train", windows)
    done = run(images("train"), tmp_path / "train")
    assert done.returncode == 0, done.stderr
    trained = Predictor(PROJECT, tmp_path / "train" / "model")
    scores = trained.score(windows["test"])
    assert np.allclose(scores, Predictor(PROJECT, model_folder).score(windows["test"]), atol=1e-4)
    lock = (ROOT / "poetry.lock").read_bytes()
    commit, _, _ = recipe.commit(ROOT).partition("-")  # where it is dirty, it says so
    assert (trained.metadata["git_commit"] or "") == commit
    assert trained.metadata["lock_sha256"] == hashlib.sha256(lock).hexdigest()

    shutil.copytree(tmp_path / "train" / "model", work / "models")
    done = run(images("train"), tmp_path / "process", "evaluate")
    assert done.returncode == 0, done.stderr
    assert (work / "reports" / "index.html").is_file()


def test_a_job_that_fails_says_why_where_sagemaker_looks(
    images: Callable[[str], str], training_job: Callable[..., None], tmp_path: Path
) -> None:
    training_job(tmp_path, depth="3")
    done = run(images("train"), tmp_path, "train")
    assert done.returncode == 1
    said = (tmp_path / "output" / "failure").read_text(encoding="utf-8")
    assert said.startswith("depth=3: no such key")
    assert done.stderr == f"error: {said}\n"


def test_a_training_hears_sigterm_though_it_is_the_first_process(
    images: Callable[[str], str],
    training_job: Callable[..., None],
    windows: dict[str, pl.DataFrame],
    tmp_path: Path,
) -> None:
    # Enough rows for the signal to arrive while it trains.
    training_job(tmp_path, windows | {"train": pl.concat([windows["train"]] * 20)})
    name = uuid.uuid4().hex
    command = ["docker", "run", "--rm", "--name", name, "--volume", f"{tmp_path}:/opt/ml"]
    with subprocess.Popen([*command, images("train"), "train"], stderr=subprocess.PIPE) as started:
        assert started.stderr is not None
        while b"training on" not in started.stderr.readline():
            assert started.poll() is None
        subprocess.run(["docker", "kill", "--signal", "TERM", name], check=True)
        started.communicate(timeout=60)
        assert started.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in (tmp_path / "output" / "failure").read_text(encoding="utf-8")


def test_the_server_is_nobody(images: Callable[[str], str], tmp_path: Path) -> None:
    user = run(images("serve"), tmp_path, "id", "-u").stdout.strip()
    assert user.isdigit()
    assert user != "0"


def distributions(name: str, base: Path) -> set[str]:
    """List the packages that an image holds."""
    wanted = "import importlib.metadata as m; print(*(each.name for each in m.distributions()))"
    return {*run(name, base, "python3", "-c", wanted).stdout.lower().split()}


def test_the_server_holds_no_training_library(images: Callable[[str], str], tmp_path: Path) -> None:
    packages = distributions(images("serve"), tmp_path)
    assert {"onnxruntime", "polars", "starlette", recipe.project(ROOT)} <= packages
    assert not packages & {"scikit-learn", "mlflow-skinny", "pandas", "boto3"}


def test_a_job_holds_no_tool_of_development(images: Callable[[str], str], tmp_path: Path) -> None:
    packages = distributions(images("train"), tmp_path)
    assert {"scikit-learn", recipe.project(ROOT)} <= packages
    assert not packages & {"pytest", "ruff", "dvc", "boto3"}
