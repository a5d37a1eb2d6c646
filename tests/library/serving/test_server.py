"""The application in process: requests, refusals, and how requests share a batch."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import polars as pl
import pytest
from in_process import (
    JSON,
    answers,
    ask,
    first,
    instances,
    invoke,
    invoke_at_once,
    predicted,
    problem,
)
from ml_ready.project import Project
from ml_ready.serving import server
from ml_ready.serving.formats import Formats
from ml_ready.serving.predictor import Predictor
from starlette.types import ASGIApp
from synthetic import COLUMNS

COLUMN = next(column for column in COLUMNS if column.dtype != "String")


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

    responses = invoke_at_once(app, [instances(rows[part]) for part in parts])
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

    responses = invoke_at_once(app, [instances(part) for part in (rows, rows[::-1], rows[:1])])
    whole, backwards, one = responses
    assert answers(whole) == expected
    assert answers(backwards) == expected[::-1]
    assert answers(one) == expected[:1]


def test_a_record_without_a_finite_score_spoils_no_other_answer(
    project: Project,
    task: str,
    tmp_path: Path,
    rows: list[dict[str, Any]],
    known: pl.DataFrame,
    predictor: Predictor,
) -> None:
    expected = predicted(predictor, known)
    scores = first(predictor.frame(known))
    middle = float(np.sort(scores)[known.height // 2])
    app = server.create_app(
        Predictor(project, handmade.write(project, task, tmp_path, broken_above=middle))
    )

    responses = invoke_at_once(app, [instances([row]) for row in rows])
    for answer, score, prediction in zip(responses, scores, expected, strict=True):
        if score > middle:
            assert "could not score" in problem(answer, 500)["error"]
        else:
            assert answers(answer) == [prediction]


def test_a_client_that_gives_up_leaves_the_batch_whole(
    predictor: Predictor, formats: Formats, rows: list[dict[str, Any]]
) -> None:
    endpoint = server.Invocations(predictor, formats)
    records = formats.read_json(instances(rows[:2]))[0]

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
