"""Files that outlive a run: which versions are read, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ml_ready.artifact import (
    FORMAT,
    read_metadata,
    read_metrics,
    read_model,
    write_counts,
    write_metrics,
    write_model,
    write_quarantine,
    write_records,
)
from ml_ready.contract import Tally
from ml_ready.errors import ModelError

MODEL = b"a model"
METADATA = {"contract_version": "abc", "outputs": {"threshold": 0.5}}
READERS = {"metadata.json": read_metadata, "metrics.json": read_metrics}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model and its metrics."""
    written = write_model(tmp_path / "models", MODEL, METADATA)
    write_metrics(tmp_path / "models", {"test": {"loss": 1.0}}, written["model"])
    return tmp_path / "models"


def change(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file; None removes the key."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def test_a_model_is_read_as_it_was_written(folder: Path) -> None:
    metadata = read_metadata(folder)
    assert metadata["contract_version"] == "abc"
    assert metadata["format"] == FORMAT
    assert metadata["written_by"].startswith("ml-ready ")
    assert (metadata["model"]["format"], metadata["model"]["file"]) == ("onnx", "model.onnx")
    assert read_model(folder, metadata) == MODEL


def test_the_written_metadata_are_those_that_are_read(tmp_path: Path) -> None:
    assert write_model(tmp_path, MODEL, METADATA) == read_metadata(tmp_path)


def test_metrics_are_read_as_they_were_written(folder: Path) -> None:
    metrics = read_metrics(folder)
    assert metrics["test"] == {"loss": 1.0}
    assert metrics["model"] == read_metadata(folder)["model"]
    assert metrics["format"] == FORMAT


@pytest.mark.parametrize("number", [0, FORMAT + 1, "1"])
@pytest.mark.parametrize(("name", "read"), READERS.items())
def test_an_unknown_format_is_refused_with_the_version_that_wrote_it(
    folder: Path, name: str, read: Callable[[Path], dict[str, Any]], number: Any
) -> None:
    change(folder / name, format=number, written_by="ml-ready 9.8.7")
    expected = rf"{name}: its format is {number}, written by ml-ready 9\.8\.7; this version rea"
    with pytest.raises(ModelError, match=expected) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy


def test_files_of_0_1_0_have_no_format_number_and_are_read(folder: Path) -> None:
    checksum = read_metadata(folder)["model"]["crc32"]
    removed = {"format": None, "written_by": None, "model": None, "model_crc32": checksum}
    for name in READERS:
        change(folder / name, **removed)
    metadata = read_metadata(folder)
    assert read_model(folder, metadata) == MODEL
    assert read_metrics(folder)["model"] == metadata["model"]


@pytest.mark.parametrize(
    "described",
    [
        None,
        {"format": "onnx", "file": "model.onnx"},
        {"format": "onnx", "crc32": 1},
        {"file": "model.onnx", "crc32": 1},
    ],
)
def test_a_model_without_a_checksum_a_file_or_a_format_is_refused(
    folder: Path, described: dict[str, Any] | None
) -> None:
    change(folder / "metadata.json", format=None, model=described)
    with pytest.raises(ModelError, match=r"metadata\.json: it has no '(model|crc32|file|format)'"):
        read_metadata(folder)


@pytest.mark.parametrize("key", ["contract_version", "outputs"])
def test_metadata_without_what_every_model_has_are_refused(folder: Path, key: str) -> None:
    change(folder / "metadata.json", **{key: None})
    with pytest.raises(ModelError, match=f"it has no '{key}'"):
        read_metadata(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b'"text"', b"null", b"\xff"])
@pytest.mark.parametrize(("name", "read"), READERS.items())
def test_a_file_that_is_no_json_object_is_refused_in_one_line(
    folder: Path, name: str, read: Callable[[Path], dict[str, Any]], content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(
        ModelError, match=rf"{name}: not readable \(.+\)\. Train the model"
    ) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "read"), READERS.items())
def test_a_missing_file_is_named(
    folder: Path, name: str, read: Callable[[Path], dict[str, Any]]
) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name}: not readable \(.*No such file"):
        read(folder)


@pytest.mark.parametrize("content", [b"", MODEL + b"!", b"another model"])
def test_a_damaged_model_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"damaged, or from another training\. Train the model"):
        read_model(folder, read_metadata(folder))


def test_a_missing_model_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: not readable"):
        read_model(folder, read_metadata(folder))


def test_a_description_that_is_no_object_is_refused(folder: Path) -> None:
    change(folder / "metadata.json", model=3)
    with pytest.raises(ModelError, match="not readable"):
        read_metadata(folder)


def test_a_model_of_another_kind_is_refused(folder: Path) -> None:
    described = read_metadata(folder)["model"] | {"format": "torch"}
    change(folder / "metadata.json", model=described)
    with pytest.raises(
        ModelError, match=r"its format is torch, expected onnx\. Use a newer ml-ready"
    ):
        read_model(folder, read_metadata(folder))


@pytest.mark.parametrize("file", ["../model.onnx", "/model.onnx", "..", ".", "", "a\0b"])
def test_metadata_name_no_file_outside_of_their_folder(folder: Path, file: str) -> None:
    (folder.parent / "model.onnx").write_bytes(MODEL)
    change(folder / "metadata.json", model=read_metadata(folder)["model"] | {"file": file})
    with pytest.raises(ModelError, match="the file of the model is .*, expected a plain name"):
        read_metadata(folder)


def test_what_ingest_leaves_says_which_format_it_has(tmp_path: Path) -> None:
    write_counts(tmp_path, Tally(2, 1, {"a rule": 1}))
    counts = json.loads((tmp_path / "contract.json").read_text(encoding="utf-8"))
    assert counts["format"] == FORMAT
    assert (counts["valid"], counts["quarantined"], counts["rules"]) == (2, 1, {"a rule": 1})
    rows = pl.DataFrame({"x": [1], "row": [0], "reason": ["odd"]})
    write_quarantine(tmp_path, rows)
    path = tmp_path / "quarantine.parquet"
    assert pl.read_parquet(path).equals(rows)
    assert pl.read_parquet_metadata(path)["ml_ready.format"] == str(FORMAT)
    write_records(tmp_path, rows)
    assert pl.read_parquet(tmp_path / "records.parquet").equals(rows)
