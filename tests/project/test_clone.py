"""What was pushed comes back in a fresh clone as it was, and answers over HTTP from there."""

import csv
import io
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import polars as pl
import pytest

from tests.project.conftest import Project
from tests.project.readme import Shell

MADE = ("params.yaml", "data/raw", "data/processed", "models", "reports")
KNOWN_LATER = ("dep_delay", "air_time", "arr_delay")


def made(project: Project) -> dict[str, bytes]:
    """Every file that the pipeline wrote, by its name."""
    files = [
        file for name in MADE for file in (project.root / name, *(project.root / name).rglob("*"))
    ]
    return {
        str(file.relative_to(project.root)): file.read_bytes() for file in files if file.is_file()
    }


def test_a_second_run_of_the_pipeline_does_nothing(trained: Project) -> None:
    before = {file: file.stat().st_mtime_ns for file in (trained.root / "models").iterdir()}
    said = trained.does("dvc repro")
    assert "Running stage" not in said
    assert "Data and pipelines are up to date." in said
    assert {file: file.stat().st_mtime_ns for file in (trained.root / "models").iterdir()} == before


@pytest.fixture(scope="module")
def clone(_trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh clone beside the project, into which data and models were pulled."""
    _trained.does("dvc push")
    folder = _trained.root.with_name("clone")
    _trained.does(f"git clone --quiet . {folder}", activated=False)
    cloned = _trained.at(folder)
    assert not made(cloned).keys() - {"reports/metrics.json"}
    cloned.does("dvc pull")
    return cloned


def test_a_clone_gets_everything_back_without_computing_it(
    clone: Project, trained: Project
) -> None:
    assert made(clone) == made(trained)
    assert len(made(clone)) > 10
    assert "Data and pipelines are up to date." in clone.does("dvc status")
    assert "Running stage" not in clone.does("dvc repro")
    assert clone.does("git status --porcelain") == ""


@pytest.fixture(scope="module")
def invocations(clone: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `poe serve` answers in the clone, until Ctrl-C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    shell = Shell(clone.root, clone.environment, tmp_path_factory.mktemp("server"))
    shell.run("source .venv/bin/activate")
    server = shell.start(f"poe serve --port {address.rpartition(':')[2]}", f"{address}/ping")
    yield f"{address}/invocations"
    server.stop()
    shell.close()


@pytest.fixture(scope="module")
def scored(clone: Project) -> pl.DataFrame:
    """A hundred real flights, with the predictions of `poe predict`."""
    clone.does("poe predict data/raw/records.parquet predictions.parquet")
    return pl.read_parquet(clone.root / "predictions.parquet").sample(100, seed=1)


def as_json(records: pl.DataFrame) -> str:
    return f'{{"instances": {records.write_json()}}}'


def from_json(body: str) -> list[Any]:
    predictions = json.loads(body)["predictions"]
    assert isinstance(predictions, list)
    return predictions


def from_jsonlines(body: str) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def from_csv(body: str) -> list[Any]:
    return list(csv.DictReader(io.StringIO(body)))


@pytest.mark.parametrize(
    ("content_type", "write", "read"),
    [
        ("application/json", as_json, from_json),
        ("application/jsonlines", pl.DataFrame.write_ndjson, from_jsonlines),
        ("text/csv", pl.DataFrame.write_csv, from_csv),
    ],
)
def test_the_server_of_the_clone_predicts_what_the_batch_does(
    content_type: str,
    write: Callable[[pl.DataFrame], str],
    read: Callable[[str], list[Any]],
    invocations: str,
    scored: pl.DataFrame,
) -> None:
    known = scored.drop(*KNOWN_LATER, "probability", "label")
    written = known.with_columns(pl.col("time_hour").dt.to_string("iso:strict"))
    answer = httpx.post(invocations, content=write(written), headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(content_type)
    predictions = read(answer.text)
    assert [int(each["label"]) for each in predictions] == scored["label"].to_list()
    probabilities = [float(each["probability"]) for each in predictions]
    assert probabilities == pytest.approx(scored["probability"].to_list(), abs=1e-6)
    assert len(set(probabilities)) > 50


def test_a_record_with_its_outcome_is_refused(invocations: str, scored: pl.DataFrame) -> None:
    record = scored.head(1).select("carrier", pl.lit(90).alias("dep_delay")).to_dicts()
    answer = httpx.post(invocations, json={"instances": record})
    assert answer.status_code == 422
    assert "dep_delay" in {each["field"] for each in answer.json()["violations"]}
