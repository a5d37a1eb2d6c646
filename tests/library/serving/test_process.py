"""The server as a process: records over HTTP, errors, and how it starts and stops."""

import asyncio
import http.client
import io
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import handmade
import httpx
import msgspec
import polars as pl
import pytest
import serve_synthetic
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import JSON, predicted
from ml_ready.project import Project
from ml_ready.serving import server
from ml_ready.serving.predictor import Predictor

# A process differs in nothing that the task decides, which tests in process cover.
ONE_TASK = pytest.mark.parametrize("task", ["binary"], indirect=True)
KINDS = ("application/json", "application/jsonlines", "application/x-jsonlines", "text/csv")
TRAINING = ("sklearn", "mlflow", "pandera", "pydantic", "hydra", "skl2onnx", "scipy")
MODELS = (synthetic.CLASSIFIER, synthetic.REGRESSORS)
Started = tuple[subprocess.Popen[bytes], str]


@pytest.fixture(scope="session")
def known(project: Project) -> pl.DataFrame:
    """Records, as known when a prediction is asked for."""
    return handmade.records(project).select(column.name for column in project.inputs)


@pytest.fixture(scope="session")
def bodies(known: pl.DataFrame) -> list[bytes]:
    """A JSON request with one record for each of them."""
    return [msgspec.json.encode({"instances": [row]}) for row in known.to_dicts()]


@pytest.fixture(scope="session")
def expected(predictor: Predictor, known: pl.DataFrame) -> list[Any]:
    """The prediction for each of them, whatever else is in its batch: not equal to the last bit."""
    return [pytest.approx(each, rel=1e-6, abs=1e-6) for each in predicted(predictor, known)]


def command(task: str, root: Path, folder: Path, port: int) -> list[str]:
    """Return the command that serves a model."""
    return [sys.executable, serve_synthetic.__file__, task, str(root), str(folder), str(port)]


@pytest.fixture
def start(task: str, folder: Path, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start servers, wait until each listens, and stop them at the end."""
    servers: list[subprocess.Popen[bytes]] = []

    def started(port: int = 0) -> Started:
        name = f"server-{len(servers)}"
        log = tmp_path / f"{name}.log"
        with log.open("wb") as errors, (tmp_path / f"{name}.modules").open("wb") as modules:
            line = command(task, tmp_path / name, folder, port)
            servers.append(subprocess.Popen(line, stdout=modules, stderr=errors))
        end = time.monotonic() + 60
        while time.monotonic() < end and servers[-1].poll() is None:
            address = re.search(r"http://\S+", log.read_text(encoding="utf-8"))
            if address:
                return servers[-1], address[0]
            time.sleep(0.02)
        raise AssertionError(f"The server did not start: {log.read_text(encoding='utf-8')}")

    yield started
    for process in servers:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prediction(response: httpx.Response) -> dict[str, float]:
    """Read the answer to one record."""
    assert response.status_code == 200, response.text
    (answer,) = response.json()["predictions"]
    assert isinstance(answer, dict)
    return answer


@ONE_TASK
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


@ONE_TASK
def test_bad_requests_are_refused_and_the_connection_lives_on(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    _, url = start()
    cases: list[tuple[int, dict[str, Any]]] = [
        (415, {"content": bodies[0]}),
        (400, {"content": b"{", "headers": JSON}),
        (422, {"content": b'{"instances": [{}]}', "headers": JSON}),
        (413, {"content": b" " * (server.BODY_LIMIT + 1), "headers": JSON}),
        (413, {"content": itertools.repeat(b" " * 2**20, 30), "headers": JSON}),
    ]
    used = set()
    with httpx.Client(base_url=url, limits=httpx.Limits(max_connections=1)) as client:
        for status, request in cases:
            response = client.post("/invocations", **request)
            assert response.status_code == status
            assert set(response.json()) == {"error", "violations"}
            answer = client.post("/invocations", content=bodies[0], headers=JSON)
            assert prediction(answer) == expected[0]
            used.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        assert client.get("/nowhere").status_code == 404
        assert client.get("/invocations").status_code == 405
    assert len(used) == 1


@ONE_TASK
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


@ONE_TASK
def test_odd_bodies_are_refused_and_harm_nothing(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    _, url = start()
    some, at = st.sampled_from(bodies), st.integers(0, min(map(len, bodies)))
    cut = st.builds(lambda body, end: body[:end], some, at)
    spoilt = st.builds(
        lambda body, end, odd: body[:end] + odd + body[end:], some, at, st.binary(min_size=1)
    )
    kinds = st.sampled_from([*KINDS, "text/plain", "", "a/b; c"])
    with httpx.Client(base_url=url) as client:

        @settings(max_examples=200, deadline=None, derandomize=True)
        @given(content=st.binary() | cut | spoilt, kind=kinds)
        def ask(content: bytes, kind: str) -> None:
            answer = client.post("/invocations", content=content, headers={"content-type": kind})
            assert answer.status_code in {200, 400, 415, 422}, answer.text
            if answer.status_code != 200:
                assert set(answer.json()) == {"error", "violations"}

        ask()
        answer = client.post("/invocations", content=bodies[0], headers=JSON)
    assert prediction(answer) == expected[0]


@ONE_TASK
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
        got = list(threads.map(ask, range(16)))
    assert got == [expected[part::16] for part in range(16)]


@ONE_TASK
def test_every_answer_is_right_under_load(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    _, url = start()
    address = urlsplit(url)

    async def ask(first: int) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for index in range(first, first + 100):
            body = bodies[index % len(bodies)]
            writer.write(
                b"POST /invocations HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            answer = json.loads(await reader.readexactly(int(length)))
            assert answer["predictions"] == [expected[index % len(bodies)]]
        writer.close()

    async def all_at_once() -> None:
        await asyncio.gather(*(ask(31 * each) for each in range(64)))

    asyncio.run(asyncio.wait_for(all_at_once(), 60))


@ONE_TASK
def test_a_slow_client_is_answered_and_holds_up_no_other(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    _, url = start()
    address = urlsplit(url)
    assert address.hostname is not None
    slow = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    slow.putrequest("POST", "/invocations")
    slow.putheader("content-type", "application/json")
    slow.putheader("content-length", str(len(bodies[0])))
    slow.endheaders()
    with httpx.Client(base_url=url) as client:
        for start_of_piece in range(0, len(bodies[0]), 100):
            slow.send(bodies[0][start_of_piece : start_of_piece + 100])
            answer = client.post("/invocations", content=bodies[1], headers=JSON)
            assert prediction(answer) == expected[1]
    answer = json.loads(slow.getresponse().read())
    assert answer["predictions"][0] == expected[0]
    slow.close()


@ONE_TASK
def test_a_large_request_leaves_ping_responsive(
    start: Callable[..., Started], known: pl.DataFrame, expected: list[Any]
) -> None:
    _, url = start()
    times = 20_000 // known.height
    content = msgspec.json.encode({"instances": known.to_dicts() * times})
    with ThreadPoolExecutor(1) as thread, httpx.Client(base_url=url, timeout=60) as client:
        began = time.monotonic()
        large = thread.submit(client.post, "/invocations", content=content, headers=JSON)
        waits = []
        while not large.done():
            answer = client.get("/ping").raise_for_status()
            waits.append(answer.elapsed.total_seconds())
        took = time.monotonic() - began
    answers = large.result().json()["predictions"]
    assert answers == expected * times
    assert max(waits) < took / 2


@ONE_TASK
def test_no_accepted_request_is_lost_on_sigterm(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    process, url = start()
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


@ONE_TASK
def test_a_request_that_is_still_being_sent_is_answered_after_sigterm(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    process, url = start()
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.putrequest("POST", "/invocations")
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(len(bodies[0])))
    connection.endheaders()
    connection.send(bodies[0][:50])
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(2)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/ping")
    connection.send(bodies[0][50:])
    answer = json.loads(connection.getresponse().read())
    assert answer["predictions"][0] == expected[0]
    assert process.wait(30) == 0


@ONE_TASK
def test_a_killed_server_is_started_again(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    process, url = start()
    with httpx.Client(base_url=url) as client:
        client.get("/ping")
        process.kill()
        process.wait()
        _, again = start(urlsplit(url).port)
        answer = client.post(f"{again}/invocations", content=bodies[0], headers=JSON)
    assert prediction(answer) == expected[0]


def refused(task: str, root: Path, folder: Path, port: int = 0) -> str:
    """Start a server that cannot start, and return the line that says why."""
    line = command(task, root, folder, port)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@ONE_TASK
def test_a_missing_or_broken_model_ends_in_one_line(
    task: str, folder: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    message = refused(task, tmp_path / "first", models)
    assert message.startswith(f"error: {models / 'metadata.json'}")
    (models / "metadata.json").write_bytes((folder / "metadata.json").read_bytes())
    model = (folder / "model.onnx").read_bytes()
    (models / "model.onnx").write_bytes(model[: len(model) // 2])
    message = refused(task, tmp_path / "second", models)
    assert message.startswith(f"error: {models / 'model.onnx'}: does not match metadata.json")


@ONE_TASK
def test_a_port_in_use_ends_in_one_line(task: str, folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        message = refused(task, tmp_path / "project", folder, port)
    assert message.startswith(f"error: 127.0.0.1:{port}: cannot listen there")


@pytest.mark.parametrize("task", handmade.OUTPUTS, indirect=True)
def test_serving_imports_nothing_of_training(
    start: Callable[..., Started], known: pl.DataFrame, predictor: Predictor, tmp_path: Path
) -> None:
    process, url = start()
    content = msgspec.json.encode({"instances": known.head(3).to_dicts()})
    with httpx.Client(base_url=url) as client:
        assert client.get("/ping").status_code == 200
        assert client.get("/openapi.json").status_code == 200
        answer = client.post("/invocations", content=content, headers=JSON)
        assert client.post("/invocations", content=b"{}", headers=JSON).status_code == 400
    assert answer.json()["predictions"] == [
        pytest.approx(each, rel=1e-6, abs=1e-6) for each in predicted(predictor, known.head(3))
    ]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    modules = (tmp_path / "server-0.modules").read_text(encoding="utf-8").splitlines()
    assert {"onnxruntime", "ml_ready.serving.server"} <= {*modules}
    packages = {name.partition(".")[0] for name in modules}
    assert not packages & {*TRAINING, "parcels", *MODELS}
    ours = ("ml_ready.training", "ml_ready.jobs", "ml_ready.config")
    assert [name for name in modules if name.startswith(ours)] == []


def test_serving_leaves_nothing_in_the_home_of_its_user(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if "TELEMETRY" not in name}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    script = f"import {server.__name__}"
    subprocess.run([sys.executable, "-B", "-c", script], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []
