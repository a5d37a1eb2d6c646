"""Files that outlive a run: read by each later version, or refused with the version to use."""

import json
import zlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ml_ready import artifact
from ml_ready.contract import Tally
from ml_ready.errors import MismatchError, ModelError

METADATA = {"contract_version": "0123456789ab", "outputs": {"threshold": 0.5}}
MODEL = b"a model"


def rewrite(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def test_a_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = artifact.write_model(tmp_path / "models", MODEL, METADATA)
    metadata = artifact.read_metadata(tmp_path / "models")
    assert metadata == written
    assert metadata["format"] == artifact.FORMAT
    assert metadata["written_by"].startswith("ml-ready ")
    assert metadata["model"] == {"format": "onnx", "file": "model.onnx", "crc32": zlib.crc32(MODEL)}
    assert artifact.read_model(tmp_path / "models", metadata) == MODEL


def test_a_model_of_the_first_version_is_read(tmp_path: Path) -> None:
    artifact.write_model(tmp_path, MODEL, METADATA)
    path = tmp_path / artifact.METADATA_FILE
    rewrite(path, format=None, written_by=None, model=None, model_crc32=zlib.crc32(MODEL))
    assert artifact.read_model(tmp_path, artifact.read_metadata(tmp_path)) == MODEL


@pytest.mark.parametrize("number", [0, 2, "1"])
def test_an_unknown_format_is_refused_with_the_version_that_wrote_it(
    tmp_path: Path, number: Any
) -> None:
    artifact.write_model(tmp_path, MODEL, METADATA)
    artifact.write_metrics(tmp_path, {}, {})
    for name in (artifact.METADATA_FILE, artifact.METRICS_FILE):
        rewrite(tmp_path / name, format=number, written_by="ml-ready 9.1.0")
    for read in (artifact.read_metadata, artifact.read_metrics):
        with pytest.raises(ModelError, match=f"format is {number}, written by ml-ready 9.1.0; thi"):
            read(tmp_path)


@pytest.mark.parametrize(
    "model",
    [None, {"format": "onnx", "file": "model.onnx"}, {"file": "model.onnx", "crc32": 1}],
)
def test_a_checksum_and_a_format_are_required(tmp_path: Path, model: Any) -> None:
    artifact.write_model(tmp_path, MODEL, METADATA)
    rewrite(tmp_path / artifact.METADATA_FILE, model=model)
    with pytest.raises(MismatchError, match=r"metadata\.json: it has no '(model|crc32|format)'"):
        artifact.read_metadata(tmp_path)


def test_a_model_of_another_format_is_refused(tmp_path: Path) -> None:
    artifact.write_model(tmp_path, MODEL, METADATA)
    described = artifact.read_metadata(tmp_path)
    described["model"] |= {"format": "skops"}
    with pytest.raises(ModelError, match="its format is skops, expected onnx"):
        artifact.read_model(tmp_path, described)


def test_a_model_is_read_from_its_own_folder_alone(tmp_path: Path) -> None:
    artifact.write_model(tmp_path / "models", MODEL, METADATA)
    (tmp_path / "model.onnx").write_bytes(MODEL)
    (tmp_path / "models" / "model.onnx").unlink()
    described = artifact.read_metadata(tmp_path / "models")
    described["model"] |= {"file": "../model.onnx"}
    with pytest.raises(ModelError, match=r"models.model\.onnx: not readable"):
        artifact.read_model(tmp_path / "models", described)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff", b'{"format": 1, "model": 3}'])
def test_what_cannot_be_read_is_named_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / artifact.METADATA_FILE
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"metadata\.json: ") as caught:
        artifact.read_metadata(tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy == artifact.RETRAIN


def test_metrics_say_whose_they_are(tmp_path: Path) -> None:
    described = artifact.write_model(tmp_path, MODEL, METADATA)["model"]
    artifact.write_metrics(tmp_path, {"test": {"loss": 0.5}}, described)
    metrics = artifact.read_metrics(tmp_path)
    assert (metrics["model"], metrics["test"]) == (described, {"loss": 0.5})
    path = tmp_path / artifact.METRICS_FILE
    rewrite(path, format=None, written_by=None, model=None, model_crc32=zlib.crc32(MODEL))
    assert artifact.read_metrics(tmp_path)["model"] == described
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"metrics\.json: not readable"):
        artifact.read_metrics(tmp_path)


def test_counts_and_quarantine_carry_the_format(tmp_path: Path) -> None:
    artifact.write_counts(tmp_path, Tally(2, 1, {"count must be a number": 1}))
    counts = json.loads((tmp_path / artifact.COUNTS_FILE).read_text(encoding="utf-8"))
    assert (counts["format"], counts["valid"], counts["quarantined"]) == (artifact.FORMAT, 2, 1)
    artifact.write_quarantine(tmp_path, pl.DataFrame({"row": [0], "reason": ["odd"]}))
    carried = pl.read_parquet_metadata(tmp_path / artifact.QUARANTINE_FILE)
    assert carried["ml_ready.format"] == str(artifact.FORMAT)
