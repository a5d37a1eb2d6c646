"""SageMaker: the commands of docs/sagemaker.md, verbatim, against AWS as moto plays it."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import filelock
import httpx
import polars as pl
import pytest

from tests.project import engine, readme
from tests.project.conftest import Project

SLUG = "harbour-crane-s-wear"
BUCKET = "models-123456789012"
REQUESTS = 25_000  # of each variant of an experiment
SERVING = "docker run --rm --publish"
VERSIONS = "tests/library/aws/test_endpoint.py: it takes several versions"
EXPERIMENT = "test_an_experiment_is_run_as_it_is_described"
LEFT = "test_nothing_is_left_to_pay_for"
INSTALLED = "conftest.py installs every group before other processes use them"
INSIDE = "it runs in the images"
ELSEWHERE = {
    **dict.fromkeys(("process", "process-spark", "train", "evaluate", "serve"), INSIDE),
    "test": "a window of the data",
    "docker build": "it is what the images are built with",
    "ml-ready iam": "the block above it gives the name of a policy",
    f"python -m {SLUG.replace('-', '_')}.entrypoints.spark --master spark://host:7077": (
        "tests/library/jobs/test_spark.py"
    ),
    "poe image spark": "test_spark_hosts.py",
    "poe image --build-arg BASE_IMAGE=registry.example.com/python:3.12": (
        "test_container.py, with a base that is here"
    ),
    "poe load": "test_clients.py",
    "python3 bootstrap.py poetry install --with load": INSTALLED,
    "poe endpoint rollback 3": VERSIONS,
    "poe endpoint deploy 3=90 4=10": VERSIONS,
    "poe endpoint weights 3=50 4=50": VERSIONS,
    "poe endpoint deploy 3 --shadow 4": VERSIONS,
    f'poe pipeline-deploy "$TRAIN" "$SERVE" --spark "$(digest "$REGISTRY/{SLUG}-spark")"': (
        "tests/library/aws/test_definition.py"
    ),
    "poe pipeline-run data/sample ProcessHosts=2": (
        "tests/library/aws/test_pipeline.py gives a parameter"
    ),
}
TRANSFORM = f"s3://{BUCKET}/{SLUG}/transform"
INSTALL = "python3 bootstrap.py poetry install --with"
FILLED_IN = {
    # The groups are INSTALLED.
    f"{INSTALL} spark\nprocess-spark": "process-spark",
    f"{INSTALL} sagemaker\npoe sagemaker-local": "poe sagemaker-local",
    "aws s3 cp FOLDER/index.html report.html": (
        "aws s3 cp $(poe registry list | awk '{ print $NF }')/index.html report.html"
    ),
    "poe registry promote VERSION": "poe registry promote 1",
    "poe endpoint transform s3://…/records.jsonl s3://…/predictions": (
        f"aws s3 cp data/records.jsonl {TRANSFORM}/records.jsonl && "
        f"poe endpoint transform {TRANSFORM}/records.jsonl {TRANSFORM}/predictions"
    ),
}
SCORE = """
import sys
from pathlib import Path

import numpy as np
import polars as pl
from ml_ready.jobs.job import unpacked
from ml_ready.serving.predictor import Predictor
from {package}.project import PROJECT

models, window = map(Path, sys.argv[1:])
assert np.isfinite(Predictor(PROJECT, unpacked(models)).score(pl.read_parquet(window))).all()
"""
SIGN_IN = "aws ecr get-login-password | docker login"


def test_what_runs_elsewhere_names_a_file_that_is_there() -> None:
    names = re.findall(r"tests/\S+\.py|test_\w+\.py", " ".join(ELSEWHERE.values()))
    assert names
    folders = (Path(__file__).parents[2], Path(__file__).parent)
    assert [n for n in names if not any((folder / n).is_file() for folder in folders)] == []


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@contextmanager
def running(command: list[str], address: str, log: Path) -> Iterator[None]:
    """Run a server that answers, until the block ends."""
    with log.open("wb") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        end = time.monotonic() + 30
        while not readme.answers(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """AWS and a registry of images on this machine, and the AWS command line."""
    try:
        engine.require()
    except engine.NoEngineError as reason:
        pytest.skip(str(reason))
    if not shutil.which("docker-registry"):
        pytest.skip("no registry of images: .ci/run installs Debian's docker-registry")
    folder = tmp_path_factory.mktemp("account")
    venv.create(folder / "aws", with_pip=True)
    pip = [str(folder / "aws/bin/python"), "-m", "pip", "install", "--quiet", "awscli>=1.46"]
    subprocess.run(pip, check=True)
    cloud, images = free_port(), free_port()
    settings = folder / "registry.yml"
    settings.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'images'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{images}'}}\n"
    )
    moto = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(cloud)]
    registry = ["docker-registry", "serve", str(settings)]
    with (
        running(moto, f"http://127.0.0.1:{cloud}/moto-api/", folder / "moto.log"),
        running(registry, f"http://127.0.0.1:{images}/v2/", folder / "registry.log"),
    ):
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{cloud}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-west-2",
            "REGISTRY_HERE": f"127.0.0.1:{images}",
            "PATH": f"{folder / 'aws/bin'}",
        }


@pytest.fixture(scope="module")
def said(
    _trained: Project,
    account: dict[str, str],
    turn: filelock.BaseFileLock,
    images: filelock.BaseFileLock,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """What each command of the page printed."""
    path = os.pathsep.join(
        [str(_trained.root / ".venv/bin"), _trained.environment["PATH"], account["PATH"]]
    )
    environment = {**_trained.environment, **account, "PATH": path}
    shell = readme.Shell(_trained.root, environment, tmp_path_factory.mktemp("record"))
    text = (_trained.root / "docs/sagemaker.md").read_text()
    (serving,) = re.findall(rf"^{SERVING}.*$", text, re.MULTILINE)
    (push,) = re.findall(r"^REGISTRY=.*?(?=^```)", text, re.MULTILINE | re.DOTALL)
    (experiment,) = re.findall(r"^aws s3 sync .*?(?=^```)", text, re.MULTILINE | re.DOTALL)
    elsewhere = ELSEWHERE | {experiment.strip(): EXPERIMENT, left(_trained): LEFT}
    # There is nobody to sign in to.
    (sign_in,) = re.findall(rf"^{re.escape(SIGN_IN)}.*\n", push, re.MULTILINE)
    here = push.replace(sign_in, "")
    here, registries = re.subn("^REGISTRY=.*", "REGISTRY=$REGISTRY_HERE", here)
    assert registries == 1
    (_trained.root / "data" / "records.jsonl").write_text("{}\n")
    filled_in = FILLED_IN | {push.strip(): here}
    servers = {serving: "http://127.0.0.1:8080/ping"}
    with images:
        try:
            found = readme.run(text, shell, servers, filled_in, elsewhere, turn)
            yield {each.step.text.strip(): each.output for each in found}
        finally:
            names = [f"{SLUG}-{target}" for target in ("train", "serve")]
            names += [f"{account['REGISTRY_HERE']}/{name}" for name in names]
            subprocess.run(["docker", "rmi", "--force", *names], capture_output=True)
            _trained.does("git reset --quiet --hard trained && git clean --quiet -d --force")
            _trained.does("dvc checkout --force --quiet")


def left(project: Project) -> str:
    """The commands that remove what is left in the account."""
    text = (project.root / "docs/sagemaker.md").read_text()
    (found,) = re.findall(r"^aws sagemaker delete-pipeline .*?(?=^```)", text, re.DOTALL | re.M)
    return str(found).strip()


def client(account: dict[str, str], service: str) -> Any:
    """Ask AWS for what the commands have left there."""
    return boto3.client(
        service,
        endpoint_url=account["AWS_ENDPOINT_URL"],
        region_name=account["AWS_DEFAULT_REGION"],
        aws_access_key_id=account["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=account["AWS_SECRET_ACCESS_KEY"],
    )


def printed(said: dict[str, str], beginning: str) -> str:
    """What the one block that holds this line printed."""
    (found,) = (output for text, output in said.items() if beginning in text.splitlines())
    return found


def test_from_nothing_to_an_endpoint(said: dict[str, str]) -> None:
    shown = printed(said, "poe pipeline-run data/sample")
    assert '+  "Version"' in shown
    assert f"{SLUG} is made" in shown
    assert ": Succeeded" in shown
    shown = printed(said, "poe endpoint status")
    assert "PendingManualApproval" in shown
    assert "Version 1 is Approved" in shown
    assert f"{SLUG} serves version 1 (1)" in shown
    assert "live: version 1, weight 1" in shown
    assert f"{SLUG} is deleted" in printed(said, "poe endpoint delete")


def test_what_was_started_is_what_was_pushed(extended: Project, account: dict[str, str]) -> None:
    # For moto, every run succeeds.
    sagemaker = client(account, "sagemaker")
    (run,) = sagemaker.list_pipeline_executions(PipelineName=SLUG)["PipelineExecutionSummaries"]
    given = sagemaker.list_pipeline_parameters_for_execution(
        PipelineExecutionArn=run["PipelineExecutionArn"]
    )["PipelineParameters"]
    (data,) = (each["Value"] for each in given if each["Name"] == "Data")
    home = f"{SLUG}/source/{data}/"
    found = client(account, "s3").list_objects_v2(Bucket=BUCKET, Prefix=home)["Contents"]
    sample = extended.root / "data/sample"
    there = {path.relative_to(sample).as_posix() for path in sample.rglob("*.parquet")}
    assert {each["Key"].removeprefix(home) for each in found} == there
    described = sagemaker.describe_pipeline(PipelineName=SLUG)["PipelineDefinition"]
    images = {*re.findall(r'"(?:Image|ImageUri|TrainingImage)": "([^"]+)"', described)}
    assert {image.partition("@")[0].rpartition("-")[2] for image in images} == {"serve", "train"}
    for image in images:
        registry, _, rest = image.partition("/")
        name, _, digest = rest.partition("@")
        address = f"http://{registry}/v2/{name}/manifests/{digest}"
        accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json, */*"}
        assert httpx.head(address, headers=accept, timeout=30).status_code == 200, image


def test_the_pipeline_runs_in_local_containers(said: dict[str, str]) -> None:
    shown = printed(said, "poe sagemaker-local")
    for step in ("Process", "Train", "Evaluate", "GoodEnough"):
        assert f"{step}: Succeeded" in shown


@pytest.fixture(scope="module")
def extended(_trained: Project, said: dict[str, str]) -> Project:
    """The project with the groups that the page has installed."""
    assert "poe sagemaker-local train" in said
    return _trained


def test_each_local_job_runs_by_itself(extended: Project, tmp_path: Path) -> None:
    local = f"poe sagemaker-local process --out {tmp_path}/processed"
    extended.does(local)
    for name in ("train", "validation", "test"):
        job = pl.read_parquet(tmp_path / "processed" / "windows" / name)
        stage = pl.read_parquet(extended.root / "data" / "processed" / name)
        assert job.equals(stage)
    source = tmp_path / "processed" / "windows"
    extended.does(f"poe sagemaker-local train --source {source} --out {tmp_path}/out")
    (archive,) = (tmp_path / "out").glob("trained/**/model.tar.gz")
    (tmp_path / "score.py").write_text(SCORE.format(package=extended.package.name))
    extended.does(f"python {tmp_path}/score.py {archive.parent} {source}/test")


def test_a_local_job_that_fails_says_what_its_container_said(
    extended: Project, tmp_path: Path
) -> None:
    for name in ("train", "validation"):
        (tmp_path / "windows" / name).mkdir(parents=True)
        (tmp_path / "windows" / name / "part-0.parquet").write_bytes(b"cut off")
    local = f"poe sagemaker-local train --source {tmp_path}/windows --out {tmp_path}/out"
    printed = extended.refuses(local)
    assert "not a readable parquet file" in printed
    assert re.search("^error: train: ", printed, re.MULTILINE)


def test_an_experiment_is_run_as_it_is_described(extended: Project, tmp_path: Path) -> None:
    text = (extended.root / "docs/sagemaker.md").read_text()
    (command,) = re.findall(r"^poe experiment .*?(?=^```)", text, re.MULTILINE | re.DOTALL)
    with (tmp_path / "labels.csv").open("w") as labels:
        labels.write("inference_id,late\n")
        for variant, probability in (("live", 0.5), ("challenger", 0.1)):
            hour = tmp_path / "captured" / SLUG / variant / "2026" / "11" / "25" / "20"
            hour.mkdir(parents=True)
            answer = json.dumps({"predictions": [{"probability": probability, "label": 0}]})
            output = {"observedContentType": "application/json", "data": answer, "encoding": "JSON"}
            with (hour / "1.jsonl").open("w") as captured:
                for number in range(REQUESTS):
                    about = {"eventId": "x", "inferenceId": f"{variant}-{number}"}
                    event = {"captureData": {"endpointOutput": output}, "eventMetadata": about}
                    captured.write(f"{json.dumps(event)}\n")
                    labels.write(f"{variant}-{number},{int(number % 9 == 0)}\n")
    here = command.replace("captured/", f"{tmp_path}/captured/")
    here = here.replace("labels.csv", f"{tmp_path}/labels.csv")
    assert "challenger is better" in extended.does(here)


def test_an_alarm_is_rung_by_hand_as_the_runbook_says(
    extended: Project, account: dict[str, str]
) -> None:
    text = (extended.root / "docs/runbook.md").read_text()
    (command,) = re.findall(r"^aws cloudwatch set-alarm-state .*$", text, re.MULTILINE)
    alarms, name = client(account, "cloudwatch"), f"{SLUG}-live-errors"
    compared: dict[str, Any] = {"ComparisonOperator": "GreaterThanThreshold"}
    alarms.put_metric_alarm(AlarmName=name, EvaluationPeriods=1, **compared)
    in_account(extended, account, command)
    (rings,) = alarms.describe_alarms(StateValue="ALARM")["MetricAlarms"]
    assert rings["AlarmName"] == name


def in_account(project: Project, account: dict[str, str], commands: str) -> None:
    """Run commands of AWS in the account."""
    given: dict[str, Any] = {name: account[name] for name in account if name.startswith("AWS_")}
    project.does(f"PATH={account['PATH']}:$PATH\n{commands}", SAGEMAKER_BUCKET=BUCKET, **given)


def test_nothing_is_left_to_pay_for(extended: Project, account: dict[str, str]) -> None:
    s3, registry = client(account, "s3"), client(account, "ecr")
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] > 0
    assert len(registry.describe_repositories()["repositories"]) == 2
    in_account(extended, account, left(extended))
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    assert registry.describe_repositories()["repositories"] == []
    assert client(account, "sagemaker").list_pipelines()["PipelineSummaries"] == []
    assert client(account, "sagemaker").list_endpoints()["Endpoints"] == []
