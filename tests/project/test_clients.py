"""XGBoost in containers: a job, and what clients meet at the server.

Clients send many, slow, silent and large requests.
"""

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import httpx
import polars as pl

from tests.project.conftest import (
    Project,
    described,
    docker,
    served,
)

PROJECT = "other"  # whose images `built` builds
REQUESTS = 100_000
GROWTH = 8.0  # MB
BODY = "            body = await _body(headers, receive)\n"  # a line of server.py


async def asked(url: str, body: bytes, count: int) -> None:
    """Send a request so many times or a few more, over many connections."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    head = "POST /invocations HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def ask(times: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(times):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            length = int(re.findall(rb"content-length: (\d+)", answer)[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(ask(count // 64 + 1) for _ in range(64)))


def growth(project: Project, *options: str) -> float:
    """By how many MB the server grows over the requests, once it is warm."""
    records = pl.read_parquet(project.root / "data/raw/records.parquet").head(1)
    with served(project, *options) as (url, process):
        fields = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]["Record"]
        row = json.loads(records.select(list(fields["properties"])).write_json())
        body = json.dumps({"instances": row}).encode()
        sizes = []
        for count in (REQUESTS // 5, REQUESTS):
            asyncio.run(asked(url, body, count))
            status = Path(f"/proc/{process}/status").read_text()
            sizes.append(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024)
    return sizes[1] - sizes[0]


def test_the_server_does_not_grow_over_a_hundred_thousand_requests(built: Project) -> None:
    assert growth(built) < GROWTH


def changed(project: Project, name: str, text: str, by: str, folder: Path) -> list[str]:
    """Options that run the server with another text in one of the library's files."""
    (library,) = project.root.glob(".venv/lib/python*/site-packages/ml_ready")
    source = shutil.copytree(library, folder / "ml_ready")
    # The server, which is nobody, reads it as it is here.
    subprocess.run(["chmod", "-R", "a+rX", source], check=True)
    file = source / "serving" / name
    assert text in file.read_text()
    file.write_text(file.read_text().replace(text, by))
    where = "import ml_ready; print(*ml_ready.__path__)"
    image = f"{project.root.name}-serve"
    return ["--volume", f"{source}:{docker('run', '--rm', image, 'python3', '-c', where)}:ro"]


def test_a_server_that_keeps_what_it_is_sent_is_found(built: Project, tmp_path: Path) -> None:
    line = "            globals().setdefault('KEPT', []).append(body)\n"
    hoarding = changed(built, "server.py", BODY, f"{BODY}{line}", tmp_path)
    assert growth(built, *hoarding) > GROWTH


def test_a_body_that_does_not_arrive_is_given_up_in_time_and_holds_up_nobody(
    built: Project,
) -> None:
    with served(built) as (url, _):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host is not None
        waiting = [http.client.HTTPConnection(host, port, timeout=60) for _ in range(100)]
        for connection in waiting:
            connection.putrequest("POST", "/invocations")
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", "1000")
            connection.endheaders(b"{")
        begun = time.monotonic()
        silent = [socket.create_connection((host, port), timeout=60) for _ in range(10)]
        for each in silent:
            each.sendall(b"POST /invocations HTTP/1.1\r\nhost:")
        assert httpx.get(f"{url}/ping").status_code == 200
        assert {connection.getresponse().status for connection in waiting} == {408}
        assert {each.recv(1) for each in silent} == {b""}
        assert time.monotonic() - begun < 60


def test_large_bodies_at_once_fit_into_a_small_machine(built: Project) -> None:
    bodies = [
        ("text/csv", b"a\n" * (25 * 2**19), 400),
        ("application/jsonlines", b"{}\n" * (25 * 2**20 // 3), 422),
    ]
    with served(built, "--memory", "2g", "--memory-swap", "2g") as (url, _):
        schemas = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
        names = [*schemas["Record"]["properties"]]
        records = pl.read_parquet(built.root / "data/raw/records.parquet", columns=names)
        rows = records.select(names).write_csv(include_header=False).encode()
        bodies += [("text/csv", rows * (25 * 2**20 // len(rows)), 200)] * 4

        def ask(given: tuple[str, bytes, int]) -> int:
            kind, content, _ = given
            headers = {"content-type": kind}
            address = f"{url}/invocations"
            return httpx.post(address, content=content, headers=headers, timeout=120).status_code

        with ThreadPoolExecutor(len(bodies)) as threads:
            assert [*threads.map(ask, bodies)] == [status for _, _, status in bodies]
        assert httpx.get(f"{url}/ping").status_code == 200


LOAD = "poe load --url {} seconds=1 'users=[1,4]' minimum_requests_per_second=1 maximum_p99_ms=150"


def test_the_load_on_a_container_is_reported(built: Project) -> None:
    with served(built) as (url, _):
        printed = built.does(LOAD.format(url))
    assert re.search(r"The knee is at \d users with \S+ requests/s: every limit holds\.", printed)
    report = json.loads((built.root / "reports/load.json").read_text())
    assert [step["users"] for step in report["steps"]] == [1, 4]
    assert f"# Load on {url}" in (built.root / "reports/load.md").read_text()


def worked(process: int) -> float:
    """For how many seconds a process has used a core."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_that_stands_still_is_found(built: Project) -> None:
    command = LOAD.replace("seconds=1", "seconds=9").replace("[1,4]", "[4]")
    with served(built) as (url, pid):
        before, over = worked(pid), Event()

        def stop() -> None:
            while worked(pid) < before + 1:
                if over.wait(0.05):
                    break
            os.kill(pid, signal.SIGSTOP)

        stopping = Thread(target=stop)
        stopping.start()
        try:
            printed = built.refuses(command.format(url))
        finally:
            over.set()
            stopping.join()
            os.kill(pid, signal.SIGCONT)
    assert "of the requests failed, required at most 0" in printed


def test_a_server_that_is_too_slow_is_stopped_at_the_limit(built: Project, tmp_path: Path) -> None:
    line = "            await asyncio.sleep(0.2)\n"
    slow = changed(built, "server.py", BODY, f"{BODY}{line}", tmp_path)
    with served(built, *slow) as (url, _):
        printed = built.refuses(LOAD.format(url))
    assert re.search(r"error: the server is too slow: 2\d\d\.?\d? ms at the 99th perc.*", printed)


def test_the_server_answers_as_it_is_described(built: Project, tmp_path: Path) -> None:
    with served(built) as (url, _):
        done = described(url, tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_server_that_answers_otherwise_is_found(built: Project, tmp_path: Path) -> None:
    source = changed(built, "formats.py", "RequestError(422,", "RequestError(418,", tmp_path)
    with served(built, *source) as (url, _):
        done = described(url, tmp_path)
    assert done.returncode == 1
    assert "418" in done.stdout


def test_a_job_makes_a_model(built: Project) -> None:
    printed = built.does("pytest tests/e2e/test_image.py -k jobs_make_a_model")
    assert re.search(r"\b1 passed", printed), printed
