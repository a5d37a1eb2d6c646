"""Stage `train`: fit, export behind the parity gate, describe and track; or try other settings."""

import hashlib
import json
import logging
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from .. import contract
from ..config import WINDOWS, combinations
from ..errors import ConfigError
from ..inference.predictor import CHECKSUM, METADATA_FILE, MODEL_FILE, load, score
from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..preprocessing.ingest import files, read_window
from ..schema import COLUMNS, TARGET
from ..training import metrics, tracking
from ..training.checkpoints import Checkpoints
from ..training.export import to_onnx
from ..training.gate import require_parity
from ..training.model import fit, predict
from .configure import Configuration, configuration
from .environment import Paths, run

log = logging.getLogger(__name__)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Train into `models/`; given overrides, try each combination and leave `models/` alone.

    A job trains into its model folder, with its hyperparameters.

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
    given = where.job.hyperparameters() if where.job else []
    if len(combinations(given)) > 1:
        raise ConfigError(f"{' '.join(given)}: a job trains one model; tuning jobs try several")
    runs = combinations(overrides)
    configurations = [configuration(where, values) for values in runs]
    if not overrides:
        train(where, configurations[0], where.models)
        return
    for values, config in zip(runs, configurations, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            measured = train(where, config, Path(folder))
        log.info("%s: validation %s", " ".join(values), metrics.summary(measured))


def train(where: Paths, config: Configuration, folder: Path) -> dict[str, float]:
    """Train one model, write it to `folder`, and track the run.

    Parameters
    ----------
    where : Paths
    config : Configuration
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
    wanted = [(where.window(name), where.remedy(name)) for name in WINDOWS[:2]]
    frame, validation = (
        read_window(path, NUMERIC, CATEGORICAL, TARGET, remedy) for path, remedy in wanted
    )
    source = tracking.provenance(where.root, [path for each in wanted for path in files(*each)])
    log.info("training on %d rows", frame.height)
    kept = where.job.checkpoints if where.job else None
    checkpoints = Checkpoints(kept, identity(config, source))
    model = fit(frame, validation, config.model, config.seed, checkpoints)
    exported = to_onnx(model)
    scores = score(load(exported), validation)
    tolerance = config.evaluation.parity_tolerance
    difference = require_parity(predict(model, validation), scores, tolerance)
    target = validation[TARGET].to_numpy()
    outputs = metrics.outputs_of(model, target, scores)
    measured = metrics.measure(target, scores, outputs)
    metadata = {
        "contract_version": contract.version(COLUMNS),
        "features": {"numeric": NUMERIC, "categorical": CATEGORICAL},
        "target": TARGET,
        "outputs": asdict(outputs),
        "window": _window(frame, config.data.split.column),
        "metrics": measured,
        "parity": difference,
        CHECKSUM: zlib.crc32(exported),
        "seed": config.seed,
        "hyperparameters": config.model.model_dump(),
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **source,
        "reference": tracking.reference(frame),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(exported)
    (folder / METADATA_FILE).write_text(json.dumps(metadata, indent=2), encoding="utf-8")
    tags = {"data_sha256": metadata["data_sha256"], "git_commit": str(metadata["git_commit"])}
    parameters = config.model.model_dump() | {"seed": config.seed}
    tracking.record(config.tracking, where.work, parameters, measured, tags, folder)
    return measured


def identity(config: Configuration, source: Mapping[str, Any]) -> str:
    """Hash what the trained model depends on."""
    package = tracking.digest(Path(__file__).parents[1].rglob("*.py"))
    found = [config.model_dump(mode="json"), source, package]
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _window(frame: pl.DataFrame, column: str) -> dict[str, Any]:
    first, last = frame[column].min(), frame[column].max()
    return {"column": column, "first": str(first), "last": str(last), "rows": frame.height}


if __name__ == "__main__":
    run(main)
