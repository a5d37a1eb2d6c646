"""The predictor with a model made by hand: model folders that cannot be used, and edge cases."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import onnx
import polars as pl
import pytest
from handmade import OUTPUTS
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import first
from ml_ready import artifact, contract
from ml_ready.errors import MismatchError, ModelError
from ml_ready.project import Project
from ml_ready.serving.predictor import Predictor
from onnx import TensorProto, helper
from synthetic import COLUMNS


def values(column: contract.Column) -> st.SearchStrategy[Any]:
    """Draw what a column of the contract may hold."""
    low, high = column.limits or (None, None)
    strategy: st.SearchStrategy[Any]
    if column.allowed:
        strategy = st.sampled_from(column.allowed)
    elif column.pattern is not None:
        strategy = st.from_regex(column.pattern, fullmatch=True)
    elif column.dtype.startswith("Int"):
        strategy = st.integers(int(low or 0), int(high or 0))
    elif column.dtype.startswith("Float"):
        strategy = st.floats(low, high)
    elif column.dtype == "Boolean":
        strategy = st.booleans()
    elif column.dtype == "Datetime":
        strategy = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
    else:
        strategy = st.text()
    return st.none() | strategy if column.nullable else strategy


RECORDS = st.lists(
    st.fixed_dictionaries({column.name: values(column) for column in contract.inputs(COLUMNS)}),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(drawn=RECORDS)
def test_request_path_and_batch_path_agree_to_the_bit(
    predictor: Predictor, drawn: list[dict[str, Any]]
) -> None:
    table = pl.DataFrame(drawn, schema=contract.polars_schema(contract.inputs(COLUMNS)))
    assert predictor.records(drawn).tobytes() == predictor.frame(table).tobytes()


@pytest.mark.parametrize("task", OUTPUTS, indirect=True)
def test_scores_are_the_models(predictor: Predictor, known: pl.DataFrame) -> None:
    scores = first(predictor.frame(known))
    assert scores.shape == (known.height,)
    assert len(np.unique(scores)) > known.height / 3
    assert ((scores > 0) & (scores < 1)).all()


def require_refused(project: Project, folder: Path, metadata: str | None, message: str) -> None:
    """Require that metadata are refused in one line."""
    path = folder / "metadata.json"
    path.unlink() if metadata is None else path.write_text(metadata, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        Predictor(project, folder)
    assert "\n" not in str(caught.value)
    assert "poe pipeline" in str(caught.value)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "No such file"),
        ("{", "not readable"),
        ("[]", "not readable"),
        ("{}", "contract_version"),
    ],
)
def test_metadata_that_describe_no_model_are_refused_in_one_line(
    project: Project, folder: Path, tmp_path: Path, metadata: str | None, message: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "models")
    require_refused(project, copy, metadata, message)


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        *(
            (task, changes, message)
            for task in OUTPUTS
            for changes, message in (
                ({"outputs": {"colour": "red"}}, "for other outputs"),
                ({"outputs": 3}, "not readable"),
                ({"contract_version": "old"}, "trained for contract old"),
                ({"model": {"format": "onnx", "file": "model.onnx"}}, "it has no 'crc32'"),
            )
        ),
        ("binary", {"outputs": {"threshold": "high"}}, "for other outputs"),
        ("binary", {"outputs": {"threshold": 1.5}}, "1.5, expected 0 to 1"),
        ("quantiles", {"outputs": {"columns": 3}}, "for other outputs"),
        ("quantiles", {"outputs": {"columns": ["q2"]}}, r"expected \['mean'\], or rising"),
    ],
    indirect=["task"],
)
def test_metadata_of_another_model_are_refused_in_one_line(
    project: Project, folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    copy = shutil.copytree(folder, tmp_path / "models")
    metadata = json.loads((copy / "metadata.json").read_text(encoding="utf-8"))
    require_refused(project, copy, json.dumps(metadata | changes), message)


@pytest.mark.parametrize("checksum", [{}, {"model_crc32": 1}])
def test_metadata_of_0_1_0_are_read_and_their_checksum_is_required(
    project: Project, task: str, folder: Path, tmp_path: Path, checksum: dict[str, int]
) -> None:
    copy = shutil.copytree(folder, tmp_path / "models")
    metadata = json.dumps(handmade.metadata(project, task) | checksum)
    message = "does not match metadata.json" if checksum else "it has no 'model'"
    require_refused(project, copy, metadata, message)
    crc32 = artifact.read_metadata(folder)["model"]["crc32"]
    metadata = json.dumps(handmade.metadata(project, task) | {"model_crc32": crc32})
    (copy / "metadata.json").write_text(metadata, encoding="utf-8")
    assert Predictor(project, copy).outputs.width == 2


def test_an_unusable_model_is_refused_in_one_line(
    project: Project, task: str, tmp_path: Path
) -> None:
    whole = handmade.model(project, task)
    for damaged in (b"", b"not a model", whole[: len(whole) // 2]):
        artifact.write_model(tmp_path, damaged, handmade.metadata(project, task))
        with pytest.raises(ModelError, match=r"model\.onnx: not a model") as caught:
            Predictor(project, tmp_path)
        assert "\n" not in str(caught.value)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(ModelError, match="No such file"):
        Predictor(project, tmp_path)


def test_a_model_with_a_flipped_bit_is_refused(
    project: Project, folder: Path, tmp_path: Path
) -> None:
    damaged = shutil.copytree(folder, tmp_path / "models")
    whole = (damaged / "model.onnx").read_bytes()
    # In its first byte, in the name of an input, and in one that the runtime does not look at.
    for position in (0, whole.rindex(project.numeric[0].encode()), whole.index(b"by hand")):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        (damaged / "model.onnx").write_bytes(flipped)
        with pytest.raises(ModelError, match=r"model\.onnx: does not match metadata\.json"):
            Predictor(project, damaged)


@pytest.fixture
def write_changed(
    project: Project, task: str, tmp_path: Path
) -> Callable[[Callable[[Any], None]], Path]:
    """Write the model after a change of its graph, and return its folder."""

    def write(change: Callable[[Any], None]) -> Path:
        model = onnx.load_from_string(handmade.model(project, task))
        change(model.graph)
        metadata = handmade.metadata(project, task)
        artifact.write_model(tmp_path, model.SerializeToString(), metadata)
        return tmp_path

    return write


def test_a_model_of_other_features_is_refused(
    project: Project, write_changed: Callable[..., Path]
) -> None:
    unknown = helper.make_tensor_value_info("unknown", TensorProto.FLOAT, [None, 1])
    folder = write_changed(lambda graph: graph.input.append(unknown))
    with pytest.raises(MismatchError, match="lacks unknown of the model"):
        Predictor(project, folder)


def test_a_model_that_gives_something_else_is_refused(
    project: Project, write_changed: Callable[..., Path]
) -> None:
    def rename(graph: Any) -> None:
        graph.node[-1].output[0] = graph.output[0].name = "colours"

    message = f"the model gives colours, expected {project.task.output_name}"
    folder = write_changed(rename)
    with pytest.raises(MismatchError, match=message):
        Predictor(project, folder)


@pytest.mark.parametrize("task", OUTPUTS, indirect=True)
def test_a_model_of_another_width_is_refused(
    project: Project, predictor: Predictor, write_changed: Callable[..., Path]
) -> None:
    width = predictor.outputs.width

    def widen(graph: Any) -> None:
        graph.node[-1].input.append(graph.node[-1].input[0])
        graph.output[0].type.tensor_type.shape.dim[1].dim_value = width + 1

    folder = write_changed(widen)
    message = f"gives {width + 1} values for a record, expected {width}"
    with pytest.raises(MismatchError, match=message):
        Predictor(project, folder)


@pytest.mark.parametrize("task", OUTPUTS, indirect=True)
def test_a_model_that_gives_no_number_is_an_error(
    project: Project, task: str, tmp_path: Path, known: pl.DataFrame, predictor: Predictor
) -> None:
    scores = first(predictor.frame(known))
    middle = float(np.sort(scores)[known.height // 2])
    broken = Predictor(project, handmade.write(project, task, tmp_path, broken_above=middle))
    with pytest.raises(
        ModelError, match=rf"returned NaN or infinity for \d+ of {known.height} records"
    ):
        broken.frame(known)
    with pytest.raises(ModelError, match="NaN or infinity"):
        broken.records(known.to_dicts())
    assert np.isfinite(broken.frame(known.filter(scores <= middle))).all()
