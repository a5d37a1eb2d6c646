"""Stage `train`: fit, export behind the parity gate, describe and track; or try other settings."""

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from .. import artifact, tables
from ..config import Config, combinations
from ..errors import ConfigError
from ..project import Project
from ..serving.predictor import load, score
from ..training import runs
from ..training.checkpoints import Checkpoints
from ..training.export import export, require_parity
from ..training.provenance import digest, provenance, reference
from . import packages
from .configure import PARAMS, configuration
from .folders import Paths

_log = logging.getLogger(__name__)


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Train into `models/`; with overrides, try each combination and leave `models/` alone.

    A job trains into its model folder, with its hyperparameters.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        Overrides as `configuration` takes them, where `model.learning_rate=0.05,0.1` are two tries.

    Raises
    ------
    ConfigError
        When a setting is wrong, or a job is to train several models or on several hosts.
    ContractError, ParityError
        As `train` does.
    """
    hosts = where.host[1]
    if hosts > 1:
        raise ConfigError(f"this model trains on one host, got {hosts}: set instance count to 1")
    hyperparameters = where.job.hyperparameters() if where.job else []
    if len(combinations(hyperparameters)) > 1:
        raise ConfigError(
            f"{' '.join(hyperparameters)}: a job trains one model; tuning jobs try several"
        )
    if not arguments or PARAMS in arguments:
        train(project, where, configuration(project, where, arguments), where.models)
        return
    tries = combinations(arguments)
    configurations = [configuration(project, where, overrides) for overrides in tries]
    for overrides, config in zip(tries, configurations, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            metrics = train(project, where, config, Path(folder))
        _log.info("%s: validation %s", " ".join(overrides), project.task.summary(metrics))


def train(
    project: Project, where: Paths, config: Config[Any, Any], folder: Path
) -> dict[str, float]:
    """Train one model, write it to `folder`, and track the run.

    Parameters
    ----------
    project : Project
    where : Paths
    config : Config
    folder : pathlib.Path
        Gets `model.onnx` and `metadata.json`.

    Returns
    -------
    dict of str to float
        Metrics on the validation window.

    Raises
    ------
    ConfigError
        When the model cannot be trained with these settings, or the run cannot be kept.
    ContractError
        When a window is missing or cannot be read.
    ParityError
        When the exported model does not predict what the trained one predicts.
    """
    sources = [(where.window(name), where.remedy(name)) for name in artifact.WINDOWS[:2]]
    frame, validation = (
        tables.read_window(path, project.numeric, project.categorical, project.target, remedy)
        for path, remedy in sources
    )
    origin = provenance(where.root, [path for source in sources for path in tables.files(*source)])
    _log.info("training on %d rows", frame.height)
    checkpoints = Checkpoints(
        where.job.checkpoints if where.job else None, identity(project, config, origin)
    )
    model = project.training.fit(frame, validation, config.model, config.seed, checkpoints)
    exported = export(project, model)
    scores = score(project, load(project, exported), validation)
    parity = require_parity(
        project.training.predict(model, validation), scores, config.evaluation.parity_tolerance
    )
    target = validation[project.target].to_numpy()
    outputs = project.task.derive_outputs(model, target, scores)
    metrics = project.task.measure(target, scores, outputs)
    metadata = artifact.write_model(
        folder,
        exported,
        {
            "contract_version": project.contract_version,
            "features": {"numeric": project.numeric, "categorical": project.categorical},
            "target": project.target,
            "outputs": project.task.describe(outputs),
            "window": _window(frame, config.data.split.column),
            "metrics": metrics,
            "parity": parity,
            "seed": config.seed,
            "hyperparameters": config.model.model_dump(),
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
            **origin,
            "reference": reference(project, frame),
        },
    )
    tags = {"data_sha256": metadata["data_sha256"], "git_commit": str(metadata["git_commit"])}
    parameters = config.model.model_dump() | {"seed": config.seed}
    runs.record(config.tracking, where.work, parameters, metrics, tags, folder)
    return metrics


def identity(project: Project, config: Config[Any, Any], origin: Mapping[str, Any]) -> str:
    """Hash what the trained model depends on.

    Parameters
    ----------
    project : Project
        Whose code below `src/` counts.
    config : Config
    origin : mapping
        As `provenance` returns it.

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
    code = [digest((project.root / "src").rglob("*.py")), packages.library()]
    content = [config.model_dump(mode="json"), origin, code]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _window(frame: pl.DataFrame, column: str) -> dict[str, Any]:
    first, last = frame[column].min(), frame[column].max()
    return {"column": column, "first": str(first), "last": str(last), "rows": frame.height}
