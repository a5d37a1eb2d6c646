"""Experiment tracking: one MLflow run a training, in a local SQLite file or on a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import TrackingConfig


def record(
    tracking: TrackingConfig,
    root: Path,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Path,
) -> str:
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

    Returns
    -------
    str
        The run's identifier.
    """
    from mlflow import MlflowClient

    local = tracking.uri.startswith("sqlite:///")
    uri = tracking.uri
    if local:
        uri = f"sqlite:///{(root / tracking.uri.removeprefix('sqlite:///')).as_posix()}"
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(tracking.experiment)
    if experiment is None:
        location = (root / "mlartifacts").as_uri() if local else None
        identifier = client.create_experiment(tracking.experiment, artifact_location=location)
    else:
        identifier = experiment.experiment_id
    run = client.create_run(identifier, tags=dict(tags)).info.run_id
    for name, value in parameters.items():
        client.log_param(run, name, value)
    for name, number in metrics.items():
        client.log_metric(run, name, number)
    client.log_artifacts(run, str(artifacts))
    client.set_terminated(run)
    return str(run)
