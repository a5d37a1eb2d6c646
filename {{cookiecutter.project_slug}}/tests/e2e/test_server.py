"""The server with real records: in each format, at the largest size, under load, at its end."""

import io
import itertools
import json
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import polars as pl
import pytest
from ml_ready.serving import server

Started = tuple[Any, str]
JSON = {"content-type": "application/json"}


def prediction(response: httpx.Response) -> dict[str, float]:
    """Read the answer to one record."""
    assert response.status_code == 200, response.text
    (answer,) = response.json()["predictions"]
    assert isinstance(answer, dict)
    return answer


def test_real_records_are_answered_in_each_form(
    start: Callable[..., Started], known: pl.DataFrame, expected: list[Any]
) -> None:
    _, url = start()
    rows = known.to_dicts()
    with httpx.Client(base_url=url) as client:
        assert client.get("/ping").status_code == 200
        as_json = client.post(
            "/invocations", content=msgspec.json.encode({"instances": rows}), headers=JSON
        )
        as_lines = client.post(
            "/invocations",
            content=msgspec.json.Encoder().encode_lines(rows),
            headers={"content-type": "application/jsonlines"},
        )
        as_csv = client.post(
            "/invocations",
            content=known.write_csv().encode(),
            headers={"content-type": "text/csv; charset=utf-8"},
        )
    assert as_json.json()["predictions"] == expected
    assert [json.loads(line) for line in as_lines.text.splitlines()] == expected
    assert pl.read_csv(io.BytesIO(as_csv.content)).to_dicts() == expected


def test_a_body_of_the_largest_size_is_answered_in_the_time_that_sagemaker_gives(
    start: Callable[..., Started], known: pl.DataFrame, expected: list[Any]
) -> None:
    _, url = start()
    records = b"".join(msgspec.json.encode(row) + b"\n" for row in known.to_dicts())
    times = server.BODY_LIMIT // len(records)
    largest = (records * times).ljust(server.BODY_LIMIT)
    kind = {"content-type": "application/jsonlines"}
    answer = httpx.post(f"{url}/invocations", content=largest, headers=kind, timeout=60)
    answers = [json.loads(line) for line in answer.text.splitlines()]
    assert answers == expected * times


def test_concurrent_clients_get_their_own_answers(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    _, url = start()

    def ask(part: int) -> list[dict[str, float]]:
        with httpx.Client(base_url=url) as client:
            return [
                prediction(client.post("/invocations", content=body, headers=JSON))
                for body in bodies[part::16]
            ]

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(16)))
    assert answers == [expected[part::16] for part in range(16)]


def require_direct(process: Any) -> None:
    """Skip where a proxy answers for a server that has ended."""
    if process.proxied:
        pytest.skip("a container has no address here: the same is tested with the process")


def test_no_accepted_request_is_lost_on_sigterm(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    process, url = start()
    require_direct(process)
    lost: list[Exception] = []
    answered = threading.Semaphore(0)

    def ask(part: int) -> int:
        count = 0
        with httpx.Client(base_url=url, timeout=30) as client:
            for index in itertools.cycle(range(part, len(bodies), 8)):
                try:
                    response = client.post("/invocations", content=bodies[index], headers=JSON)
                except httpx.ConnectError:
                    return count
                except httpx.HTTPError as error:
                    lost.append(error)
                    return count
                assert prediction(response) == expected[index]
                count += 1
                answered.release()
        raise AssertionError

    with ThreadPoolExecutor(8) as threads:
        counts = [threads.submit(ask, part) for part in range(8)]
        for _ in range(400):
            assert answered.acquire(timeout=30), "no answer for 30 seconds"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert lost == []
    assert sum(count.result() for count in counts) >= 400
