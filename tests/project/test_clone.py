"""What was pushed comes back in a fresh clone as it was, and answers over HTTP from there."""

import csv
import io
import json
import re
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import httpx
import polars as pl
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.conftest import bake_into
from tests.project.conftest import ANSWERS, Project
from tests.project.readme import Shell, steps

MADE = ("params.yaml", "data/raw", "data/processed", "models", "reports")
BUCKET = "harbour-models"
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


class Storage:
    """An S3 on this machine, which notes the regions it is asked for."""

    def __init__(self) -> None:
        self.regions: set[str] = set()
        application = DomainDispatcherApplication(create_backend_app)

        def recorded(environ: dict[str, Any], start_response: Any) -> Any:
            signed = re.search(r"/([a-z0-9-]+)/s3/aws4", environ.get("HTTP_AUTHORIZATION", ""))
            self.regions.add(signed[1] if signed else "none")
            return application(environ, start_response)

        self.server = make_server("127.0.0.1", 0, recorded, threaded=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.credentials = {
            "AWS_ACCESS_KEY_ID": uuid.uuid4().hex,
            "AWS_SECRET_ACCESS_KEY": uuid.uuid4().hex,
        }

    def signed_in(self, project: Project) -> Project:
        """Give a project the way in."""
        return Project(project.root, {**project.environment, **self.credentials})

    def make_bucket(self, name: str, region: str) -> None:
        """Make an empty bucket."""
        key, secret = self.credentials.values()
        s3 = boto3.client(
            "s3",
            region_name=region,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    served = Storage()
    yield served
    served.server.shutdown()


@pytest.fixture(scope="module")
def clones(
    _trained: Project, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Project]:
    """Two clones of the project as it would be had its answers named a bucket.

    The first has the data and models of the pipeline in its cache, the second has nothing.
    """
    folder = tmp_path_factory.mktemp("bucket")
    baked = bake_into(folder / "bake", **ANSWERS, artifact_bucket=BUCKET)
    found = {}
    for command, name in {"dvc push": "first", "dvc pull": "second"}.items():
        _trained.does(f"git clone --quiet . {folder / name}", activated=False)
        clone = _trained.at(folder / name)
        for file in (".dvc/config", "README.md"):
            shutil.copy(baked / file, clone.root / file)
        found[command] = Project(clone.root, {**clone.environment, **storage.environment})
    shutil.copytree(_trained.root / ".dvc" / "cache", folder / "first" / ".dvc" / "cache")
    return found


@pytest.mark.parametrize("command", ["dvc push", "dvc pull"])
def test_without_credentials_the_reason_is_said(command: str, clones: dict[str, Project]) -> None:
    assert "Unable to locate credentials" in clones[command].refuses(command)


@pytest.mark.parametrize("command", ["dvc push", "dvc pull"])
def test_a_bucket_that_does_not_exist_is_said(
    command: str, clones: dict[str, Project], storage: Storage
) -> None:
    project = storage.signed_in(clones[command])
    assert "The specified bucket does not exist" in project.refuses(command)


def test_what_was_pushed_to_the_bucket_comes_back_in_a_fresh_clone(
    clones: dict[str, Project], trained: Project, storage: Storage
) -> None:
    storage.make_bucket(BUCKET, ANSWERS["aws_region"])
    storage.regions.clear()
    for command, clone in clones.items():
        storage.signed_in(clone).does(command)
    assert made(clones["dvc pull"]) == made(trained)
    assert storage.regions == {ANSWERS["aws_region"]}


def test_a_bucket_changes_no_command_of_the_readme(
    clones: dict[str, Project], installed: Project
) -> None:
    with_one, without = (
        [step.text for step in steps((project.root / "README.md").read_text()) if step.block]
        for project in (clones["dvc push"], installed)
    )
    assert with_one == without
    assert "dvc push" in "".join(with_one)


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
