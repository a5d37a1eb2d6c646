"""Files that outlive a run: their names, their format number, and how they are written and read.

No other module writes or reads them. A file says which version of ml-ready wrote it; one without a
format number is from 0.1.0.
"""

import json
import re
import zlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError, one_line

if TYPE_CHECKING:
    import polars as pl

    from .contract import Tally

FORMAT = 1
# Names of the windows, in their order in time.
WINDOWS = ("train", "validation", "test")
MODEL_FILE = "model.onnx"
METADATA_FILE = "metadata.json"
METRICS_FILE = "metrics.json"
REPORT_FILE = "index.html"
_COUNTS_FILE = "contract.json"
_QUARANTINE_FILE = "quarantine.parquet"
_QUARANTINE_FOLDER = "quarantine"  # of many files, which Spark writes
RECORDS_FILE = "records.parquet"
_ENTRY = {"format": str, "file": str, "crc32": int}  # of `model` in the metadata
RETRAIN = "Train the model: `poe pipeline`"


def write_model(folder: Path, model: bytes, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write an exported model and what is known of it.

    Parameters
    ----------
    folder : pathlib.Path
        Gets `model.onnx` and `metadata.json`.
    model : bytes
        In ONNX.
    metadata : mapping
        Among it `contract_version` and `outputs`.

    Returns
    -------
    dict
        The metadata as they were written: with the format, and with format, file and checksum of
        the model.

    Examples
    --------
    Into an empty `folder`:

    >>> from ml_ready.artifact import read_metadata, read_model, write_model
    >>> written = write_model(folder, b"a model", {"contract_version": "1", "outputs": {}})
    >>> written["model"]
    {'format': 'onnx', 'file': 'model.onnx', 'crc32': 2796951773}
    >>> read_model(folder, read_metadata(folder))
    b'a model'
    """
    entry = {"format": "onnx", "file": MODEL_FILE, "crc32": zlib.crc32(model)}
    content = {**_signature(), "model": entry, **metadata}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(model)
    (folder / METADATA_FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return content


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read what is known of a model.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    dict
        In the present format, whichever version wrote it.

    Raises
    ------
    ModelError
        When the file cannot be read, lacks a key that every model has, or a version with another
        format wrote it.
    """
    path = folder / METADATA_FILE
    try:
        metadata = _present(json.loads(path.read_text(encoding="utf-8")), path)
        metadata["contract_version"], dict(metadata["outputs"])
        entry = dict(metadata["model"])
        if not all(isinstance(entry[key], kind) for key, kind in _ENTRY.items()):
            raise ValueError(
                f"model is {entry}, expected texts format and file, and a number crc32"
            )
        if not re.fullmatch(r"[\w-][\w.-]*", entry["file"]):
            raise ValueError(f"the file of the model is {entry['file']!r}, expected a plain name")
    except KeyError as error:
        raise ModelError(
            f"{path}: it has no {one_line(error)}, which every model has.", RETRAIN
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: not readable ({one_line(error)}).", RETRAIN) from error
    return metadata


def read_model(folder: Path, metadata: Mapping[str, Any]) -> bytes:
    """Read the exported model that metadata describe.

    Parameters
    ----------
    folder : pathlib.Path
    metadata : mapping
        As `read_metadata` returns it.

    Returns
    -------
    bytes

    Raises
    ------
    ModelError
        When the model cannot be read, has another checksum, or has a format other than ONNX.
    """
    entry, path = metadata["model"], _model_path(folder, metadata)
    if entry["format"] != "onnx":
        raise ModelError(
            f"{path}: its format is {entry['format']}, expected onnx.",
            "Use a newer ml-ready (`ml-ready upgrade WHEEL`), or train the model: `poe pipeline`",
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: not readable ({one_line(error)}).", RETRAIN) from error
    if zlib.crc32(model) != entry["crc32"]:
        raise ModelError(
            f"{path}: does not match {METADATA_FILE}: it is damaged, or from another training.",
            RETRAIN,
        )
    return model


def model_files(folder: Path) -> list[Path]:
    """Return what makes up a model: its metadata, and the file that they name.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    ModelError
        When the metadata cannot be read.
    """
    return [folder / METADATA_FILE, _model_path(folder, read_metadata(folder))]


def write_metrics(folder: Path, metrics: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Write the metrics and the verdict on a model.

    Parameters
    ----------
    folder : pathlib.Path
        Gets `metrics.json`.
    metrics : mapping
        By window, and the verdict as `gate`.
    model : mapping
        `model` of its metadata: whose metrics these are.

    Examples
    --------
    Into an empty `folder`:

    >>> from ml_ready.artifact import read_metrics, write_metrics
    >>> write_metrics(folder, {"test": {"roc_auc": 0.7}, "gate": {"good": True}}, {"crc32": 7})
    >>> read_metrics(folder)["test"]
    {'roc_auc': 0.7}
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**_signature(), **metrics, "model": dict(model)}, indent=2)
    (folder / METRICS_FILE).write_text(f"{text}\n", encoding="utf-8")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read metrics and verdict.

    Parameters
    ----------
    folder : pathlib.Path

    Returns
    -------
    dict
        In the present format, whichever version wrote it.

    Raises
    ------
    ModelError
        When the file cannot be read, or a version with another format wrote it.
    """
    path = folder / METRICS_FILE
    try:
        metrics = _present(json.loads(path.read_text(encoding="utf-8")), path)
        if not isinstance(metrics.get("model", {}), dict):
            raise ValueError(f"model is {metrics['model']}")
        return metrics
    except (RecursionError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: not readable ({one_line(error)}).", RETRAIN) from error


def write_counts(folder: Path, tally: "Tally") -> None:
    """Write how many records are valid, and how many break each rule.

    Parameters
    ----------
    folder : pathlib.Path
        It exists, and gets `contract.json`.
    tally : Tally
    """
    text = json.dumps({**_signature(), **tally._asdict()}, indent=2)
    (folder / _COUNTS_FILE).write_text(text, encoding="utf-8")


def write_quarantine(folder: Path, rows: Any) -> None:
    """Write the rows that break the contract, each with its `reason`.

    Parameters
    ----------
    folder : pathlib.Path
    rows : polars.DataFrame or pyspark.sql.DataFrame
        Those of polars have their `row` number from 0, too. Spark writes a folder of files, which
        hold neither format number nor version.
    """
    if hasattr(rows, "write_parquet"):
        signature = {f"ml_ready.{name}": str(value) for name, value in _signature().items()}
        rows.write_parquet(folder / _QUARANTINE_FILE, metadata=signature)
    else:
        rows.write.parquet(str(folder / _QUARANTINE_FOLDER))


def write_records(folder: Path, records: "pl.DataFrame") -> None:
    """Write the records that hold to the contract.

    Parameters
    ----------
    folder : pathlib.Path
        It exists, and gets `records.parquet`.
    records : polars.DataFrame of shape (records, columns)
        With the columns and types of the contract.
    """
    records.write_parquet(folder / RECORDS_FILE)


def _model_path(folder: Path, metadata: Mapping[str, Any]) -> Path:
    return folder / str(metadata["model"]["file"])


def _signature() -> dict[str, Any]:
    try:
        written_by = version("ml-ready")
    except PackageNotFoundError:  # a checkout that is not installed
        written_by = "unknown"
    return {"format": FORMAT, "written_by": f"ml-ready {written_by}"}


def _present(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Turn a file of 0.1.0 into the present format, and refuse an unknown one."""
    number, writer = content.get("format"), content.get("written_by", "an unknown version")
    if "format" not in content:
        if "model_crc32" in content:
            checksum = content["model_crc32"]
            content["model"] = {"format": "onnx", "file": MODEL_FILE, "crc32": checksum}
        return content
    if type(number) is not int or number != FORMAT:
        raise ModelError(
            f"{path}: its format is {number}, written by {writer}; this version "
            f"reads format {FORMAT}.",
            "Use a version that reads it: `ml-ready upgrade WHEEL`",
        )
    return content
