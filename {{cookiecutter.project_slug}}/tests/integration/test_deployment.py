"""The registry and the endpoint, against AWS as moto plays it, with faults at every change."""

import fnmatch
import functools
import json
import os
import pickle
import re
import shutil
import signal
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    NoCredentialsError,
    ReadTimeoutError,
)
from moto import mock_aws
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends

from {{ cookiecutter.package_name }}.deployment import aws as module
from {{ cookiecutter.package_name }}.deployment import (
    command_line,
    endpoint,
    image,
    local,
    pipeline,
    registry,
    transform,
)
from {{ cookiecutter.package_name }}.deployment.aws import Aws, AwsError
from {{ cookiecutter.package_name }}.deployment.settings import ROOT, settings
from {{ cookiecutter.package_name }}.errors import ConfigError, ProjectError

ACCOUNT = "123456789012"
REGION = "eu-central-1"
SERVERLESS = "variant.serverless={memory_mb: 2048, concurrency: 5}"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/model@sha256:{'0' * 64}"
BUCKET = "models-of-a-test"
NAME = settings([f"bucket={BUCKET}"]).name
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
GIVEN = [
    f"bucket={BUCKET}",
    *(f"roles.{name}={ROLE}-{name}" for name in ("job", "endpoint", "pipeline")),
    f"region={REGION}",
    # What these tests count on, whatever conf/deploy/aws.yaml says.
    "variant.count=2",
    "variant.serverless=null",
    "scaling.maximum=4",
    "capture_percent=20",
    "shift={kind: canary, percent: 10, wait_minutes: 10}",
    "wait_minutes=45",
]
SETTINGS = settings(GIVEN)


def refused(code: str) -> ClientError:
    """What AWS answers."""
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "Call")


@functools.cache
def moto(service: str) -> Any:
    """A client of AWS as moto plays it."""
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "testing")
    return boto3.client(service, region_name=REGION, **keys)


LONGEST = 63  # of a name of SageMaker
SIZE = {"Type": "CAPACITY_PERCENT", "Value": 20}


class Client:
    """A client of moto, which does what moto cannot, and fails when it is told to."""

    def __init__(self, service: str, faults: Callable[[str], None]) -> None:
        self._service = service
        self._client = moto(service)
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        if name == "get_paginator":
            return self._paginator
        done = updated if name == "update_endpoint" else real

        def call(**parameters: Any) -> Any:
            if name == "update_endpoint":  # botocore checks what moto does not know
                model = self._client.meta.service_model.operation_model("UpdateEndpoint")
                self._client._serializer.serialize_to_request(parameters, model)
            named = [value for key, value in parameters.items() if key in KINDS]
            assert all(len(value) <= LONGEST for value in named), named
            CALLS.append((self._service, name, parameters))
            self._faults(f"before {name}")
            answer = done(**parameters)
            if name == "describe_endpoint":  # by the next time, it has changed
                found = sagemaker_backends[ACCOUNT][REGION].endpoints[parameters["EndpointName"]]
                if found.endpoint_status == "Updating":
                    found.endpoint_status = "InService"
            self._faults(f"after {name}")
            return answer

        return call

    def _paginator(self, name: str) -> Any:
        pages = self._client.get_paginator(name)

        def paginate(**parameters: Any) -> Any:
            CALLS.append((self._service, name, parameters))
            self._faults(f"before {name}")
            found = [*pages.paginate(**parameters)]
            self._faults(f"after {name}")
            return found

        return SimpleNamespace(paginate=paginate)


def updated(
    EndpointName: str,  # noqa: N803
    EndpointConfigName: str,  # noqa: N803
    DeploymentConfig: dict[str, Any] | None = None,  # noqa: N803
) -> dict[str, Any]:
    """Do what SageMaker does in the end, and refuse what it refuses."""
    backend = sagemaker_backends[ACCOUNT][REGION]
    found = backend.endpoints[EndpointName]
    config = backend.endpoint_configs[EndpointConfigName]
    before, after = (
        {each["VariantName"] for each in described.production_variants}
        for described in (backend.endpoint_configs[found.endpoint_config_name], config)
    )
    if (DeploymentConfig and before != after) or found.endpoint_status != "InService":
        raise refused("ValidationException")
    found.endpoint_status = "Updating"
    found.endpoint_config_name = EndpointConfigName
    found.production_variants = found._process_production_variants(config.production_variants)
    return {"EndpointArn": found.arn}


CALLS: list[tuple[str, str, dict[str, Any]]] = []


def asked(name: str) -> list[dict[str, Any]]:
    """What a call was given, each time."""
    return [parameters for _, call, parameters in CALLS if call == name]


@pytest.fixture
def faults() -> list[Callable[[str], None]]:
    """What happens before and after each call."""
    return [lambda _: None]


@contextmanager
def account() -> Iterator[Aws]:
    """An account with nothing but a bucket in it."""
    CALLS.clear()
    with mock_aws():
        moto("s3").create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
        yield Aws(SETTINGS)


# Where moto keeps what is made here, a service each.
STORES: dict[str, tuple[Any, str]] = {
    "application-autoscaling": (applicationautoscaling_backends, REGION),
    "cloudwatch": (cloudwatch_backends, REGION),
    "s3": (s3_backends, "aws"),
    "sagemaker": (sagemaker_backends, REGION),
}


def kept() -> bytes:
    """Copy all that there is in the account."""
    assert {service for service, _, _ in CALLS} <= STORES.keys()
    return pickle.dumps([store[ACCOUNT][part] for store, part in STORES.values()])


def put_back(before: bytes) -> None:
    """Have in the account what there was."""
    there = pickle.loads(before)  # noqa: S301
    for (store, part), found in zip(STORES.values(), there, strict=True):
        store[ACCOUNT][part] = found


@pytest.fixture
def _clients(monkeypatch: pytest.MonkeyPatch, faults: list[Callable[[str], None]]) -> None:
    """Clients that fail when they are told to, and waiting that takes no time."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    clients = functools.cache(lambda service: Client(service, lambda at: faults[0](at)))
    monkeypatch.setattr(Aws, "_client", lambda _, service: clients(service))


@pytest.fixture
def aws(_clients: None) -> Iterator[Aws]:
    """An account; in the end, whoever deploys has to be allowed all that was called in it."""
    with account() as found:
        yield found
        for service, call, given in CALLS:
            action = acting(service, call)
            for resource in resources(service, given):
                status = given.get("ModelApprovalStatus", "")
                who = "approve" if action == "sagemaker:UpdateModelPackage" else "deploy"
                assert allows(who, action, resource, status), (action, resource)


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The reports of a pipeline, and a model, which nobody loads here."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.onnx").write_bytes(b"a model")
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    metadata |= {"git_commit": "abc", "data_sha256": "def"}
    (models / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    (tmp_path / "reports").mkdir()
    judged(tmp_path / "reports", good=True)
    (tmp_path / "reports" / "index.html").write_text("<html>", encoding="utf-8")
    return models, tmp_path / "reports"


def judged(reports: Path, *, good: bool) -> None:
    """Write what the gate has found."""
    gate = {"good": good, "failed": "" if good else "test: 0.5 < 0.6"}
    model = (reports.parent / "models" / "model.onnx").read_bytes()
    found = {"gate": gate, "model_crc32": zlib.crc32(model)}
    (reports / "metrics.json").write_text(json.dumps(found), encoding="utf-8")


def register(
    aws: Aws, made: tuple[Path, Path], commits: str = "a", *, approve: bool = True
) -> None:
    """Register a version for each commit, a letter."""
    metadata = json.loads((made[0] / "metadata.json").read_text(encoding="utf-8"))
    for commit in commits:
        text = json.dumps(metadata | {"git_commit": commit})
        (made[0] / "metadata.json").write_text(text, encoding="utf-8")
        arn = registry.register(aws, IMAGE, *made)
        if approve:
            registry.judge(aws, int(arn.rpartition("/")[2]), "Approved", "for the test")


def test_a_version_is_registered_once_and_waits_for_approval(
    aws: Aws, made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first = registry.register(aws, IMAGE, *made)
    assert registry.register(aws, IMAGE, *made) == first
    (version,) = registry.versions(aws)
    assert version.status == "PendingManualApproval"
    assert "It is version 1 already" in capsys.readouterr().out
    described = aws.read("sagemaker", "describe_model_package", ModelPackageName=first)
    assert described["CustomerMetadataProperties"]["git_commit"] == "abc"
    with pytest.raises(
        ProjectError, match="in eu-central-1: wanted an approved version, there is 1 Pending"
    ):
        endpoint.deploy(aws)
    registry.judge(aws, 1, "Approved", "good")
    registry.judge(aws, 1, "Approved", "good")
    assert "Version 1 is Approved already" in capsys.readouterr().out
    registry.judge(aws, 1, "Rejected", "bad")
    with pytest.raises(ProjectError, match="wanted version 1, approved, there is 1 Rejected"):
        endpoint.deploy(aws, {1: 1})


def test_what_cannot_be_registered_is_named(aws: Aws, made: tuple[Path, Path]) -> None:
    for name in ("model:latest", "model@sha256:1"):
        with pytest.raises(ProjectError, match=f"{name}: expected an image by digest"):
            registry.register(aws, name, *made)
    judged(made[1], good=False)
    with pytest.raises(ProjectError, match="the gate stopped this model: test: 0.5 < 0.6"):
        registry.register(aws, IMAGE, *made)
    judged(made[1], good=True)
    model = (made[0] / "model.onnx").read_bytes()
    (made[0] / "model.onnx").write_bytes(model + b" ")
    with pytest.raises(ProjectError, match="it is of another model than .*: poe pipeline"):
        registry.register(aws, IMAGE, *made)
    (made[0] / "model.onnx").write_bytes(model)
    for name in ("index.html", "metrics.json"):
        (made[1] / name).unlink()
        with pytest.raises(ProjectError, match=f"{name}: no such file"):
            registry.register(aws, IMAGE, *made)
    assert registry.versions(aws) == []


def test_a_model_is_packed_to_the_same_bytes(made: tuple[Path, Path]) -> None:
    assert registry.pack(made[0]) == registry.pack(made[0])


def test_instances_that_were_added_stay_when_a_version_follows_another(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "a")
    endpoint.deploy(aws)
    register(aws, made, "b")
    assert added(aws, 3) == 3
    endpoint.deploy(aws, {1: 9, 2: 1})
    live, challenger = asked("create_endpoint_config")[-1]["ProductionVariants"]
    assert (live["InitialInstanceCount"], challenger["InitialInstanceCount"]) == (3, 2)
    endpoint.deploy(aws, {1: 9, 2: 1})
    assert len(asked("update_endpoint")) == 1
    added(aws, 4)
    endpoint.deploy(aws, {2: 1})
    (live,) = asked("create_endpoint_config")[-1]["ProductionVariants"]
    assert live["InitialInstanceCount"] == 4


def added(aws: Aws, count: int) -> int:
    """Have so many instances of the first variant, as scaling does."""
    found = sagemaker_backends[ACCOUNT][REGION].endpoints[aws.settings.name]
    found.production_variants[0]["DesiredInstanceCount"] = count
    described = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    return int(described["ProductionVariants"][0]["DesiredInstanceCount"])


def test_versions_are_brought_out_step_by_step_and_back(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made, "a")
    endpoint.deploy(aws)
    assert endpoint.serving(aws) == {1: 1.0}
    endpoint.deploy(aws)
    assert asked("update_endpoint") == []
    register(aws, made, "b")
    register(aws, made, "c", approve=False)
    endpoint.deploy(aws)
    assert endpoint.serving(aws) == {2: 1.0}
    (shift,) = (given["DeploymentConfig"] for given in asked("update_endpoint"))
    routing = shift["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    alarms = {each["AlarmName"] for each in shift["AutoRollbackConfiguration"]["Alarms"]}
    assert alarms_there() == alarms
    assert in_production(aws) == 2
    for _ in range(2):
        endpoint.rollback(aws, 2)
        assert endpoint.serving(aws) == {1: 1.0}
        assert in_production(aws) == 1
    assert [each.status for each in registry.versions(aws)][1] == "Rejected"
    # The alarms of the bad version ring already.
    assert "AutoRollbackConfiguration" not in asked("update_endpoint")[-1]["DeploymentConfig"]


def alarms_there() -> set[str]:
    """The alarms of the account."""
    found = moto("cloudwatch").describe_alarms()
    return {each["AlarmName"] for each in found["MetricAlarms"]}


def in_production(aws: Aws) -> int:
    """The version whose model the pipeline compares new ones with."""
    bucket, name = aws.settings.bucket, aws.settings.name
    there = aws.read("s3", "get_object", Bucket=bucket, Key=f"{name}/{registry.PRODUCTION}")
    packed = there["Body"].read()
    for version in registry.versions(aws):
        found = aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)
        url = found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        key = url.removeprefix(f"s3://{bucket}/")
        if aws.read("s3", "get_object", Bucket=bucket, Key=key)["Body"].read() == packed:
            return version.number
    raise AssertionError("no version has this model")


def test_a_damaged_model_in_production_is_put_there_again(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made)
    for _ in range(2):
        registry.promote(aws, 1)
    (copied,) = asked("copy_object")
    place = {"Bucket": BUCKET, "Key": copied["Key"]}
    moto("s3").put_object(**place, Body=b"cut off", Metadata=copied["Metadata"])
    registry.main(["promote", "1", *TYPED])
    assert in_production(aws) == 1


def test_two_versions_share_the_requests(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 1})
    endpoint.deploy(aws, {1: 90, 2: 10})
    assert endpoint.variants(aws) == {"live": (1, 90), "challenger": (2, 10)}
    # SageMaker shifts no requests to a variant that was not there.
    assert "DeploymentConfig" not in asked("update_endpoint")[0]
    config = asked("create_endpoint_config")[-1]
    assert config["DataCaptureConfig"]["InitialSamplingPercentage"] == 20
    assert config["DataCaptureConfig"]["DestinationS3Uri"].endswith("/captured/v1-v2")
    assert in_production(aws) == 1
    endpoint.weigh(aws, {1: 40, 2: 60})
    assert endpoint.serving(aws) == {1: 40, 2: 60}
    assert in_production(aws) == 2
    with pytest.raises(ProjectError, match="serves 1, 2: give each of them a share"):
        endpoint.weigh(aws, {1: 50})
    endpoint.rollback(aws, 2)
    assert endpoint.serving(aws) == {1: 1}


def test_a_version_in_the_shadow_gets_a_copy_of_the_requests(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 7}, shadow=2)
    (config,) = asked("create_endpoint_config")
    (live,), (shadow,) = config["ProductionVariants"], config["ShadowProductionVariants"]
    assert shadow["VariantName"] == "shadow"
    assert shadow["InitialVariantWeight"] == live["InitialVariantWeight"]
    # Its answers are no answers to an A/B test of the same versions.
    captured = config["DataCaptureConfig"]["DestinationS3Uri"]
    endpoint.deploy(aws, {1: 1, 2: 1})
    apart = asked("create_endpoint_config")[-1]["DataCaptureConfig"]["DestinationS3Uri"]
    assert (captured.rpartition("/")[2], apart.rpartition("/")[2]) == ("v1-shadow-v2", "v1-v2")


def test_a_shadow_is_part_of_the_status(
    aws: Aws, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    read = Aws.read

    def answered(self: Aws, service: str, call: str, **parameters: Any) -> Any:
        answer = read(self, service, call, **parameters)
        # moto keeps no shadow.
        shadow = {"ShadowProductionVariants": [{"VariantName": "shadow"}]}
        return answer | shadow if call == "describe_endpoint" else answer

    monkeypatch.setattr(Aws, "read", answered)
    assert [*endpoint.status(aws)][-1] == "shadow: gets a copy of the requests"


@pytest.mark.parametrize(("split", "shadow"), [({3: 9, 1: 1}, None), ({3: 1}, 1)])
def test_most_requests_go_to_a_new_version_step_by_step_alone(
    aws: Aws, made: tuple[Path, Path], split: dict[int, int], shadow: int | None
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws, {2: 1})
    there = everything(aws)
    with pytest.raises(ProjectError, match=r"serves 2: poe endpoint deploy 3 first, or --at-once"):
        endpoint.deploy(aws, split, shadow)
    assert everything(aws) == there
    endpoint.deploy(aws, {3: 1})
    endpoint.deploy(aws, split, shadow)
    endpoint.deploy(aws, {2: 1}, at_once=True)
    assert endpoint.serving(aws) == {2: 1}


def test_in_one_step_no_alarm_brings_the_old_version_back(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 1})
    endpoint.main(["deploy", "2", "--at-once", *TYPED])
    (update,) = asked("update_endpoint")
    assert "AutoRollbackConfiguration" not in update["DeploymentConfig"]
    routing = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"


def test_a_rollback_of_a_version_that_was_rejected_goes_no_further_back_again(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws)
    registry.judge(aws, 3, "Rejected", "quality fell")
    for _ in range(2):
        endpoint.rollback(aws, 3)
        assert endpoint.serving(aws) == {2: 1}
    newest, *_ = registry.versions(aws)
    assert registry.note(aws, newest) == "quality fell"
    with pytest.raises(ProjectError, match="wanted version 9, there is 3 Rejected"):
        endpoint.rollback(aws, 9)


@pytest.mark.parametrize(
    ("split", "shadow"),
    [({3: 1}, None), ({2: 9, 3: 1}, None), ({2: 2}, 3)],
    ids=["live", "challenger", "shadow"],
)
def test_a_rollback_after_one_by_an_alarm_rejects_no_good_version(
    aws: Aws,
    made: tuple[Path, Path],
    faults: list[Callable[[str], None]],
    split: dict[int, int],
    shadow: int | None,
) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws)
    register(aws, made, "c")
    faults[0] = alarm_rings(aws)
    with pytest.raises(AwsError, match="went back to version 2: "):
        endpoint.deploy(aws, split, shadow)
    for _ in range(2):
        endpoint.rollback(aws, 3)
        assert endpoint.serving(aws) == {2: 1}
    assert [each.status for each in registry.versions(aws)] == ["Rejected", "Approved", "Approved"]


def test_a_rollback_rejects_though_the_endpoint_is_broken_or_gone(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws)
    sagemaker_backends[ACCOUNT][REGION].endpoints[NAME].endpoint_status = "UpdateRollbackFailed"
    with pytest.raises(AwsError, match="poe endpoint delete, then deploy again"):
        endpoint.rollback(aws, 3)
    endpoint.delete(aws)
    with pytest.raises(ProjectError, match="no such endpoint"):
        endpoint.rollback(aws, 2)
    assert [each.status for each in registry.versions(aws)] == ["Rejected", "Rejected", "Approved"]


def test_a_rollback_of_a_version_that_does_not_serve_leaves_those_that_do(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws, {1: 9, 2: 1})
    endpoint.rollback(aws, 3)
    assert endpoint.serving(aws) == {1: 9, 2: 1}
    assert [each.status for each in registry.versions(aws)] == ["Rejected", "Approved", "Approved"]


def test_a_rollback_to_a_version_that_does_not_start_can_go_further(
    aws: Aws, made: tuple[Path, Path], faults: list[Callable[[str], None]]
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws)
    alarm = {"AlarmName": f"{NAME}-live-errors", "StateReason": "version 3 is bad"}
    moto("cloudwatch").set_alarm_state(**alarm, StateValue="ALARM")
    faults[0] = alarm_rings(aws)
    said = "version 3: SageMaker gives no reason: if version 2 is the cause, .* rollback 2"
    with pytest.raises(AwsError, match=said):
        endpoint.rollback(aws, 3)
    endpoint.rollback(aws, 2)
    assert endpoint.serving(aws) == {3: 1}
    endpoint.rollback(aws, 3)
    assert endpoint.serving(aws) == {1: 1}


def alarm_rings(aws: Aws) -> Callable[[str], None]:
    """Have the next update end with the versions that serve now."""
    before = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    ringing = [True]

    def back(at: str) -> None:
        if at == "after update_endpoint" and ringing:
            ringing.clear()
            found = sagemaker_backends[ACCOUNT][REGION].endpoints[NAME]
            found.endpoint_config_name = before["EndpointConfigName"]
            found.production_variants = before["ProductionVariants"]

    return back


def test_a_second_call_changes_nothing_from_another_time_zone(
    aws: Aws, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    there, versions = everything(aws), registry.versions
    away = timezone(timedelta(hours=-8))
    monkeypatch.setattr(
        registry,
        "versions",
        lambda aws: [
            each._replace(created=each.created.astimezone(away)) for each in versions(aws)
        ],
    )
    endpoint.deploy(aws)
    assert everything(aws) == there


def test_an_endpoint_that_was_made_otherwise_is_left_alone(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made)
    sagemaker = moto("sagemaker")
    variant = {"VariantName": "all", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_model(ModelName=f"{NAME}-by-hand", PrimaryContainer={"Image": IMAGE})
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{NAME}-by-hand",
        ProductionVariants=[variant | {"ModelName": f"{NAME}-by-hand"}],
    )
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-by-hand")
    for command in (
        endpoint.deploy,
        functools.partial(endpoint.deploy, at_once=True),
        functools.partial(endpoint.rollback, number=1),
        lambda aws: [*endpoint.status(aws)],
    ):
        with pytest.raises(ProjectError, match="its variant all is not of poe endpoint deploy"):
            command(aws)
    assert asked("update_endpoint") == []


def test_shares_go_to_approved_versions_alone_and_are_looked_at(
    aws: Aws, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 9, 2: 1})
    change = Aws.change
    taken = "update_endpoint_weights_and_capacities"
    monkeypatch.setattr(
        Aws, "change", lambda self, *to, **what: taken in to or change(self, *to, **what)
    )
    with pytest.raises(AwsError, match="keeps its shares: see poe endpoint status"):
        endpoint.weigh(aws, {1: 1, 2: 9})
    assert in_production(aws) == 1
    registry.judge(aws, 2, "Rejected", "bad")
    with pytest.raises(ProjectError, match="wanted version 2, approved"):
        endpoint.weigh(aws, {1: 1, 2: 9})
    assert asked(taken) == []


@pytest.mark.parametrize(("bad", "good"), [(3, 1), (1, 3)])
def test_a_rollback_prefers_the_version_that_serves_beside(
    aws: Aws, made: tuple[Path, Path], bad: int, good: int
) -> None:
    register(aws, made, "abc")
    endpoint.deploy(aws, {1: 9, 3: 1})
    for _ in range(2):
        endpoint.rollback(aws, bad)
        assert endpoint.serving(aws) == {good: 1}
        assert in_production(aws) == good
    states = {each.number: each.status for each in registry.versions(aws)}
    assert states == {good: "Approved", 2: "Approved", bad: "Rejected"}


@pytest.mark.parametrize(
    ("split", "shadow", "override", "said"),
    [
        ({1: 1, 2: 1, 3: 1}, None, "region=eu-central-1", "3 versions: expected one, or two"),
        ({1: 1, 2: 1}, 3, "region=eu-central-1", "--shadow 3: expected one version beside it"),
        ({1: 1}, 2, SERVERLESS, "a serverless endpoint has one version"),
        ({1: 1}, 1, "region=eu-central-1", "--shadow 1: it serves already"),
        ({1: 1, 2: 1}, None, SERVERLESS, "a serverless endpoint has one version"),
    ],
)
def test_versions_that_cannot_serve_together_are_refused(
    aws: Aws, split: dict[int, int], shadow: int | None, override: str, said: str
) -> None:
    with pytest.raises(ProjectError, match=said):
        endpoint.deploy(other(aws, override), split, shadow)
    assert CALLS == []


@pytest.mark.parametrize("state", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_takes_no_change_is_to_be_deleted(
    aws: Aws, made: tuple[Path, Path], state: str
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    sagemaker_backends[ACCOUNT][REGION].endpoints[aws.settings.name].endpoint_status = state
    with pytest.raises(AwsError, match=f"is {state}: .*: poe endpoint delete, then deploy again"):
        endpoint.deploy(aws)
    endpoint.delete(aws)
    endpoint.deploy(aws)


def test_an_endpoint_is_deleted_however_its_change_ends(
    aws: Aws, made: tuple[Path, Path], faults: list[Callable[[str], None]]
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    found = sagemaker_backends[ACCOUNT][REGION].endpoints[NAME]
    found.endpoint_status = "Creating"

    def fail(at: str) -> None:
        if at == "after describe_endpoint":
            found.endpoint_status = "Failed"

    faults[0] = fail
    endpoint.delete(aws)
    assert moto("sagemaker").list_endpoints()["Endpoints"] == []


def test_a_dry_run_shows_what_it_would_change_and_changes_nothing(
    aws: Aws, made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    dry = Aws(aws.settings, dry_run=True)
    registry.register(dry, IMAGE, *made)
    assert "would sagemaker create_model_package " in capsys.readouterr().out
    assert registry.versions(aws) == []
    register(aws, made)
    capsys.readouterr()
    endpoint.deploy(dry)
    shown = capsys.readouterr().out
    for call in ("create_model ", "create_endpoint_config ", "create_endpoint "):
        assert f"would sagemaker {call}" in shown
    with pytest.raises(ProjectError, match="no such endpoint"):
        endpoint.serving(aws)


def test_a_file_is_scored_once_and_again_when_it_has_changed(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made)
    home = f"s3://{BUCKET}/{NAME}/transform"
    source, target = f"{home}/in.jsonl", f"{home}/out"
    for wrong in ((f"s3://{BUCKET}/in.jsonl", target), (source, f"s3://{BUCKET}/out")):
        with pytest.raises(ProjectError, match=f"expected an address below {home}/"):
            transform.transform(aws, None, *wrong)
    with pytest.raises(ProjectError, match=r"in\.parquet: expected a file \.jsonl or \.csv"):
        transform.transform(aws, None, f"{home}/in.parquet", target)
    with pytest.raises(ProjectError, match=r"in\.jsonl: no such file"):
        transform.transform(aws, None, source, target)
    for body, jobs in ((b"1", 1), (b"1", 1), (b"2", 2)):
        key = f"{NAME}/transform/in.jsonl"
        aws.change("s3", "put_object", Bucket=BUCKET, Key=key, Body=body)
        transform.transform(aws, None, source, target)
        assert len(asked("create_transform_job")) == jobs
    with pytest.raises(ProjectError, match="holds the source: give another folder"):
        transform.transform(aws, None, source, f"{home}/")
    key = f"{NAME}/transform/in.jsonl.bak"
    moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
    with pytest.raises(ProjectError, match=r"in\.jsonl\.bak begins with the same name"):
        transform.transform(aws, None, source, target)
    moto("s3").delete_object(Bucket=BUCKET, Key=key)
    *_, second = sagemaker_backends[ACCOUNT][REGION].transform_jobs.values()
    second.transform_job_status = "Failed"
    transform.transform(aws, None, source, target)
    assert len(asked("create_transform_job")) == 3


@pytest.mark.parametrize(
    "header", [b"\r\ncarrier,dest", b'"carrier","dest"', b"\xef\xbb\xbfcarrier", b",carrier"]
)
def test_a_csv_file_with_a_header_is_not_scored(
    aws: Aws, made: tuple[Path, Path], header: bytes
) -> None:
    register(aws, made)
    home = f"s3://{BUCKET}/{NAME}/transform"
    place = {"Bucket": BUCKET, "Key": f"{NAME}/transform/in.csv"}
    moto("s3").put_object(**place, Body=header + b"\r\nAA,12\r\n" * 10_000)
    with pytest.raises(ProjectError, match=r"in\.csv: the first line is a header, ,?carrier"):
        transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")
    assert asked("create_transform_job") == []
    for number, words in enumerate((b"2013-07-04T17:00:00,AA,,LAX", b"AA,LAX"), 1):
        moto("s3").put_object(**place, Body=words + b"\r\nAB,LAX")
        transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")
        assert len(asked("create_transform_job")) == number


def test_nothing_is_paid_for_after_a_delete(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    for _ in range(2):
        endpoint.delete(aws)
    assert moto("sagemaker").list_endpoints()["Endpoints"] == []
    assert alarms_there() == set()
    assert len(registry.versions(aws)) == 1


READS = ("describe_", "get_", "head_", "list_")
FAULTS = [
    ("before", refused("ThrottlingException")),
    ("after", ConnectionClosedError(endpoint_url="https://aws.example")),
]


Step = Callable[[Aws, tuple[Path, Path]], object]


def nothing(aws: Aws, made: tuple[Path, Path]) -> None:
    """Nothing yet."""


def first(aws: Aws, made: tuple[Path, Path]) -> None:
    """One version that is approved."""
    register(aws, made, "a")


def second(aws: Aws, made: tuple[Path, Path]) -> None:
    """One version that serves, and another."""
    first(aws, made)
    endpoint.deploy(aws)
    register(aws, made, "b")


def both(aws: Aws, made: tuple[Path, Path]) -> None:
    """Two versions that serve."""
    second(aws, made)
    endpoint.deploy(aws, {1: 1, 2: 1})


def stored(aws: Aws, made: tuple[Path, Path]) -> None:
    """A version, and a file to score."""
    first(aws, made)
    key = f"{NAME}/transform/in.csv"
    moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")


def described(aws: Aws, made: tuple[Path, Path]) -> None:
    """A pipeline of another commit."""
    pipeline.deploy(aws, DEFINITION)
    (found,) = sagemaker_backends[ACCOUNT][REGION].pipelines.values()
    tags = [{"Key": "git_commit", "Value": "another"}]
    moto("sagemaker").add_tags(ResourceArn=found.arn, Tags=tags)


def tables(made: tuple[Path, Path]) -> Path:
    """A folder with source tables."""
    folder = made[0].parent / "tables"
    folder.mkdir(exist_ok=True)
    for name in ("flights.csv", "planes.csv"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def scored(aws: Aws) -> None:
    """Score that file."""
    home = f"s3://{BUCKET}/{NAME}/transform"
    transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")


COMMANDS = pytest.mark.parametrize(
    ("before", "command"),
    [
        (nothing, lambda aws, made: registry.register(aws, IMAGE, *made)),
        (first, lambda aws, _: registry.promote(aws, 1)),
        (first, lambda aws, _: endpoint.deploy(aws)),
        (second, lambda aws, _: endpoint.deploy(aws, {2: 1})),
        (second, lambda aws, _: endpoint.deploy(aws, {1: 9, 2: 1})),
        (second, lambda aws, _: endpoint.deploy(aws, {1: 1}, shadow=2)),
        (both, lambda aws, _: endpoint.deploy(aws, {1: 1})),
        (both, lambda aws, _: endpoint.weigh(aws, {1: 1, 2: 3})),
        (both, lambda aws, _: endpoint.rollback(aws, 2)),
        (second, lambda aws, _: endpoint.delete(aws)),
        (stored, lambda aws, _: scored(aws)),
        (nothing, lambda aws, _: pipeline.deploy(aws, DEFINITION)),
        (
            described,
            lambda aws, _: pipeline.deploy(aws, DEFINITION | {"Steps": [{"Name": "Train"}]}),
        ),
        (described, lambda aws, made: pipeline.start(aws, str(tables(made)), {"Seed": "1"})),
    ],
    ids=[
        "register",
        "promote",
        "first",
        "next",
        "two",
        "shadow",
        "one",
        "weights",
        "rollback",
        "delete",
        "transform",
        "made",
        "changed",
        "run",
    ],
)


BEGUN: dict[Step, bytes] = {}


def begin(before: Step, aws: Aws, made: tuple[Path, Path]) -> None:
    """Have in the account what a command begins with, and no call counted."""
    if before not in BEGUN:
        before(aws, made)
        BEGUN[before] = kept()
    put_back(BEGUN[before])
    CALLS.clear()


@COMMANDS
def test_a_dry_run_changes_nothing(
    aws: Aws,
    made: tuple[Path, Path],
    before: Step,
    command: Step,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before(aws, made)
    there = everything(aws)
    capsys.readouterr()
    command(Aws(aws.settings, dry_run=True), made)
    assert re.search("^(would |[+])", capsys.readouterr().out, re.MULTILINE)
    assert everything(aws) == there


@pytest.mark.usefixtures("_clients")
@pytest.mark.parametrize(("moment", "fault"), FAULTS, ids=["refused", "unheard"])
@COMMANDS
def test_whatever_fails_at_any_change_the_next_run_goes_on(
    made: tuple[Path, Path],
    faults: list[Callable[[str], None]],
    before: Step,
    command: Step,
    moment: str,
    fault: Exception,
) -> None:
    failed: list[tuple[str, str, Any]] = []

    def fail(at: str) -> None:
        call = CALLS[-1]
        if at.startswith(moment) and not call[1].startswith(READS) and call not in failed:
            failed.append(call)
            raise fault

    with account() as aws:
        begin(before, aws, made)
        command(aws, made)
        wanted = {call for _, call, _ in CALLS if not call.startswith(READS)}
        undisturbed = everything(aws)
        begin(before, aws, made)
        faults[0] = fail
        # Each run ends at a change that has not failed before.
        for _ in range(100):
            before_it = len(failed)
            try:
                command(aws, made)
                break
            except AwsError:
                assert len(failed) > before_it
        faults[0] = lambda _: None
        assert everything(aws) == undisturbed
    assert {call for _, call, _ in failed} >= wanted > set()


@pytest.mark.usefixtures("_clients")
@COMMANDS
def test_after_a_kill_at_any_change_one_run_makes_all_the_rest(
    made: tuple[Path, Path],
    faults: list[Callable[[str], None]],
    before: Step,
    command: Step,
) -> None:
    left: list[bytes] = []

    def changed(at: str) -> None:
        moment, _, call = at.partition(" ")
        if moment == "after" and not call.startswith(READS):
            left.append(kept())

    with account() as aws:
        begin(before, aws, made)
        faults[0] = changed
        command(aws, made)
        faults[0] = lambda _: None
        undisturbed = everything(aws)
        assert left
        for there in left:
            put_back(there)
            command(aws, made)
            assert everything(aws) == undisturbed


def everything(aws: Aws) -> dict[str, Any]:
    """What there is in the account."""
    sagemaker = sagemaker_backends[ACCOUNT][REGION]
    listed = moto("s3").list_objects_v2(Bucket=BUCKET)
    return {
        "serving": endpoint.variants(aws) if sagemaker.endpoints else {},
        "configurations": len(sagemaker.endpoint_configs),
        "models": len(sagemaker._models),
        "jobs": len(sagemaker.transform_jobs),
        "pipelines": [each.pipeline_definition for each in sagemaker.pipelines.values()],
        # moto keeps the value of a tag beside the one before.
        "tags": [
            {tag["Key"]: tag["Value"] for tag in each.tags} for each in sagemaker.pipelines.values()
        ],
        "versions": [(each.number, each.status) for each in registry.versions(aws)],
        "scaled": scaled(aws),
        "alarms": alarms_there(),
        "objects": {each["Key"]: each["ETag"] for each in listed.get("Contents", [])},
    }


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (NoCredentialsError(), "no credentials: sign in"),
        (refused("AccessDeniedException"), "let the role that you use do this"),
        (refused("403"), "let the role that you use do this"),
        (refused("301"), "the bucket lies in another region"),
        (refused("NoSuchBucket"), "make the bucket"),
        (refused("ResourceLimitExceeded"), "ask for more under Service Quotas"),
        (refused("ExpiredTokenException"), "sign in again"),
        (ReadTimeoutError(endpoint_url="https://x"), "no answer from AWS in eu-central-1"),
        (refused("Other"), "see the console of SageMaker in eu-central-1"),
    ],
)
def test_a_refusal_says_what_to_do(
    aws: Aws, faults: list[Callable[[str], None]], fault: Exception, said: str
) -> None:
    def fail(_: str) -> None:
        raise fault

    faults[0] = fail
    with pytest.raises(AwsError, match=said):
        registry.versions(aws)


def test_an_upload_that_is_refused_is_told(
    aws: Aws, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "boto3.s3.transfer.S3Transfer.upload_file",
        refusing(S3UploadFailedError("Failed: (AccessDenied)")),
    )
    with pytest.raises(
        AwsError, match="upload_file: Failed: .*: let the role that you use do this"
    ):
        pipeline.upload(aws, source)


def refusing(fault: Exception) -> Callable[..., None]:
    """A function that raises."""

    def fail(*_: Any, **__: Any) -> None:
        raise fault

    return fail


def test_waiting_ends_with_the_reason_or_at_the_limit(
    aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([("Creating", ""), ("Creating", ""), ("InService", "")])
    aws.wait("endpoint x", lambda: next(states), "InService")
    assert capsys.readouterr().out == "endpoint x: Creating\nendpoint x: InService\n"
    with pytest.raises(AwsError, match="endpoint x is Failed: no capacity"):
        aws.wait("endpoint x", lambda: ("Failed", "no capacity"), "InService")
    capsys.readouterr()
    monkeypatch.setattr("time.monotonic", iter([0.0, 1.0, 200.0, 420.0, 425.0]).__next__)
    states = iter([*3 * [("Updating", "")], ("InService", "")])
    aws.wait("endpoint x", lambda: next(states), "InService")
    said = "endpoint x: Updating\nendpoint x: Updating, 7 minutes\nendpoint x: InService\n"
    assert capsys.readouterr().out == said
    monkeypatch.setattr("time.monotonic", iter([0.0, 10000.0]).__next__)
    with pytest.raises(AwsError, match="still Creating after 45 minutes: run the command again"):
        aws.wait("endpoint x", lambda: ("Creating", ""), "InService")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["bucket=''"], "missing: set the variable SAGEMAKER_BUCKET"),
        (["roles.job=late"], "roles.job=late"),
        (["shift.kind=slow"], "shift.kind=slow"),
        (["counts=1"], "counts=1: no such key"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(given: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings([*GIVEN, *given])


TYPED = [word for each in GIVEN for word in ("--set", each)]


def test_a_version_is_registered_and_approved_by_command(
    aws: Aws,
    made: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(registry, "ROOT", made[0].parent)
    registry.main(["register", IMAGE, *TYPED])
    registry.main(["approve", "1", "--note", "good", *TYPED])
    (approved,) = asked("update_model_package")
    assert approved["ApprovalDescription"] == "good"
    capsys.readouterr()
    registry.main(["list", *TYPED])
    number, state, *_, folder = capsys.readouterr().out.split()
    assert (number, state) == ("1", "Approved")
    there = {f"s3://{BUCKET}/{given['Key']}" for given in asked("put_object")}
    assert {f"{folder}/index.html", f"{folder}/metrics.json"} <= there
    registry.main(["promote", "1", *TYPED])
    assert in_production(aws) == 1


def test_an_endpoint_is_made_weighed_and_deleted_by_command(
    aws: Aws, made: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    register(aws, made, "ab")
    endpoint.main(["deploy", "1", *TYPED])
    with pytest.raises(ProjectError, match="serves one version, which gets all requests"):
        endpoint.main(["weights", "1=2", *TYPED])
    endpoint.main(["deploy", "1=9", "2=1", *TYPED])
    endpoint.main(["weights", "1=2", "2=3", *TYPED])
    capsys.readouterr()
    endpoint.main(["status", *TYPED])
    lines = ["InService", "live: version 1, weight 2", "challenger: version 2, weight 3"]
    assert capsys.readouterr().out.splitlines() == lines
    endpoint.main(["deploy", "1", "--shadow", "2", *TYPED])
    (shadow,) = asked("create_endpoint_config")[-1]["ShadowProductionVariants"]
    assert "-v2-" in shadow["ModelName"]
    endpoint.main(["delete", *TYPED])
    with pytest.raises(ProjectError, match="no such endpoint"):
        endpoint.main(["status", *TYPED])


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (["newest"], "newest: expected VERSION=SHARE, such as 3=90"),
        (["3=most"], "3=most: expected VERSION=SHARE, such as 3=90"),
        (["3=90", "3=10"], "a version is given twice"),
        (["3=0", "4=0"], "no version gets a request"),
    ],
)
def test_shares_that_cannot_be_are_refused(
    aws: Aws, split: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ProjectError, SystemExit)) as caught:
        endpoint.main(["deploy", *split, *TYPED])
    assert said in f"{caught.value} {capsys.readouterr().err}"
    assert CALLS == []


def test_a_csv_file_is_scored_by_command(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made, "ab")
    aws.change("s3", "put_object", Bucket=BUCKET, Key=f"{NAME}/transform/in.csv", Body=b"1")
    source, target = (f"s3://{BUCKET}/{NAME}/transform/{each}" for each in ("in.csv", "out"))
    endpoint.main(["transform", source, target, "--version", "1", *TYPED])
    (job,) = asked("create_transform_job")
    assert job["TransformInput"]["ContentType"] == "text/csv"
    assert "-v1-" in job["ModelName"]


def test_a_mistake_ends_a_command_with_one_line(
    aws: Aws, made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    monkeypatch.setattr("sys.argv", ["endpoint", "rollback", "1", *TYPED])
    with pytest.raises(SystemExit, match="^error: .* no version before it is approved$"):
        command_line.run(endpoint.main)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("canary", {"CanarySize": SIZE, "Type": "CANARY", "WaitIntervalInSeconds": 480}),
        ("linear", {"LinearStepSize": SIZE, "Type": "LINEAR", "WaitIntervalInSeconds": 480}),
        ("all_at_once", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}),
    ],
)
def test_requests_go_over_as_the_settings_say(
    aws: Aws, made: tuple[Path, Path], kind: str, expected: dict[str, Any]
) -> None:
    register(aws, made, "a")
    endpoint.deploy(aws)
    register(aws, made, "b")
    endpoint.deploy(other(aws, "shift={kind: " + kind + ", percent: 20, wait_minutes: 8}"))
    (update,) = asked("update_endpoint")
    policy = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == expected
    assert policy["TerminationWaitInSeconds"] == 300


def test_alarms_and_scaling_are_as_the_settings_say(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made)
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:late"
    given = ["alarms.latency_ms=150", "alarms.errors_per_minute=7", f"alarms.topic='{topic}'"]
    endpoint.deploy(other(aws, *given, "scaling={maximum: 5, requests_per_minute: 900}"))
    errors, latency = asked("put_metric_alarm")
    alike = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [
            {"Name": "EndpointName", "Value": NAME},
            {"Name": "VariantName", "Value": "live"},
        ],
        "Period": 60,
        "EvaluationPeriods": 2,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [topic],
    }
    assert errors == alike | {
        "AlarmName": f"{NAME}-live-errors",
        "MetricName": "Invocation5XXErrors",
        "Statistic": "Sum",
        "Threshold": 7,
    }
    assert latency == alike | {
        "AlarmName": f"{NAME}-live-latency",
        "MetricName": "ModelLatency",  # in microseconds
        "ExtendedStatistic": "p99",
        "Threshold": 150_000,
    }
    (target,), (policy,) = asked("register_scalable_target"), asked("put_scaling_policy")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 5)
    followed = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    assert followed == {"TargetValue": 900.0, "PredefinedMetricSpecification": metric}


def test_an_endpoint_can_do_without_servers_of_its_own(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made)
    endpoint.deploy(other(aws, SERVERLESS))
    (config,) = asked("create_endpoint_config")
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "DataCaptureConfig" not in config
    assert asked("register_scalable_target") == []


def test_an_endpoint_does_not_lose_its_servers_while_it_serves(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    with pytest.raises(ProjectError, match="poe endpoint delete, then deploy"):
        endpoint.deploy(other(aws, SERVERLESS))
    assert scaled(aws) == ["live"]
    endpoint.delete(aws)
    endpoint.deploy(other(aws, SERVERLESS))


def test_one_instance_is_not_shifted_in_parts(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made, "ab")
    one = other(aws, "variant.count=1")
    endpoint.deploy(one, {1: 1})
    endpoint.deploy(one, {2: 1})
    (update,) = asked("update_endpoint")
    policy = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


def test_shares_that_were_changed_are_set_again(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 9, 2: 1})
    endpoint.weigh(aws, {1: 1, 2: 9})
    endpoint.deploy(aws, {1: 9, 2: 1})
    assert endpoint.serving(aws) == {1: 9, 2: 1}
    assert in_production(aws) == 1


def test_a_model_made_for_another_role_is_made_anew(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    endpoint.deploy(other(aws, f"roles.endpoint={ROLE}-other"))
    assert [each["ExecutionRoleArn"][-5:] for each in asked("create_model")] == ["point", "other"]


@pytest.mark.usefixtures("_clients")
def test_what_is_named_here_is_short_enough_for_sagemaker(made: tuple[Path, Path]) -> None:
    with account() as aws:
        long = other(aws, f"name={'n' * 48}")
        register(long, made, "ab")
        endpoint.deploy(long, {1: 9, 2: 1})
        key = f"{'n' * 48}/transform/1.csv"
        moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
        transform.transform(long, 1, f"s3://{BUCKET}/{key}", f"s3://{BUCKET}/{key}/out")


def test_machines_are_of_a_kind_that_sagemaker_knows() -> None:
    shapes = moto("sagemaker").meta.service_model
    for machine, shape in (
        (SETTINGS.jobs.type, "ProcessingInstanceType"),
        (SETTINGS.jobs.type, "TrainingInstanceType"),
        (SETTINGS.transform.type, "TransformInstanceType"),
        (SETTINGS.variant.type, "ProductionVariantInstanceType"),
    ):
        assert machine in shapes.shape_for(shape).enum, shape


def other(aws: Aws, *overrides: str) -> Aws:
    """The same account with other settings."""
    return Aws(settings([*GIVEN, *overrides]))


def test_an_alarm_during_a_shift_is_told(
    aws: Aws, made: tuple[Path, Path], faults: list[Callable[[str], None]]
) -> None:
    register(aws, made, "a")
    endpoint.deploy(aws)
    register(aws, made, "b")
    faults[0] = alarm_rings(aws)
    with pytest.raises(AwsError, match="went back to version 1: .*: if version 2 is the cause"):
        endpoint.deploy(aws)
    assert endpoint.serving(aws) == {1: 1.0}
    assert scaled(aws) == ["live"]


def scaled(aws: Aws) -> list[str]:
    """The variants to which instances are added."""
    found = aws.every(
        "application-autoscaling",
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="sagemaker",
    )
    return [each["ResourceId"].rpartition("/")[2] for each in found]


def test_a_version_that_follows_another_is_scaled_all_the_time(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made, "a")
    endpoint.deploy(aws)
    register(aws, made, "b")
    endpoint.deploy(aws)
    assert asked("deregister_scalable_target") == []
    endpoint.deploy(other(aws, "variant.type=ml.c5.xlarge"))
    (gone,) = asked("deregister_scalable_target")
    assert gone["ResourceId"] == f"endpoint/{NAME}/variant/live"
    assert scaled(aws) == ["live"]


def test_an_update_that_is_refused_leaves_the_scaling(
    aws: Aws, made: tuple[Path, Path], faults: list[Callable[[str], None]]
) -> None:
    register(aws, made, "ab")
    endpoint.deploy(aws, {1: 1, 2: 1})

    def fail(at: str) -> None:
        if at == "before update_endpoint":
            raise refused("ResourceLimitExceeded")

    faults[0] = fail
    with pytest.raises(AwsError, match="ask for more under Service Quotas"):
        endpoint.deploy(aws)
    assert len(asked("deregister_scalable_target")) == 1
    assert scaled(aws) == ["live", "challenger"]


def test_a_client_is_made_once_and_for_the_region() -> None:
    asking = Aws(SETTINGS)
    client = asking._client("sagemaker")
    assert client.meta.region_name == REGION
    assert asking._client("sagemaker") is client


# What a call needs, where its name does not say it.
NEEDS = {
    "s3:CopyObject": "s3:PutObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:UploadFile": "s3:PutObject",
    "s3:DownloadFile": "s3:GetObject",
}
# What AWS does for a call with the rights of who calls, and what people do.
BESIDES = {"cloudwatch:SetAlarmState", "iam:CreateServiceLinkedRole", "iam:PassRole"}
BESIDES |= {"cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "sagemaker:DescribeTrainingJob"}
BY_HAND = ("ecr:", "logs:")
KINDS = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "ModelPackageGroupName": "model-package-group",
    "PipelineName": "pipeline",
    "ProcessingJobName": "processing-job",
    "TransformJobName": "transform-job",
}


def allows(file: str, action: str, resource: str, status: str = "") -> bool:
    """Whether a policy allows this in the account of these tests, to a version of this status."""
    text = (ROOT / "docs" / "iam" / f"{file}.json").read_text(encoding="utf-8")
    text = re.sub(r"arn:aws:s3:::[^/\"]+", f"arn:aws:s3:::{BUCKET}", text)
    text = re.sub(r"(arn:aws:[a-z-]+):[a-z]+-[a-z-]+-\d:", rf"\1:{REGION}:", text)
    return any(
        action in listed(each["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(each["Resource"]))
        and each["Effect"] == "Allow"
        and approval(each) in (None, status)
        for each in json.loads(text)["Statement"]
    )


def approval(statement: dict[str, Any]) -> str | None:
    """The status that a statement is limited to."""
    equal = statement.get("Condition", {}).get("StringEquals", {})
    found: str | None = equal.get("sagemaker:ModelApprovalStatus")
    return found


def listed(found: str | list[str]) -> list[str]:
    """A text, or a list of them, as a list."""
    return [found] if isinstance(found, str) else found


def resources(service: str, given: dict[str, Any]) -> list[str]:
    """What a call is about, as its parameters say."""
    here = f"arn:aws:{service}:{REGION}:{ACCOUNT}"
    if service == "s3":
        key = f"/{given['Key']}" if "Key" in given else ""
        return [f"arn:aws:s3:::{given['Bucket']}{key}"]
    if service == "cloudwatch":
        names = given.get("AlarmNames") or [given["AlarmName"]]
        return [f"{here}:alarm:{name}" for name in names]
    if service == "application-autoscaling":
        return [f"{here}:scalable-target/1" if "ResourceId" in given else "*"]
    named = ("ModelPackageArn", "ModelPackageName", "PipelineExecutionArn", "ResourceArn")
    made = [f"{here}:{kind}/{given[key]}" for key, kind in KINDS.items() if key in given]
    return [given[key] for key in named if key in given] or made or ["*"]


def acting(service: str, call: str) -> str:
    """The action that a call needs."""
    action = f"{service}:{call.title().replace('_', '')}"
    return NEEDS.get(action, action)


def test_the_policy_of_who_deploys_allows_nothing_that_no_command_calls() -> None:
    # What it has to allow is checked after each test, see `aws`.
    modules = {*Path(module.__file__).parent.glob("*.py")}
    modules -= {Path(local.__file__)}  # which asks no AWS
    code = "".join(path.read_text("utf-8") for path in modules)
    services = "sagemaker|s3|cloudwatch|application-autoscaling"
    calls = re.findall(rf'"({services})",\s*"([a-z0-9_]+)"', code)
    allowed = {each for each in actions("deploy") - BESIDES if not each.startswith(BY_HAND)}
    assert allowed == {acting(*call) for call in calls}
    by_hand = {each for each in actions("deploy") if each.startswith(BY_HAND)}
    logs = {f"logs:{each}" for each in ("DescribeLogStreams", "FilterLogEvents", "GetLogEvents")}
    assert by_hand == PULLS | PUSHES | logs | {"ecr:GetAuthorizationToken"}


def actions(file: str) -> set[str]:
    """What a policy allows at all."""
    policy = json.loads((ROOT / "docs" / "iam" / f"{file}.json").read_text(encoding="utf-8"))
    return {action for each in policy["Statement"] for action in listed(each["Action"])}


PUSHES = {f"ecr:{each}" for each in ("PutImage", "InitiateLayerUpload", "UploadLayerPart")}
PUSHES |= {"ecr:CompleteLayerUpload"}
PULLS = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
LOGS = {"CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"}
# What a container needs, whatever it does.
RUNS = PULLS | {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}
RUNS |= {f"logs:{each}" for each in LOGS} | {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}


def test_a_role_may_do_what_it_is_there_for_alone() -> None:
    assert actions("job") == RUNS
    assert actions("endpoint") == RUNS | {"cloudwatch:DescribeAlarms"}
    jobs = {f"{do}{kind}Job" for do in ("Create", "Describe", "Stop") for kind in JOBS}
    models = {"CreateModelPackage", "DescribeModelPackage", "DescribeModelPackageGroup"}
    pipeline = {f"sagemaker:{each}" for each in {"AddTags"} | jobs | models}
    assert actions("pipeline") == pipeline | {"iam:PassRole", "s3:GetObject"}
    versions = {"DescribeModelPackage", "DescribeModelPackageGroup", "ListModelPackages"}
    approve = {f"sagemaker:{each}" for each in {"UpdateModelPackage"} | versions}
    assert actions("approve") == approve | {"s3:GetObject", "s3:ListBucket"}


JOBS = ("Processing", "Training")


@pytest.mark.parametrize(
    ("who", "image"), [("job", "train"), ("job", "spark"), ("endpoint", "serve")]
)
def test_a_role_pulls_the_image_that_it_runs_alone(who: str, image: str) -> None:
    here = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{NAME}"
    assert all(allows(who, action, f"{here}-{image}") for action in PULLS)
    other = "serve" if who == "job" else "train"
    assert not allows(who, "ecr:BatchGetImage", f"{here}-{other}")


def test_who_approves_sees_the_report_of_a_version() -> None:
    for folder in ("captured/v1-v2", "models/1", "runs/1/reports"):
        there = f"arn:aws:s3:::{BUCKET}/{NAME}/{folder}/index.html"
        assert allows("approve", "s3:GetObject", there)
    assert not allows("approve", "s3:GetObject", f"arn:aws:s3:::{BUCKET}/{NAME}/source/1/a.csv")


def test_who_deploys_hands_over_the_roles_that_act(aws: Aws, made: tuple[Path, Path]) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    pipeline.deploy(aws, DEFINITION)
    handed = {given["ExecutionRoleArn"] for given in asked("create_model")}
    handed |= {given["RoleArn"] for given in asked("create_pipeline")}
    assert handed == {f"{ROLE}-endpoint", f"{ROLE}-pipeline"}
    assert all(allows("deploy", "iam:PassRole", role) for role in handed)
    assert not allows("deploy", "iam:PassRole", f"{ROLE}-job")


def test_the_role_of_the_endpoint_reads_models_and_writes_what_is_captured(
    aws: Aws, made: tuple[Path, Path]
) -> None:
    register(aws, made)
    endpoint.deploy(aws)
    (package,) = asked("create_model_package")
    (served,) = package["InferenceSpecification"]["Containers"]
    (config,) = asked("create_endpoint_config")
    captured = config["DataCaptureConfig"]["DestinationS3Uri"]
    assert allows("endpoint", "s3:GetObject", arn(served["ModelDataUrl"]))
    assert allows("endpoint", "s3:PutObject", f"{arn(captured)}/live/1.jsonl")
    for alarm in alarms_there():
        there = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}"
        assert allows("endpoint", "cloudwatch:DescribeAlarms", there)
    for folder in ("models", "production", "source", "trained"):
        there = f"arn:aws:s3:::{BUCKET}/{NAME}/{folder}/1"
        assert not allows("endpoint", "s3:PutObject", there)


def arn(address: str) -> str:
    """Of what lies at an address in the bucket."""
    return address.replace("s3://", "arn:aws:s3:::")


def test_the_roles_of_the_pipeline_and_its_jobs_do_what_it_describes() -> None:
    text = Path(__file__).with_name("pipeline.json").read_text(encoding="utf-8")
    described = json.loads(text.replace("models-of-a-test/late", f"{BUCKET}/{NAME}"))
    found = {*addresses(described)}
    written = {at for at, output in found if output}
    # What a step writes, another one reads.
    assert all(allows("job", "s3:GetObject", arn(f"{at}/1")) for at, _ in found)
    assert all(allows("job", "s3:PutObject", arn(f"{at}/1")) for at in written)
    assert len(found) > len(written) > 5
    for folder in ("captured", "models", "production", "source", "transform"):
        assert not allows("job", "s3:PutObject", f"arn:aws:s3:::{BUCKET}/{NAME}/{folder}/1")
    here = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
    for action, resource in (
        ("sagemaker:CreateProcessingJob", f"{here}:processing-job/pipelines-1"),
        ("sagemaker:CreateTrainingJob", f"{here}:training-job/pipelines-1"),
        ("s3:GetObject", f"arn:aws:s3:::{BUCKET}/{NAME}/runs/1/reports/metrics.json"),
        ("iam:PassRole", f"{ROLE}-job"),
    ):
        assert allows("pipeline", action, resource), (action, resource)
    assert not allows("pipeline", "iam:PassRole", f"{ROLE}-endpoint")


@pytest.mark.parametrize("who", ["deploy", "pipeline"])
def test_who_registers_a_version_cannot_approve_it(who: str) -> None:
    here = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
    made, group = f"{here}:model-package/{NAME}/1", f"{here}:model-package-group/{NAME}"
    assert allows(who, "sagemaker:CreateModelPackage", group, "PendingManualApproval")
    assert not allows(who, "sagemaker:CreateModelPackage", group, "Approved")
    assert not allows(who, "sagemaker:UpdateModelPackage", made, "Approved")
    assert allows("deploy", "sagemaker:UpdateModelPackage", made, "Rejected")


def addresses(node: Any, *, output: bool = False) -> Iterator[tuple[str, bool]]:
    """The addresses that a pipeline describes, and whether something is written there."""
    if isinstance(node, list):
        for each in node:
            yield from addresses(each, output=output)
    elif isinstance(node, dict):
        for key, each in node.items():
            writes = key in ("CheckpointConfig", "Outputs", "OutputDataConfig")
            if key in ("S3OutputPath", "S3Uri") and plain(each).startswith("s3://"):
                yield plain(each), output
            else:
                yield from addresses(each, output=output or writes)


def plain(value: Any) -> str:
    """A text of a pipeline; what a run fills in is x."""
    if isinstance(value, dict) and "Std:Join" in value:
        joined = value["Std:Join"]
        return str(joined["On"].join(map(plain, joined["Values"])))
    return value if isinstance(value, str) else "x"


DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Parameters": [
        {"Name": "Data", "Type": "String"},
        {"Name": "DataVersion", "Type": "String"},
        {"Name": "Seed", "Type": "Integer"},
    ],
    "Steps": [],
}


def test_a_pipeline_is_brought_there_once_and_its_changes_are_shown(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.deploy(Aws(aws.settings, dry_run=True), DEFINITION)
    assert '+  "Steps": []' in capsys.readouterr().out
    assert asked("create_pipeline") == []
    for _ in range(2):
        pipeline.deploy(aws, DEFINITION)
    (created,) = asked("create_pipeline")
    assert created["RoleArn"] == f"{ROLE}-pipeline"
    assert "is there already" in capsys.readouterr().out
    assert "git_commit" in {each["Key"] for each in created["Tags"]}
    changed = DEFINITION | {"Steps": [{"Name": "Process"}]}
    pipeline.deploy(Aws(aws.settings, dry_run=True), changed)
    assert '+      "Name": "Process"' in capsys.readouterr().out
    pipeline.deploy(aws, changed)
    elsewhere = other(aws, f"roles.pipeline=arn:aws:iam::{ACCOUNT}:role/b").settings
    pipeline.deploy(Aws(elsewhere, dry_run=True), changed)
    assert f'+  "RoleArn": "arn:aws:iam::{ACCOUNT}:role/b"' in capsys.readouterr().out
    pipeline.deploy(other(aws, f"roles.pipeline=arn:aws:iam::{ACCOUNT}:role/b"), changed)
    assert [each["RoleArn"][-1] for each in asked("update_pipeline")] == ["e", "b"]


def test_a_pipeline_needs_a_role(aws: Aws) -> None:
    with pytest.raises(ProjectError, match="set the variable SAGEMAKER_PIPELINE_ROLE"):
        pipeline.deploy(other(aws, "roles.pipeline=''"), DEFINITION)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with source tables."""
    (tmp_path / "source" / "old").mkdir(parents=True)
    (tmp_path / "source" / ".git").mkdir()
    for name in ("records.csv", "old/records.csv", ".DS_Store", ".git/a.csv", "notes.txt"):
        (tmp_path / "source" / name).write_text(name, encoding="utf-8")
    return tmp_path / "source"


def test_source_tables_are_uploaded_once_under_a_name_of_their_own(aws: Aws, source: Path) -> None:
    name = pipeline.upload(aws, source)
    assert pipeline.upload(aws, source) == name
    keys = [given["Key"] for given in asked("upload_file")]
    home = f"{aws.settings.name}/source/{name}"
    assert sorted(keys) == [f"{home}/old/records.csv", f"{home}/records.csv"]
    (source / "records.csv").write_text("another", encoding="utf-8")
    assert pipeline.upload(aws, source) != name
    before = pipeline.stored(aws, name)
    assert pipeline.stored(aws, name) == before
    key = f"{aws.settings.name}/source/{name}/records.csv"
    aws.change("s3", "put_object", Bucket=BUCKET, Key=key, Body=b"other")
    assert pipeline.stored(aws, name) != before
    with pytest.raises(ProjectError, match="neither a folder here nor s3://"):
        pipeline.stored(aws, "none")
    (source.parent / "empty").mkdir()
    with pytest.raises(ProjectError, match=r"no \.csv or \.parquet"):
        pipeline.upload(aws, source.parent / "empty")
    for whole in (ROOT, ROOT.parent):
        with pytest.raises(ProjectError, match="holds this repository"):
            pipeline.upload(aws, whole)


def test_a_run_ends_with_success_or_with_the_reason_of_the_step(
    aws: Aws, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProjectError, match="no such pipeline in eu-central-1: poe pipe"):
        pipeline.start(aws, str(source), {})
    pipeline.deploy(aws, DEFINITION)
    for wrong in ("Speed", "Data"):
        with pytest.raises(ProjectError, match=f"{wrong}: no such parameter; there are Seed"):
            pipeline.start(aws, str(source), {wrong: "1"})
    for wrong in ("two", "0"):
        with pytest.raises(ProjectError, match=f"Seed={wrong}: expected a whole number above 0"):
            pipeline.start(aws, str(source), {"Seed": wrong})
    pipeline.start(Aws(aws.settings, dry_run=True), str(source), {"Seed": "1"})
    assert asked("start_pipeline_execution") == asked("upload_file") == []
    pipeline.main(["run", str(source), "Seed=1", *TYPED])
    (started,) = asked("start_pipeline_execution")
    values = {each["Name"]: each["Value"] for each in started["PipelineParameters"]}
    data = pipeline.upload(aws, source)
    assert values == {"Data": data, "DataVersion": data, "Seed": "1"}
    production = f"{aws.settings.name}/production/"
    assert production in {f"{given['Key'].rpartition('/')[0]}/" for given in asked("put_object")}
    steps = [
        {"StepName": "Train", "StepStatus": "Failed", "FailureReason": "depth=3: no such key"},
        {
            "StepName": "Evaluate",
            "StepStatus": "Failed",
            "FailureReason": "AlgorithmError",
            "Metadata": {"ProcessingJob": {"Arn": "arn:aws:sagemaker:::job/pipelines-1"}},
        },
    ]
    read, every = Aws.read, Aws.every

    def answered(self: Aws, service: str, call: str, **parameters: Any) -> Any:
        if call == "describe_pipeline_execution":
            return {"PipelineExecutionStatus": "Failed"}
        if call == "describe_processing_job":
            return {"ExitMessage": f"{parameters['ProcessingJobName']}: no such file"}
        return read(self, service, call, **parameters)

    def listed(self: Aws, service: str, call: str, key: str, **parameters: Any) -> Any:
        if call == "list_pipeline_execution_steps":
            return iter(steps)
        return every(self, service, call, key, **parameters)

    monkeypatch.setattr(Aws, "read", answered)
    monkeypatch.setattr(Aws, "every", listed)
    said = "Train: depth=3: no such key; Evaluate: pipelines-1: no such file"
    with pytest.raises(AwsError, match=f"is Failed: {said}"):
        pipeline.start(aws, str(source), {})


def test_a_run_that_is_under_way_is_waited_for_unless_it_is_of_another_pipeline(
    aws: Aws, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.deploy(aws, DEFINITION)
    pipeline.start(aws, str(source), {"Seed": "1"})
    (found,) = sagemaker_backends[ACCOUNT][REGION].pipelines.values()
    (run,) = found.pipeline_executions.values()
    run.pipeline_execution_status = "Executing"
    data = pipeline.upload(aws, source)
    changed = aws.read("sagemaker", "describe_pipeline", PipelineName=NAME)["LastModifiedTime"]
    assert pipeline.running(aws, {"Data": data, "Seed": "1"}, changed) == run.arn
    assert pipeline.running(aws, {"Data": data, "Seed": "2"}, changed) is None
    later = changed + timedelta(hours=1)
    assert pipeline.running(aws, {"Data": data, "Seed": "1"}, later) is None
    capsys.readouterr()
    pipeline.start(Aws(aws.settings, dry_run=True), str(source), {"Seed": "1"})
    assert "approval" not in capsys.readouterr().out


def test_images_of_a_pipeline_are_named_by_digest() -> None:
    with pytest.raises(ProjectError, match="train:latest: expected an image by digest"):
        pipeline.main(["deploy", "train:latest", IMAGE, *TYPED])


def test_what_was_made_here_is_kept_until_there_is_more(aws: Aws, tmp_path: Path) -> None:
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/source/a.csv", Body=b"1")
    local.download(aws, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for name in ("first", "second"):
        moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/{name}", Body=b"1")
        local.download(aws, tmp_path / "out")
        moto("s3").delete_object(Bucket=BUCKET, Key=f"{NAME}/trained/{name}")
        local.download(aws, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out" / "trained").iterdir()] == [name]
    assert [*tmp_path.iterdir()] == [tmp_path / "out"]
    CALLS.clear()  # not those of who deploys


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_here_though_the_sdk_takes_it_for_done(number: int) -> None:
    tidied = []

    def taken_for_done() -> None:
        with local.interruptible():
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                signal.raise_signal(number)
                tidied.append(True)

    with pytest.raises(KeyboardInterrupt):
        taken_for_done()
    assert tidied


def test_a_signal_ends_a_run_here_though_the_sdk_makes_an_error_of_it() -> None:
    def turned_into_an_error() -> None:
        with local.interruptible():
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise ProjectError("the container has ended") from error

    with pytest.raises(KeyboardInterrupt):
        turned_into_an_error()
    with pytest.raises(ProjectError, match="so it is"), local.interruptible():
        raise ProjectError("so it is")


def test_a_signal_while_the_old_is_removed_leaves_the_new_whole(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(given: Any, *_: object, **__: object) -> None:
        path = given.name if isinstance(given, tempfile.TemporaryDirectory) else given
        (Path(path) / local.MADE).unlink(missing_ok=True)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/first", Body=b"1")
    local.download(aws, out)
    moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/second", Body=b"1")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", interrupted)
        # That of Debian 12 has a copy of it.
        patched.setattr(tempfile.TemporaryDirectory, "cleanup", interrupted)
        with pytest.raises(KeyboardInterrupt):
            local.download(aws, out)
    assert (out / local.MADE).exists()
    assert {path.name for path in (out / "trained").iterdir()} == {"first", "second"}
    CALLS.clear()  # not those of who deploys


def test_what_cleans_up_after_a_run_is_out_of_reach_of_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "docker"
    script.write_text(f"#!{sys.executable}\nimport os\nprint(os.getsid(0))\n", encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert int(local._docker("ps")) != os.getsid(0)


def test_a_run_here_that_was_stopped_replaces_nothing(
    aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*_: object) -> None:
        moto("s3").put_object(Bucket=BUCKET, Key=f"{NAME}/trained/half", Body=b"1")
        with suppress(KeyboardInterrupt):  # as the SDK does
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setitem(local.STEPS, "process", step)
    for name in ("require_docker", "require_sdk"):
        monkeypatch.setattr(local, name, lambda *_: None)
    monkeypatch.setattr(local, "account", lambda _: nullcontext(aws))
    monkeypatch.setattr(local, "containers", lambda _: nullcontext(tmp_path))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    given = ["process", "--image", "train", "--source", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        local.main([*given, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a `docker` that builds nothing writes down what it is asked."""
    (tmp_path / "bin").mkdir()
    log, script = tmp_path / "log", tmp_path / "bin" / "docker"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$DOCKER_DEFAULT_PLATFORM $*" >> {log}\n'
        '[ "$1" != "$REFUSED" ] || { echo "so it is" >&2; exit 1; }\n'
        'while [ $# -gt 0 ]; do [ "$1" != --iidfile ] || echo sha256:1 > "$2"; shift; done\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(script.parent), prepend=os.pathsep)
    return log


def test_an_image_is_built_for_sagemaker_with_what_this_machine_needs(
    docker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGE_OPTIONS", "--network host")
    # Nobody asks the package index by that proxy.
    monkeypatch.setattr(image, "secrets", lambda: nullcontext([]))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setattr("sys.argv", ["image", "train", "--label", "of=a-test"])
    image.main()
    (built,) = (line for line in docker.read_text("utf-8").splitlines() if " build " in line)
    assert built.startswith("linux/amd64 build --file container/Dockerfile --target train ")
    assert built.endswith(" --build-arg=HTTPS_PROXY --network host --label of=a-test .")
    assert "proxy.example" not in built
    assert capsys.readouterr().out.endswith("-train is sha256:1\n")


def test_an_engine_that_does_not_answer_is_told(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "version")
    with pytest.raises(ProjectError, match="^Docker does not answer: so it is: start it$"):
        image.build("serve")
    assert " build " not in docker.read_text("utf-8")


def test_a_build_gets_the_package_index_as_a_secret_and_is_told_when_it_fails(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "build")
    with pytest.raises(ProjectError, match="serve is not built: mend what is said above"):
        image.build("serve")
    assert " --secret id=pip,src=" in docker.read_text("utf-8")


def test_the_commit_of_an_image_that_is_not_here_is_not_made_up(
    docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFUSED", "image")
    with pytest.raises(ProjectError, match="is not on this machine: docker pull model@sha256:1"):
        image.revision("model@sha256:1")
    monkeypatch.setenv("PATH", str(docker.parent / "nothing"))
    with pytest.raises(ProjectError, match="there is no `docker` on the PATH: install Docker"):
        image.revision("model@sha256:1")
