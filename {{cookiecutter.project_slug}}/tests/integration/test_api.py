"""From ingested records to predictions: the API in process, and files, with a trained model."""

import asyncio
import io
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
import uvicorn

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.entrypoints import predict, serve
from {{ cookiecutter.package_name }}.entrypoints.configure import Configuration
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths
from {{ cookiecutter.package_name }}.errors import ContractError
from {{ cookiecutter.package_name }}.inference import server
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.inference.server import create_app
from {{ cookiecutter.package_name }}.preprocessing.features import features
from {{ cookiecutter.package_name }}.schema import COLUMNS
from {{ cookiecutter.package_name }}.training import model as training

INPUTS = [column.name for column in contract.inputs(COLUMNS)]
TYPES = ("application/json", "application/jsonlines", "text/csv")


@pytest.fixture(scope="module")
def where(folder: Path) -> Paths:
    """A repository that holds the exported model."""
    return Paths(folder.parent)


@pytest.fixture(scope="module")
def sample(records: pl.DataFrame) -> pl.DataFrame:
    """Real records from all over the sample."""
    return records.sample(min(1500, records.height), seed=0)


def post(where: Paths, content: bytes, content_type: str) -> httpx.Response:
    """Ask the application for predictions."""

    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(Predictor(where.models)))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            headers = {"content-type": content_type}
            return await client.post("/invocations", content=content, headers=headers)

    return asyncio.run(sent())


def body(table: pl.DataFrame, content_type: str) -> bytes:
    """Write records as a request."""
    rows = table.select(INPUTS).to_dicts()
    if content_type == "application/json":
        return msgspec.json.encode({"instances": rows})
    if content_type == "application/jsonlines":
        return msgspec.json.Encoder().encode_lines(rows)
    return table.select(INPUTS[::-1]).write_csv(line_terminator="\r\n").encode()


def answers(response: httpx.Response) -> list[dict[str, Any]]:
    """Read predictions, whatever their form."""
    assert response.status_code == 200, response.text
    content_type = response.headers["content-type"]
    if content_type == "application/json":
        found: list[dict[str, Any]] = response.json()["predictions"]
        return found
    if content_type == "application/jsonlines":
        return [json.loads(line) for line in response.text.splitlines()]
    return pl.read_csv(io.BytesIO(response.content)).to_dicts()


@pytest.mark.parametrize("content_type", TYPES)
def test_a_record_sent_is_scored_as_the_trained_model_scores_its_features(
    where: Paths, config: Configuration, model: Any, sample: pl.DataFrame, content_type: str
) -> None:
    scores = training.predict(model, features(sample.lazy()).collect())
    expected = Predictor(where.models).outputs.predictions(scores.tolist())
    tolerance = config.evaluation.parity_tolerance
    found = answers(post(where, body(sample, content_type), content_type))
    assert found == [pytest.approx(each, abs=tolerance) for each in expected]


def test_the_three_forms_give_the_same_answers(where: Paths, sample: pl.DataFrame) -> None:
    found = [answers(post(where, body(sample, each), each)) for each in TYPES]
    assert found[0] == found[1] == found[2]


def test_a_file_is_scored_as_requests_are(
    where: Paths, sample: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample.write_parquet(tmp_path / "records.parquet")
    with caplog.at_level("INFO"):
        predict.main(where, [str(tmp_path / "records.parquet"), str(tmp_path / "scored.csv")])
    assert caplog.messages == [f"{sample.height} rows written to {tmp_path / 'scored.csv'}"]
    asked = answers(post(where, body(sample, TYPES[0]), TYPES[0]))
    scored = pl.read_csv(tmp_path / "scored.csv").select(asked[0].keys()).to_dicts()
    assert scored == [pytest.approx(each, rel=1e-6, abs=1e-6) for each in asked]


def test_rows_that_break_the_contract_stop_a_file_or_are_skipped_aloud(
    where: Paths, sample: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    required = next(column for column in contract.inputs(COLUMNS) if not column.nullable)
    empty = pl.lit(None, required.polars_type).alias(required.name)
    pl.concat([sample, sample.head(2).with_columns(empty)]).write_parquet(tmp_path / "in.parquet")
    arguments = [str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet")]
    rule = f"{required.name} {required.rule}: 2 rows"
    with pytest.raises(ContractError) as caught:
        predict.main(where, arguments)
    assert rule in str(caught.value)
    predict.main(where, [*arguments, "--skip-invalid"])
    assert f"{rule} without a prediction" in caplog.messages
    scored = pl.read_parquet(tmp_path / "out.parquet")
    for name in Predictor(where.models).outputs.columns:
        assert scored[name].null_count() == 2


def test_what_sagemaker_mounts_is_served_to_the_outside_on_the_port_it_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda *given: served.extend(given))
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    monkeypatch.setenv("SAGEMAKER_BIND_TO_PORT", "8081")
    (tmp_path / "model").mkdir()
    serve.main(Paths(tmp_path), [])
    assert served == [tmp_path / "model", "0.0.0.0", 8081]  # noqa: S104


def test_the_description_is_that_of_the_contract(where: Paths) -> None:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(Predictor(where.models)))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.get("/openapi.json")

    schemas = asyncio.run(asked()).json()["components"]["schemas"]
    assert list(schemas["Record"]["properties"]) == INPUTS
    needed = [column.name for column in contract.inputs(COLUMNS) if not column.nullable]
    assert schemas["Record"]["required"] == needed
    for column in contract.inputs(COLUMNS):
        if column.maximum is not None and not column.nullable:
            found = schemas["Record"]["properties"][column.name]
            assert (found["minimum"], found["maximum"]) == column.limits


def test_a_connection_on_which_no_whole_head_comes_is_closed(
    where: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 0.1)
    request = b"GET /ping HTTP/1.1\r\nhost: server\r\n\r\n"

    async def asked(*parts: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        for part in parts:
            writer.write(part)
            if part == request:
                await reader.readuntil(b'"ok"}')
        writers.append(writer)
        return reader

    async def served() -> list[bool]:
        serving = asyncio.create_task(running.serve(sockets=[listener]))
        while not running.started:
            await asyncio.sleep(0.01)
        waiting = [await asked(), await asked(request[:9]), await asked(request, request[:9])]
        waiting += [await asked(request)]
        for _ in range(2):
            await asyncio.sleep(0.2)
            await running.on_tick(0)
        await asyncio.sleep(0.2)
        closed = [reader.at_eof() for reader in waiting]
        running.should_exit = True
        await serving
        return closed

    writers: list[asyncio.StreamWriter] = []
    config = uvicorn.Config(
        create_app(Predictor(where.models)), http="httptools", lifespan="off", log_config=None
    )
    running = server.DrainingServer(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # One that was answered may stay silent for as long as `timeout_keep_alive`.
        assert asyncio.run(served()) == [True, True, True, False]


def test_a_broken_record_among_good_ones_is_named(where: Paths, sample: pl.DataFrame) -> None:
    rows = sample.select(INPUTS).to_dicts()
    rows[7] |= {INPUTS[0]: ["no such value"]}
    response = post(where, msgspec.json.encode({"instances": rows}), TYPES[0])
    assert response.status_code == 422
    (found,) = response.json()["violations"]
    assert (found["record"], found["field"]) == (7, INPUTS[0])
