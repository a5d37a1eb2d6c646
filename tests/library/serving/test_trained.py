"""From records to predictions with a trained model, in process; and the description of the API."""

import asyncio
import io
import json
import socket
from pathlib import Path
from typing import Any

import handmade
import httpx
import msgspec
import polars as pl
import pytest
import uvicorn
import yaml
from in_process import ask, invoke
from ml_ready import artifact, contract
from ml_ready.errors import ContractError
from ml_ready.project import Project
from ml_ready.serving import server
from ml_ready.serving.batch import Summary, score_file
from ml_ready.serving.predictor import Predictor, load, score
from ml_ready.serving.server import create_app
from synthetic import COLUMNS, EVALUATION, TARGET, TASKS

INPUTS = [column.name for column in contract.inputs(COLUMNS)]
TYPES = ("application/json", "application/jsonlines", "text/csv")
EACH_TASK = pytest.mark.parametrize("task", TASKS, indirect=True)


@pytest.fixture(scope="session")
def sample(project: Project) -> pl.DataFrame:
    """Records from all over the year."""
    return handmade.records(project)


@pytest.fixture(scope="session")
def model(project: Project, sample: pl.DataFrame) -> Any:
    """A trained model."""
    train = project.add_target(project.features(sample.lazy())).collect()
    conf = (project.root / "conf" / "model" / "trees.yaml").read_text(encoding="utf-8")
    hyperparameters = project.training.Hyperparameters(**yaml.safe_load(conf))
    return project.training.fit(train, train, hyperparameters, 7)


@pytest.fixture(scope="session")
def exported(project: Project, model: Any) -> bytes:
    """The same model, as it is served."""
    return project.task.to_onnx(model, project.numeric, project.categorical)


@pytest.fixture(scope="session")
def trained(
    project: Project,
    sample: pl.DataFrame,
    model: Any,
    exported: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Predictor:
    """A predictor with the exported model."""
    frame = project.add_target(project.features(sample.lazy())).collect()
    scores = project.training.predict(model, frame)
    outputs = project.task.derive_outputs(model, frame[TARGET].to_numpy(), scores)
    folder = tmp_path_factory.mktemp("models")
    described = {
        "contract_version": project.contract_version,
        "outputs": project.task.describe(outputs),
    }
    artifact.write_model(folder, exported, described)
    return Predictor(project, folder)


def post(predictor: Predictor, content: bytes, content_type: str) -> httpx.Response:
    """Ask the application for predictions."""
    return invoke(create_app(predictor), content, content_type)


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
        predictions: list[dict[str, Any]] = response.json()["predictions"]
        return predictions
    if content_type == "application/jsonlines":
        return [json.loads(line) for line in response.text.splitlines()]
    return pl.read_csv(io.BytesIO(response.content)).to_dicts()


@EACH_TASK
@pytest.mark.parametrize("content_type", TYPES)
def test_a_record_sent_is_scored_as_the_trained_model_scores_its_features(
    project: Project,
    task: str,
    trained: Predictor,
    model: Any,
    sample: pl.DataFrame,
    content_type: str,
) -> None:
    scores = project.training.predict(model, project.features(sample.lazy()).collect())
    expected = trained.outputs.predictions(scores.tolist())
    tolerance = EVALUATION[task]["parity_tolerance"]
    got = answers(post(trained, body(sample, content_type), content_type))
    assert got == [pytest.approx(each, abs=tolerance) for each in expected]


@EACH_TASK
def test_an_exported_model_scores_a_table_that_has_the_features(
    project: Project, trained: Predictor, exported: bytes, sample: pl.DataFrame
) -> None:
    table = project.features(sample.lazy()).collect()
    scores = score(project, load(project, exported), table)
    assert scores.tobytes() == trained.score(table).tobytes()
    assert scores.tobytes() == trained.frame(sample).tobytes()


@EACH_TASK
def test_the_three_forms_give_the_same_answers(trained: Predictor, sample: pl.DataFrame) -> None:
    got = [answers(post(trained, body(sample, each), each)) for each in TYPES]
    assert got[0] == got[1] == got[2]


@EACH_TASK
def test_a_file_is_scored_as_requests_are(
    trained: Predictor, sample: pl.DataFrame, tmp_path: Path
) -> None:
    sample.write_parquet(tmp_path / "records.parquet")
    summary = score_file(trained, tmp_path / "records.parquet", tmp_path / "scored.csv")
    assert summary == Summary(rows=sample.height)
    asked = answers(post(trained, body(sample, TYPES[0]), TYPES[0]))
    scored = pl.read_csv(tmp_path / "scored.csv").select(asked[0].keys()).to_dicts()
    assert scored == [pytest.approx(each, rel=1e-6, abs=1e-6) for each in asked]


def test_rows_that_break_the_contract_stop_a_file_or_are_skipped_aloud(
    trained: Predictor, sample: pl.DataFrame, tmp_path: Path
) -> None:
    required = next(column for column in COLUMNS if not column.nullable)
    empty = pl.lit(None, required.polars_type).alias(required.name)
    source, output = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pl.concat([sample, sample.head(2).with_columns(empty)]).write_parquet(source)
    with pytest.raises(ContractError) as caught:
        score_file(trained, source, output)
    assert f"{required.named_rule}: 2 rows" in str(caught.value)
    summary = score_file(trained, source, output, skip_invalid=True)
    assert summary.broken == {required.named_rule: 2}
    scored = pl.read_parquet(output)
    for name in trained.outputs.columns:
        assert scored[name].null_count() == 2


@EACH_TASK
def test_the_description_is_that_of_the_contract_and_of_the_task(
    predictor: Predictor, known: pl.DataFrame
) -> None:
    described = ask(create_app(predictor), "GET", "/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert list(schemas["Record"]["properties"]) == INPUTS
    needed = [column.name for column in contract.inputs(COLUMNS) if not column.nullable]
    assert schemas["Record"]["required"] == needed
    for column in contract.inputs(COLUMNS):
        if column.maximum is not None and not column.nullable:
            field = schemas["Record"]["properties"][column.name]
            assert (field["minimum"], field["maximum"]) == column.limits
    answer = schemas["Predictions"]["properties"]["predictions"]["items"]
    if "$ref" in answer:
        answer = schemas[answer["$ref"].rpartition("/")[2]]
    (first,) = predictor.outputs.predictions(predictor.frame(known.head(1)).tolist())
    properties = answer.get("properties") or dict.fromkeys(first, answer["additionalProperties"])
    assert {name: field["type"] for name, field in properties.items()} == {
        name: "integer" if isinstance(value, int) else "number" for name, value in first.items()
    }


def test_a_connection_on_which_no_whole_head_comes_is_closed(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
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
        create_app(predictor), http="httptools", lifespan="off", log_config=None
    )
    running = server.DrainingServer(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # One that was answered may stay silent for as long as `timeout_keep_alive`.
        assert asyncio.run(served()) == [True, True, True, False]


def test_a_broken_record_among_good_ones_is_named(trained: Predictor, sample: pl.DataFrame) -> None:
    rows = sample.select(INPUTS).to_dicts()
    rows[7] |= {INPUTS[0]: ["no such value"]}
    response = post(trained, msgspec.json.encode({"instances": rows}), TYPES[0])
    assert response.status_code == 422
    (violation,) = response.json()["violations"]
    assert (violation["record"], violation["field"]) == (7, INPUTS[0])


@EACH_TASK
@pytest.mark.parametrize("limit", [1, 6 * 2**20], ids=["SingleRecord", "MultiRecord"])
@pytest.mark.parametrize("kind", ["application/jsonlines", "text/csv"])
def test_a_batch_transform_splits_a_file_into_lines_and_puts_the_answers_together(
    predictor: Predictor, known: pl.DataFrame, kind: str, limit: int
) -> None:
    app = create_app(predictor)
    expected = predictor.outputs.predictions(predictor.frame(known).tolist())
    is_csv = kind == "text/csv"
    text = known.write_csv(include_header=False) if is_csv else known.write_ndjson()
    batches: list[list[str]] = [[]]
    for line in text.splitlines():
        if batches[-1] and len("\n".join([*batches[-1], line]).encode()) > limit:
            batches.append([])
        batches[-1].append(line)
    together: list[str] = []
    for batch in batches:
        answer = invoke(app, "\n".join(batch), kind).raise_for_status()
        together += answer.text.splitlines()
    if is_csv:
        lines = io.StringIO("\n".join(together))
        columns = [*predictor.outputs.columns]
        got = pl.read_csv(lines, has_header=False, new_columns=columns).to_dicts()
    else:
        got = [json.loads(line) for line in together]
    assert got == [pytest.approx(each, rel=1e-6, abs=1e-6) for each in expected]
