"""Latency and throughput of the real server, recorded in reports/load.json; no time is asserted."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from {{ cookiecutter.package_name }}.entrypoints.environment import paths

Started = tuple[Any, str]
SECONDS = 1.5


async def ask(
    url: str, bodies: list[bytes], expected: list[Any], first: int, end: float
) -> list[float]:
    """Send one record after the other on one connection, and return how long each answer took."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    seconds: list[float] = []
    while time.perf_counter() < end:
        index = (first + len(seconds)) % len(bodies)
        begin = time.perf_counter()
        writer.write(
            b"POST /invocations HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(bodies[index]), bodies[index])
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        answer = await reader.readexactly(int(length))
        seconds.append(time.perf_counter() - begin)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert json.loads(answer)["predictions"][0] == expected[index]
    writer.close()
    return seconds


async def load(url: str, bodies: list[bytes], expected: list[Any], connections: int) -> Any:
    """Return throughput and latency with some connections that are always busy."""
    end = time.perf_counter() + SECONDS
    clients = (ask(url, bodies, expected, 31 * each, end) for each in range(connections))
    seconds = np.concatenate(await asyncio.gather(*clients))
    p50, p90, p99 = np.percentile(seconds * 1000, [50, 90, 99]).round(3).tolist()
    return {
        "requests_per_second": round(len(seconds) / SECONDS),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
    }


def memory(pid: int) -> float | None:
    """Return the resident memory of a process in MB, where the system tells."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
    return round(int(lines["VmRSS"].split()[0]) / 1024, 1)


def test_every_answer_is_right_under_load_and_the_figures_are_recorded(
    start: Callable[..., Started], bodies: list[bytes], expected: list[Any]
) -> None:
    begin = time.perf_counter()
    process, url = start()
    assert httpx.get(f"{url}/ping").status_code == 200
    figures: dict[str, Any] = {
        "note": "one record a request; client and server share the machine",
        "cpus": os.cpu_count(),
        "first_ping_seconds": round(time.perf_counter() - begin, 2),
    }
    for connections in (1, 8, 64):
        figures[f"connections_{connections}"] = asyncio.run(
            load(url, bodies, expected, connections)
        )
        assert figures[f"connections_{connections}"]["requests_per_second"] > 0
    figures["memory_mb"] = memory(process.pid)
    reports = paths().reports
    reports.mkdir(exist_ok=True)
    (reports / "load.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
