"""Experiment tracking: one MLflow run a training, in a local SQLite file or on a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import TrackingConfig
from ..errors import ConfigError


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
    if local:
        uri = f"sqlite:///{(root / tracking.uri.removeprefix('sqlite:///')).as_posix()}"
    try:
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            location = (root / "mlartifacts").as_uri() if local else None
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
    except MlflowException as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"tracking.uri={tracking.uri}: the run is not kept: {reason}") from error
