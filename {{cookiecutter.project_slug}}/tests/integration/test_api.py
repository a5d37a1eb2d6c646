"""From ingested records to predictions: the API in process, and files, with a trained model."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
from ml_ready.jobs import predict
from ml_ready.jobs.folders import Paths
from ml_ready.serving.predictor import Predictor
from ml_ready.serving.server import create_app

from {{ cookiecutter.package_name }}.preprocessing.features import features
from {{ cookiecutter.package_name }}.project import PROJECT
from {{ cookiecutter.package_name }}.training import model as training

INPUTS = [column.name for column in PROJECT.inputs]
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
        transport = httpx.ASGITransport(create_app(Predictor(PROJECT, where.models)))
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
        answered: list[dict[str, Any]] = response.json()["predictions"]
        return answered
    if content_type == "application/jsonlines":
        return [json.loads(line) for line in response.text.splitlines()]
    return pl.read_csv(io.BytesIO(response.content)).to_dicts()


@pytest.mark.parametrize("content_type", TYPES)
def test_a_record_sent_is_scored_as_the_trained_model_scores_its_features(
    where: Paths, config: Any, model: Any, sample: pl.DataFrame, content_type: str
) -> None:
    scores = training.predict(model, features(sample.lazy()).collect())
    expected = Predictor(PROJECT, where.models).outputs.predictions(scores.tolist())
    tolerance = config.evaluation.parity_tolerance
    answered = answers(post(where, body(sample, content_type), content_type))
    assert answered == [pytest.approx(each, abs=tolerance) for each in expected]


def test_a_file_is_scored_as_requests_are(
    where: Paths, sample: pl.DataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sample.write_parquet(tmp_path / "records.parquet")
    with caplog.at_level("INFO"):
        predict.main(
            PROJECT, where, [str(tmp_path / "records.parquet"), str(tmp_path / "scored.csv")]
        )
    assert caplog.messages == [f"{sample.height} rows written to {tmp_path / 'scored.csv'}"]
    asked = answers(post(where, body(sample, TYPES[0]), TYPES[0]))
    scored = pl.read_csv(tmp_path / "scored.csv").select(asked[0].keys()).to_dicts()
    assert scored == [pytest.approx(each, rel=1e-6, abs=1e-6) for each in asked]


def test_a_broken_record_among_good_ones_is_named(where: Paths, sample: pl.DataFrame) -> None:
    rows = sample.select(INPUTS).to_dicts()
    rows[7] |= {INPUTS[0]: ["no such value"]}
    response = post(where, msgspec.json.encode({"instances": rows}), TYPES[0])
    assert response.status_code == 422
    (answered,) = response.json()["violations"]
    assert (answered["record"], answered["field"]) == (7, INPUTS[0])
