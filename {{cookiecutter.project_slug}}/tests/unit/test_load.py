"""Load: what is made of the times of answers, and the limits they are held to."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from {{ cookiecutter.package_name }}.deployment import load
from {{ cookiecutter.package_name }}.deployment.load import (
    Limits,
    Step,
    faults,
    knee,
    report,
    summary,
)
from {{ cookiecutter.package_name }}.errors import ProjectError

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
    ("steps", "said"),
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
def test_what_breaks_a_limit_is_named(steps: list[Step], said: list[str]) -> None:
    assert faults(steps, LIMITS) == said


def test_the_report_holds_table_knee_and_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report("http://x", [step(1, 100), step(2, 101)], LIMITS, tmp_path / "reports") == []
    text = (tmp_path / "reports" / "load.md").read_text(encoding="utf-8")
    assert "| 1 | 100 | 1 | 2 | 5 | 0 |\n| 2 | 101 | 1 | 2 | 5 | 0 |" in text
    assert "The knee is at 1 users with 100 requests/s: every limit holds." in text
    assert capsys.readouterr().out.strip() == text.strip()
    found = json.loads((tmp_path / "reports" / "load.json").read_text(encoding="utf-8"))
    assert found["knee"]["users"] == 1


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
