"""Load: what is made of the times of answers, and the limits they are held to."""

import importlib.util
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from deployable import write_project
from ml_ready.aws import load
from ml_ready.aws.load import (
    Limits,
    Step,
    faults,
    knee,
    report,
    summary,
)
from ml_ready.errors import ProjectError

LIMITS = Limits(
    users=[1, 2, 4],
    seconds=2,
    minimum_requests_per_second=100,
    maximum_p99_ms=10,
    maximum_failed_share=0,
)


def step(users: int, requests: float, p99: float = 5, failed: float = 0) -> Step:
    return Step(users, requests, 1, 2, p99, failed)


def test_a_step_is_summed_up() -> None:
    seen = [(float(time), time == 100) for time in range(101)]
    assert summary(3, seen, 2) == Step(3, 50.5, 50, 90, 99, 1 / 101)
    with pytest.raises(ProjectError, match="no request of 3 users was answered within 2 seconds"):
        summary(3, [], 2)


def test_the_knee_is_the_fewest_users_with_nearly_the_highest_throughput() -> None:
    assert knee([step(1, 50), step(2, 95), step(4, 100), step(8, 90)]).users == 2


@pytest.mark.parametrize(
    ("steps", "messages"),
    [
        ([step(1, 100)], []),
        ([step(1, 99)], ["99 requests a second, required at least 100"]),
        ([step(1, 100, 11)], ["11 ms at the 99th percentile, required at most 10"]),
        ([step(1, 100), step(2, 100, 99)], []),
        (
            [step(1, 100), step(2, 100, failed=0.5)],
            ["0.5 of the requests failed, required at most 0"],
        ),
    ],
)
def test_what_breaks_a_limit_is_named(steps: list[Step], messages: list[str]) -> None:
    assert faults(steps, LIMITS) == messages


def test_the_report_holds_table_knee_and_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("http://x", [step(1, 100), step(2, 101)], LIMITS, tmp_path / "reports") == []
    text = (tmp_path / "reports" / "load.md").read_text(encoding="utf-8")
    assert "| 1 | 100 | 1 | 2 | 5 | 0 |\n| 2 | 101 | 1 | 2 | 5 | 0 |" in text
    assert "The knee is at 1 users with 100 requests/s: every limit holds." in text
    assert capsys.readouterr().out.strip() == text.strip()
    content = json.loads((tmp_path / "reports" / "load.json").read_text(encoding="utf-8"))
    assert content["knee"]["users"] == 1


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    (tmp_path / "records.parquet").touch()
    with pytest.raises(
        ProjectError, match=r"^http://127\.0\.0\.1:1: no answer .*: start the server"
    ):
        load.bodies("http://127.0.0.1:1", tmp_path / "records.parquet")


def test_a_server_that_takes_no_records_gets_no_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = SimpleNamespace(open=lambda *_, **__: io.StringIO('{"info": {}}'))
    monkeypatch.setattr(load, "build_opener", lambda *_: opened)
    (tmp_path / "records.parquet").touch()
    with pytest.raises(ProjectError, match=r"http://x/openapi\.json: describes no record"):
        load.bodies("http://x", tmp_path / "records.parquet")


def test_without_records_there_is_no_load(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"records\.parquet: no such file"):
        load.bodies("http://127.0.0.1:1", tmp_path / "records.parquet")


@pytest.fixture
def server() -> Iterator[str]:
    """A server that describes its records, and answers some requests, fails or keeps others."""
    ended = threading.Event()
    record = {"properties": {"weight": {"type": "number"}}}
    described = json.dumps({"components": {"schemas": {"Record": record}}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(described)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if body == "for ever":
                ended.wait(60)
            self.send_response(500 if body == "broken" else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    ended.set()
    served.shutdown()
    served.server_close()


def measured(server: str, *bodies: str) -> list[list[tuple[float, bool]]]:
    """Have one user and then two send requests; milliseconds, and whether each failed."""
    if importlib.util.find_spec("locust") is None:
        pytest.skip("no Locust: install ml-ready[load]")
    work = {"url": server, "bodies": bodies, "users": [1, 2], "seconds": 0.5}
    command = [sys.executable, "-m", "ml_ready.aws.users"]
    steps = subprocess.check_output(command, input=json.dumps(work), text=True)
    return [[(time, failed) for time, failed in step] for step in json.loads(steps)]


@pytest.mark.parametrize("bodies", [["good"], ["broken", "good"]])
def test_users_send_the_requests_in_turn_and_see_which_fail(server: str, bodies: list[str]) -> None:
    steps = measured(server, *bodies)
    assert len(steps) == 2
    for step in steps:
        failures = sum(failed for _, failed in step)
        assert failures == pytest.approx(len(step) * bodies.count("broken") / len(bodies), abs=2)


def test_a_request_without_an_answer_fails_with_the_time_so_far(server: str) -> None:
    steps = measured(server, "for ever")
    assert [len(step) for step in steps] == [1, 2]
    assert all(failed and milliseconds > 500 for step in steps for milliseconds, failed in step)


@pytest.mark.parametrize(
    ("p99", "status", "message"),
    [(5, 0, ""), (500, 0, "the server is too slow: 500 ms"), (5, 1, "the users of Locust have")],
)
def test_load_is_put_on_a_server_with_real_records(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    p99: float,
    status: int,
    message: str,
) -> None:
    write_project(tmp_path)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    pl.DataFrame({"weight": [1.5], "hours": [2]}).write_parquet(
        tmp_path / "data" / "raw" / "records.parquet"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    asked = []

    def users(command: list[str], **options: Any) -> Any:
        asked.append((command[1:], json.loads(options["input"])))
        times = [[[p99, False]] * 1000 for _ in asked[0][1]["users"]]
        return SimpleNamespace(returncode=status, stdout=json.dumps(times))

    monkeypatch.setattr("subprocess.run", users)
    command = ["--url", f"{server}/", "users=[1,2]", "seconds=1"]
    with pytest.raises(ProjectError, match=message) if message else nullcontext():
        load.main(command)
    ((started, work),) = asked
    assert started == ["-m", "ml_ready.aws.users"]
    assert (work["url"], work["users"], work["seconds"]) == (server, [1, 2], 1)
    assert {*work["bodies"]} == {'{"instances": [{"weight": 1.5}]}'}
    assert (tmp_path / "reports" / "load.md").is_file() == (status == 0)


def test_without_locust_there_is_no_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    write_project(tmp_path)
    (tmp_path / "data" / "raw").mkdir(parents=True)
    pl.DataFrame({"weight": [1.5]}).write_parquet(tmp_path / "data" / "raw" / "records.parquet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ProjectError, match=r"Locust is missing: python3 bootstrap.py"):
        load.main(["--url", server])
