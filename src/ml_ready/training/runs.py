"""Tracked runs: one MLflow run per training."""

import os
import sqlite3
import tempfile
from collections.abc import Mapping
from contextlib import closing
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import TrackingConfig


def record(
    tracking: "TrackingConfig",
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
        A relative `sqlite:///` address is relative to `root`; its artifacts go to `mlartifacts/`.
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


def _prepare(database: Path, experiment: str, artifacts: str | None) -> None:
    """Create the database unless it exists, and check that it can be opened.

    It is created whole or not at all, and never replaces one that another training has begun.
    MLflow can neither continue one that was cut off, nor create one in two processes at once.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if not database.exists():
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder, database.name)
            store = SqlAlchemyStore(f"sqlite:///{whole.as_posix()}", artifacts)  # type: ignore[no-untyped-call]
            store.create_experiment(experiment, artifact_location=artifacts)  # type: ignore[no-untyped-call]
            store.engine.dispose()
            content = whole.read_bytes()
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
