"""The inference package with a model made by hand: bad folders, bad data, and edge cases."""

import asyncio
import json
import logging
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import onnx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from starlette.types import ASGIApp

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.errors import (
    ContractError,
    MismatchError,
    ModelError,
    ProjectError,
)
from {{ cookiecutter.package_name }}.inference import batch, server
from {{ cookiecutter.package_name }}.inference.batch import score_file
from {{ cookiecutter.package_name }}.inference.formats import read_json
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.prediction import Outputs
from {{ cookiecutter.package_name }}.preprocessing.features import CATEGORICAL, NUMERIC
from {{ cookiecutter.package_name }}.schema import COLUMNS

COLUMN = next(column for column in contract.inputs(COLUMNS) if column.dtype != "String")
INPUTS = [column.name for column in contract.inputs(COLUMNS)]
{%- if cookiecutter.task == 'classification' %}
OUTPUTS: dict[str, Any] = {"threshold": 0.5}
{%- else %}
OUTPUTS: dict[str, Any] = {"columns": ["q0.5", "q0.9"]}
{%- endif %}
METADATA: dict[str, Any] = {"contract_version": contract.version(COLUMNS), "outputs": OUTPUTS}
ANSWERED = Outputs(**OUTPUTS).columns[0]
JSON = {"content-type": "application/json"}


def first(scores: np.ndarray) -> np.ndarray:
    """The first score of each row."""
    return np.asarray(scores.reshape(len(scores), -1)[:, 0])


def write_model(folder: Path, *, broken_above: float = np.inf) -> Path:
    """Write a model: a weighted sum squeezed between 0 and 1, and not a number above a limit."""
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in NUMERIC]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1]) for name in CATEGORICAL
    ]
    weights = np.random.default_rng(0).uniform(-1, 1, (len(NUMERIC), 1)).astype(np.float32)
    constants = {
        "zero": np.zeros(1, np.float32),
        "half": np.full(1, 0.5, np.float32),
        "one": np.ones(1, np.float32),
        "lowest": np.array(-1e6, np.float32),
        "highest": np.array(1e6, np.float32),
        "limit": np.full(1, broken_above, np.float32),
        "nan": np.full(1, np.nan, np.float32),
        "weights": weights,
    }
    nodes = [
        helper.make_node("Concat", list(NUMERIC), ["numbers"], axis=1),
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "numbers"], ["filled"]),
        helper.make_node("Clip", ["filled", "lowest", "highest"], ["clipped"]),
        helper.make_node("MatMul", ["clipped", "weights"], ["sum"]),
        helper.make_node("Softsign", ["sum"], ["squeezed"]),
        helper.make_node("Mul", ["squeezed", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "half"], ["score"]),
        helper.make_node("Greater", ["score", "limit"], ["above"]),
{%- if cookiecutter.task == 'classification' %}
        helper.make_node("Where", ["above", "nan", "score"], ["positive"]),
        helper.make_node("Sub", ["one", "positive"], ["negative"]),
        helper.make_node("Concat", ["negative", "positive"], [Outputs.tensor], axis=1),
{%- else %}
        helper.make_node("Where", ["above", "nan", "score"], ["median"]),
        helper.make_node("Add", ["median", "one"], ["upper"]),
        helper.make_node("Concat", ["median", "upper"], [Outputs.tensor], axis=1),
{%- endif %}
    ]
    outputs = [helper.make_tensor_value_info(Outputs.tensor, TensorProto.FLOAT, [None, 2])]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by hand", inputs, outputs, stored)
    opset = helper.make_opsetid("", 21)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "model.onnx")
    (folder / "metadata.json").write_text(json.dumps(METADATA), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def predictor(folder: Path) -> Predictor:
    """A loaded model."""
    return Predictor(folder)


@pytest.fixture(scope="session")
def known(records: pl.DataFrame) -> pl.DataFrame:
    """Real records, as known when a prediction is asked for."""
    return records.select(INPUTS).head(300)


@pytest.fixture(scope="session")
def rows(known: pl.DataFrame) -> list[dict[str, Any]]:
    """The same records, as JSON has them."""
    parsed: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(known.to_dicts()))
    return parsed


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
    schema = {column.name: column.polars_type for column in contract.inputs(COLUMNS)}
    table = pl.DataFrame(drawn, schema=schema)
    assert predictor.records(drawn).tobytes() == predictor.frame(table).tobytes()


def test_scores_are_the_models(predictor: Predictor, known: pl.DataFrame) -> None:
    scores = first(predictor.frame(known))
    assert scores.shape == (known.height,)
    assert len(np.unique(scores)) > known.height / 3
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "No such file"),
        ("{", "not readable"),
        ("[]", "not readable"),
        ("{}", "contract_version"),
        (json.dumps(METADATA | {"outputs": {"colour": "red"}}), "for other outputs"),
        (json.dumps(METADATA | {"outputs": 3}), "not readable"),
{%- if cookiecutter.task == 'classification' %}
        (json.dumps(METADATA | {"outputs": {"threshold": "high"}}), "for other outputs"),
        (json.dumps(METADATA | {"outputs": {"threshold": 1.5}}), "1.5, expected 0 to 1"),
{%- else %}
        (json.dumps(METADATA | {"outputs": {"columns": 3}}), "for other outputs"),
        (json.dumps(METADATA | {"outputs": {"columns": ["q2"]}}), "expected mean, or q0.5"),
{%- endif %}
        (json.dumps(METADATA | {"contract_version": "old"}), "trained for contract old"),
    ],
)
def test_unusable_metadata_is_refused_in_one_line(
    tmp_path: Path, metadata: str | None, message: str
) -> None:
    write_model(tmp_path)
    path = tmp_path / "metadata.json"
    path.unlink() if metadata is None else path.write_text(metadata, encoding="utf-8")
    with pytest.raises(ModelError, match=message) as caught:
        Predictor(tmp_path)
    assert "\n" not in str(caught.value)
    assert "poe pipeline" in str(caught.value)


def test_an_unusable_model_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.onnx"
    whole = path.read_bytes()
    for damaged in (b"", b"not a model", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"model\.onnx: not a model") as caught:
            Predictor(tmp_path)
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(ModelError, match="No such file"):
        Predictor(tmp_path)


def test_a_model_with_a_flipped_bit_is_refused(folder: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(folder, tmp_path / "models")
    whole = (damaged / "model.onnx").read_bytes()
    metadata = json.loads((damaged / "metadata.json").read_text(encoding="utf-8"))
    text = json.dumps(metadata | {"model_crc32": zlib.crc32(whole)})
    (damaged / "metadata.json").write_text(text, encoding="utf-8")
    # In its first byte, in the name of an input, and in one that the runtime does not look at.
    for position in (0, whole.rindex(NUMERIC[0].encode()), whole.index(b"by hand")):
        found = bytearray(whole)
        found[position] ^= 1
        (damaged / "model.onnx").write_bytes(found)
        with pytest.raises(ModelError, match=r"model\.onnx: not the model that"):
            Predictor(damaged)


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.onnx"
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("unknown", TensorProto.FLOAT, [None, 1]))
    onnx.save(model, path)
    with pytest.raises(MismatchError, match="differ in unknown"):
        Predictor(tmp_path)


def test_a_model_that_gives_something_else_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.onnx"
    model = onnx.load(path)
    model.graph.node[-1].output[0] = model.graph.output[0].name = "colours"
    onnx.save(model, path)
    with pytest.raises(MismatchError, match=f"the model gives colours, expected {Outputs.tensor}"):
        Predictor(tmp_path)


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path) / "model.onnx"
    model = onnx.load(path)
    model.graph.node[-1].input.append(model.graph.node[-1].input[0])
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.save(model, path)
    with pytest.raises(MismatchError, match="gives 3 values for a record, expected 2"):
        Predictor(tmp_path)


def test_a_model_that_gives_no_number_is_an_error(
    tmp_path: Path, known: pl.DataFrame, predictor: Predictor
) -> None:
    middle = float(np.sort(first(predictor.frame(known)))[known.height // 2])
    broken = Predictor(write_model(tmp_path, broken_above=middle))
    with pytest.raises(ModelError, match=rf"no number for \d+ of {known.height} records"):
        broken.frame(known)
    with pytest.raises(ModelError, match="no number"):
        broken.records(known.to_dicts())
    below = known.filter(first(predictor.frame(known)) <= middle)
    assert np.isfinite(broken.frame(below)).all()


def test_serving_imports_nothing_of_training(folder: Path, known: pl.DataFrame) -> None:
    source = folder / "records.parquet"
    known.head(3).write_parquet(source)
    script = """
import importlib, sys
from pathlib import Path
import polars
server = importlib.import_module(sys.argv[1])
predictor = server.Predictor(Path(sys.argv[2]))
server.create_app(predictor)
predictor.records(polars.read_parquet(sys.argv[3]).to_dicts())
print(*sys.modules)
"""
    command = [sys.executable, "-c", script, server.__name__, str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "onnxruntime" in modules
    assert not modules & {"sklearn", "mlflow", "pandera", "pydantic", "hydra", "skl2onnx", "scipy"}
    assert not [name for name in modules if name.startswith(f"{contract.__package__}.training")]


def test_serving_leaves_nothing_in_the_home_of_its_user(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if "TELEMETRY" not in name}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    script = f"import {server.__name__}"
    subprocess.run([sys.executable, "-B", "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def ask(app: ASGIApp, method: str, path: str, **keywords: Any) -> httpx.Response:
    """Send one request to the application, without a socket."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(method, path, **keywords)

    return asyncio.run(sent())


def invoke(app: ASGIApp, content: Any, content_type: str = "application/json") -> httpx.Response:
    """Ask for predictions."""
    headers = {"content-type": content_type}
    return ask(app, "POST", "/invocations", content=content, headers=headers)


def instances(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Write a JSON request."""
    return msgspec.json.encode({"instances": rows})


def answers(response: httpx.Response) -> list[Any]:
    """Read a JSON answer."""
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["predictions"]
    return found


def predicted(predictor: Predictor, known: pl.DataFrame) -> list[Any]:
    """The answers to records, by the batch path."""
    found: list[Any] = predictor.outputs.predictions(predictor.frame(known).tolist())
    return found


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Read an error answer, and hold it to the one form that there is."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    assert set(found) == {"error", "violations"}
    return found


@pytest.fixture
def app(predictor: Predictor) -> ASGIApp:
    """The application."""
    return server.create_app(predictor)


def test_ping_answers_when_the_model_is_loaded(app: ASGIApp) -> None:
    assert ask(app, "GET", "/ping").status_code == 200


def test_each_record_gets_a_prediction(
    app: ASGIApp, rows: list[dict[str, Any]], known: pl.DataFrame, predictor: Predictor
) -> None:
    assert answers(invoke(app, instances(rows))) == predicted(predictor, known)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/ping/", 404),
        ("POST", "/ping", 405),
        ("GET", "/invocations", 405),
    ],
)
def test_other_paths_and_methods_are_refused(
    app: ASGIApp, method: str, path: str, status: int
) -> None:
    problem(ask(app, method, path), status)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        JSON | {"content-encoding": "gzip"},
    ],
)
def test_other_content_types_are_refused_with_those_accepted(
    app: ASGIApp, headers: dict[str, str], rows: list[dict[str, Any]]
) -> None:
    answer = ask(app, "POST", "/invocations", content=instances(rows[:1]), headers=headers)
    assert "application/json, application/jsonlines" in problem(answer, 415)["error"]


@pytest.mark.parametrize(
    "content_type",
    [
        "Application/JSON",
        "application/json;charset=UTF-8",
        'application/json; charset="utf-8"; a=b',
    ],
)
def test_parameters_of_the_content_type_are_fine(
    app: ASGIApp, content_type: str, rows: list[dict[str, Any]]
) -> None:
    assert len(answers(invoke(app, instances(rows), content_type))) == len(rows)


def test_a_body_that_says_it_is_too_large_is_not_read(app: ASGIApp) -> None:
    headers = JSON | {"content-length": str(server.BODY_LIMIT + 1)}
    answer = ask(app, "POST", "/invocations", content=b"{", headers=headers)
    assert str(server.BODY_LIMIT) in problem(answer, 413)["error"]


def test_a_body_that_grows_too_large_is_not_read_on(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    monkeypatch.setattr(server, "BODY_LIMIT", 10_000)
    problem(invoke(app, endless()), 413)
    assert sent == 11_000


async def respond(
    app: ASGIApp, receive: Callable[[], Coroutine[Any, Any, dict[str, Any]]]
) -> list[Any]:
    """Run the application against a hand-made client, and return what it sent."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/invocations",
        "headers": [(b"content-type", b"application/json")],
    }
    await app(scope, receive, send)
    return sent


def test_a_client_that_leaves_is_not_answered(app: ASGIApp) -> None:
    async def left() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    assert asyncio.run(respond(app, left)) == []


def test_a_client_that_stops_sending_is_told_so(
    app: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stalled() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(server, "BODY_SECONDS", 0.01)
    start, body = asyncio.run(respond(app, stalled))
    assert start["status"] == 408
    assert "did not arrive" in json.loads(body["body"])["error"]


def test_concurrent_clients_get_their_own_answers_from_few_batches(
    app: ASGIApp,
    rows: list[dict[str, Any]],
    known: pl.DataFrame,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score, batches = Predictor.records, []

    def counted(self: Predictor, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        batches.append(len(rows))
        return score(self, rows)

    monkeypatch.setattr(Predictor, "records", counted)
    parts = [slice(start, start + 1 + start % 4) for start in range(0, len(rows) - 4, 3)]

    async def sent() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            posts = (
                client.post("/invocations", content=instances(rows[part]), headers=JSON)
                for part in parts
            )
            return await asyncio.gather(*posts)

    responses = asyncio.run(sent())
    expected = predicted(predictor, known)
    assert [answers(response) for response in responses] == [expected[part] for part in parts]
    assert sum(batches) == sum(len(expected[part]) for part in parts)
    assert len(batches) < len(parts) / 2


def test_many_records_are_scored_in_pieces_and_in_order(
    app: ASGIApp,
    rows: list[dict[str, Any]],
    known: pl.DataFrame,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "BATCH", 7)
    monkeypatch.setattr(server, "LARGE_BODY", 1000)
    expected = predicted(predictor, known)

    async def sent() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            posts = (
                client.post("/invocations", content=instances(part), headers=JSON)
                for part in (rows, rows[::-1], rows[:1])
            )
            return await asyncio.gather(*posts)

    whole, backwards, one = asyncio.run(sent())
    assert answers(whole) == expected
    assert answers(backwards) == expected[::-1]
    assert answers(one) == expected[:1]


def test_a_record_without_a_finite_score_spoils_no_other_answer(
    tmp_path: Path, rows: list[dict[str, Any]], known: pl.DataFrame, predictor: Predictor
) -> None:
    expected = predicted(predictor, known)
    scores = first(predictor.frame(known))
    middle = float(np.sort(scores)[known.height // 2])
    app = server.create_app(Predictor(write_model(tmp_path, broken_above=middle)))

    async def sent() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            posts = (
                client.post("/invocations", content=instances([row]), headers=JSON) for row in rows
            )
            return await asyncio.gather(*posts)

    for answer, score, prediction in zip(asyncio.run(sent()), scores, expected, strict=True):
        if score > middle:
            assert "could not score" in problem(answer, 500)["error"]
        else:
            assert answers(answer) == [prediction]


def test_a_client_that_gives_up_leaves_the_batch_whole(
    predictor: Predictor, rows: list[dict[str, Any]]
) -> None:
    endpoint = server.Invocations(predictor)
    records = read_json(instances(rows[:2]))[0]

    async def scored() -> list[Any]:
        given_up, kept = endpoint._queued(records[:1]), endpoint._queued(records[1:])
        given_up.cancel()
        return await kept

    assert len(asyncio.run(scored())) == 1


def test_refusals_are_logged_in_one_line_without_values(
    app: ASGIApp, rows: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = invoke(app, instances([rows[0] | {COLUMN.name: "ada@example.com"}]))
    assert problem(answer, 422)["violations"] == [
        {"record": 0, "field": COLUMN.name, "value": "ada@example.com", "rule": COLUMN.rule}
    ]
    (message,) = caplog.messages
    assert message == f"422 1 of 1 records break the contract; {COLUMN.name} {COLUMN.rule}: 1"


def test_a_failure_of_our_own_is_logged_in_one_line(
    app: ASGIApp,
    rows: list[dict[str, Any]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: Any) -> np.ndarray:
        raise ValueError("ada@example.com")

    monkeypatch.setattr(Predictor, "records", failing)
    problem(invoke(app, instances(rows[:1])), 500)
    (message,) = caplog.messages
    assert message.startswith("500 ValueError (failing:")


@pytest.fixture
def source(known: pl.DataFrame, tmp_path: Path) -> Path:
    """A file of records with a column of its own."""
    path = tmp_path / "records.parquet"
    known.with_columns(key=pl.format("k{}", pl.int_range(pl.len()))).write_parquet(path)
    return path


READ: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
}
WRITE: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    ".parquet": pl.DataFrame.write_parquet,
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
}


@pytest.mark.parametrize("read", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("written", [".parquet", ".csv", ".jsonl"])
def test_a_file_is_scored_row_by_row_whatever_its_kind(
    source: Path,
    read: str,
    written: str,
    known: pl.DataFrame,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "CHUNK", 100)
    table = pl.read_parquet(source)
    records, output = source.with_suffix(read), source.with_name(f"out{written}")
    WRITE[read](table, records)
    assert score_file(predictor, records, output) == batch.Summary(rows=known.height)
    scored = READ[written](output)
    assert scored["key"].to_list() == table["key"].to_list()
    assert scored.select(predictor.outputs.columns).to_dicts() == predicted(predictor, known)
    assert sorted(path.name for path in source.parent.iterdir()) == sorted(
        {source.name, records.name, output.name}
    )


def broken(source: Path) -> Path:
    """Make the records of a file break a rule in its second row."""
    name = next(column.name for column in contract.inputs(COLUMNS) if not column.nullable)
    missing = pl.when(pl.int_range(pl.len()) != 1).then(name).alias(name)
    pl.read_parquet(source).with_columns(missing).write_parquet(source)
    return source


def test_a_file_that_breaks_the_contract_is_refused_with_counts(
    source: Path, predictor: Predictor
) -> None:
    output = source.with_name("out.csv")
    output.write_text("before", encoding="utf-8")
    with pytest.raises(ContractError, match=r": 1 rows\. Mend these rows") as caught:
        score_file(predictor, broken(source), output)
    assert "\n" not in str(caught.value)
    assert output.read_text(encoding="utf-8") == "before"
    assert len(list(source.parent.iterdir())) == 2


def test_invalid_rows_can_be_left_without_a_prediction(source: Path, predictor: Predictor) -> None:
    output = source.with_name("out.parquet")
    summary = score_file(predictor, broken(source), output, skip_invalid=True)
    assert summary.rows == pl.read_parquet(source).height
    (rule,) = summary.broken
    scored = pl.read_parquet(output)
    assert scored.filter(pl.col("reason").is_not_null())["key"].to_list() == ["k1"]
    assert scored["reason"][1] == rule
    for name in predictor.outputs.columns:
        assert scored[name].null_count() == 1


@pytest.mark.parametrize(
    ("read", "content", "written", "message"),
    [
        ("none.parquet", None, "out.csv", "No such file"),
        ("bad.parquet", b"x", "out.csv", "cannot be scored into"),
        ("bad.csv", b"", "out.csv", "empty"),
        ("bad.csv", INPUTS[0].encode() + b"\n", "out.csv", "has no rows"),
        ("bad.csv", b"colour\nred\n", "out.csv", "Columns missing"),
        ("bad.csv", ANSWERED.encode() + b"\n1\n", "out.csv", "has a column .* already"),
        ("bad.jsonl", b"{\n", "out.csv", "cannot be scored into"),
        ("bad.txt", b"", "out.csv", "expected .parquet, .csv, .jsonl"),
        ("bad.csv", b"", "out.xlsx", "expected .parquet, .csv, .jsonl"),
        ("bad.csv", b"", "bad.csv", "is the input itself"),
        ("records.parquet", None, "nowhere/out.csv", "nowhere is no folder"),
    ],
)
def test_a_file_that_cannot_be_scored_ends_in_one_line(
    source: Path,
    predictor: Predictor,
    read: str,
    content: bytes | None,
    written: str,
    message: str,
) -> None:
    folder = source.parent
    if content is not None:
        (folder / read).write_bytes(content)
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(ProjectError, match=message) as caught:
        score_file(predictor, folder / read, folder / written)
    assert "\n" not in str(caught.value)
    assert {path.name for path in folder.iterdir()} == before
