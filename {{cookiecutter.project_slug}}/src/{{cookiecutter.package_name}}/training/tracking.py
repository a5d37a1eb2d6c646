"""What anyone needs later: where a model came from, and one MLflow run a training."""

import hashlib
import os
import re
import sqlite3
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import closing
from glob import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..config import TrackingConfig
from ..errors import ConfigError
from ..preprocessing.features import CATEGORICAL, NUMERIC


def digest(paths: Iterable[Path]) -> str:
    """Hash the contents of files, in order of their names.

    Parameters
    ----------
    paths : iterable of pathlib.Path

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()


def provenance(root: Path, data: Iterable[Path]) -> dict[str, Any]:
    """Describe code, data and environment of a training.

    Parameters
    ----------
    root : pathlib.Path
        The repository.
    data : iterable of pathlib.Path
        The files that were trained and validated on.

    Returns
    -------
    dict
        `git_commit` (None outside a repository and its images), `git_clean`, `data_sha256`,
        `lock_sha256` and `libraries`, the version of each dependency that `pyproject.toml` names.
    """
    lock = root / "poetry.lock"
    commit = _git(root, "rev-parse", "HEAD")
    # What the pipeline writes itself is no change of the code that ran.
    own = [":!dvc.lock", ":!reports"]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", "src", "conf")
    clean = commit is not None and changes == new == ""
    if commit is None and (image := os.environ.get("GIT_COMMIT")):
        # An image says what it was built from, with `-dirty` where no commit holds all of it.
        commit, _, dirty = image.partition("-")
        clean = not dirty
    return {
        "git_commit": commit,
        "git_clean": clean,
        "data_sha256": digest(data),
        "lock_sha256": digest([lock]) if lock.is_file() else None,
        "libraries": _libraries(root / "pyproject.toml"),
    }


def reference(frame: pl.DataFrame, bins: int = 10) -> dict[str, Any]:
    """Describe the distribution of each feature, for drift to be measured against.

    Parameters
    ----------
    frame : polars.DataFrame
        The training window.
    bins : int
        Bins of a number, cut at its quantiles.

    Returns
    -------
    dict
        For a number `missing` (share) and, where there is any value, `edges` and the `shares` of
        the bins between them; for a category the share of each level.
    """
    described: dict[str, Any] = {}
    for name in NUMERIC:
        values = frame[name].drop_nulls().to_numpy()
        entry: dict[str, Any] = {"missing": frame[name].null_count() / frame.height}
        if values.size:
            cuts = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
            counts, edges = np.histogram(values, cuts if cuts.size > 1 else 1)
            entry |= {"edges": edges.tolist(), "shares": (counts / values.size).tolist()}
        described[name] = entry
    for name in CATEGORICAL:
        shares = frame[name].value_counts(normalize=True).sort(name)
        described[name] = dict(shares.iter_rows())
    return described


def record(
    tracking: TrackingConfig,
    root: Path,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Path,
) -> None:
    """Record one training.

    Parameters
    ----------
    tracking : TrackingConfig
        A relative `sqlite:///` address lies below `root`; its artifacts go to `mlartifacts/`.
    root : pathlib.Path
        The repository.
    parameters, metrics, tags : mapping
    artifacts : pathlib.Path
        A folder whose files are kept with the run.

    Raises
    ------
    ConfigError
        When the address of the runs cannot be used.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.exceptions import MlflowException

    local = tracking.uri.startswith("sqlite:///")
    uri = tracking.uri
    location = (root / "mlartifacts").as_uri() if local else None
    try:
        if local:
            database = root / tracking.uri.removeprefix("sqlite:///")
            database.parent.mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{database.as_posix()}"
            _prepare(database, tracking.experiment, location)
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            identifier = client.create_experiment(tracking.experiment, artifact_location=location)
        else:
            identifier = experiment.experiment_id
        run = client.create_run(identifier, tags=dict(tags)).info
        client.log_batch(
            run.run_id,
            [Metric(name, number, run.start_time, 0) for name, number in metrics.items()],
            [Param(name, str(value)) for name, value in parameters.items()],
        )
        client.log_artifacts(run.run_id, str(artifacts))
        client.set_terminated(run.run_id)
    except (MlflowException, sqlite3.Error, OSError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"tracking.uri={tracking.uri}: the run is not kept: {reason}") from error


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _libraries(settings: Path) -> dict[str, str]:
    if not settings.is_file():
        return {}
    project = tomllib.loads(settings.read_text(encoding="utf-8"))["project"]
    found = {}
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w.-]", requirement)[0]
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # one for another system
            continue
    return found


def _prepare(database: Path, experiment: str, artifacts: str | None) -> None:
    """Have a database that can be opened.

    It is made whole or not at all, and not in place of one that another training has begun.
    MLflow can neither go on with one that was cut off, nor make one in two processes at once.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if not database.exists():
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, database.name)
            store = SqlAlchemyStore(f"sqlite:///{made.as_posix()}", artifacts)  # type: ignore[no-untyped-call]
            store.create_experiment(experiment, artifact_location=artifacts)  # type: ignore[no-untyped-call]
            store.engine.dispose()
            content = made.read_bytes()
        part = database.with_name(f"{database.name}.{os.getpid()}.part")
        try:
            part.write_bytes(content)
            _put(part, database)
        finally:
            part.unlink(missing_ok=True)
    # Those of trainings that were killed: nobody needs one beside a database.
    for part in database.parent.glob(f"{escape(database.name)}.*.part"):
        part.unlink(missing_ok=True)
    # MLflow would try for a minute to open what cannot be opened.
    with closing(sqlite3.connect(database)) as runs:
        runs.execute("SELECT 1 FROM sqlite_master")


def _put(part: Path, database: Path) -> None:
    try:
        database.hardlink_to(part)
    except (FileExistsError, FileNotFoundError):
        pass  # Another training was faster, and may have removed the part.
    except OSError:  # A file system without links.
        part.replace(database)
