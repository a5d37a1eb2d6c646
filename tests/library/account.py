"""An account of AWS as moto plays it, with faults, and what there is in it."""

import functools
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.exceptions import ClientError
from deployable import write_project
from ml_ready import artifact
from ml_ready.aws import registry
from ml_ready.aws.client import Aws
from ml_ready.aws.endpoint import Endpoint
from ml_ready.aws.registry import Registry
from ml_ready.aws.settings import settings
from moto import mock_aws
from moto.applicationautoscaling.models import applicationautoscaling_backends
from moto.cloudwatch.models import cloudwatch_backends
from moto.s3.models import s3_backends
from moto.sagemaker.models import sagemaker_backends

Results = tuple[Path, Path]

_FOLDER = tempfile.TemporaryDirectory()
ROOT = Path(_FOLDER.name).resolve() / "parcels"
write_project(ROOT)
ACCOUNT = "123456789012"
REGION = "eu-central-1"
SERVERLESS = "variant.serverless={memory_mb: 2048, concurrency: 5}"
MODEL = b"a model"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/model@sha256:{'0' * 64}"
BUCKET = "models-of-a-test"
NAME = settings(ROOT, [f"bucket={BUCKET}"]).name
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
OVERRIDES = [
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
SETTINGS = settings(ROOT, OVERRIDES)
TYPED = [word for each in OVERRIDES for word in ("--set", each)]
LONGEST = 63  # of a name of SageMaker
KINDS = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "ModelPackageGroupName": "model-package-group",
    "PipelineName": "pipeline",
    "ProcessingJobName": "processing-job",
    "TransformJobName": "transform-job",
}
READS = ("describe_", "get_", "head_", "list_")
CALLS: list[tuple[str, str, dict[str, Any]]] = []


def refused(code: str) -> ClientError:
    """What AWS answers."""
    return ClientError({"Error": {"Code": code, "Message": "so it is"}}, "Call")


@functools.cache
def moto(service: str) -> Any:
    """A client of AWS as moto plays it."""
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "testing")
    return boto3.client(service, region_name=REGION, **keys)


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
                entry = sagemaker_backends[ACCOUNT][REGION].endpoints[parameters["EndpointName"]]
                if entry.endpoint_status == "Updating":
                    entry.endpoint_status = "InService"
            self._faults(f"after {name}")
            return answer

        return call

    def _paginator(self, name: str) -> Any:
        pages = self._client.get_paginator(name)

        def paginate(**parameters: Any) -> Any:
            CALLS.append((self._service, name, parameters))
            self._faults(f"before {name}")
            answers = [*pages.paginate(**parameters)]
            self._faults(f"after {name}")
            return answers

        return SimpleNamespace(paginate=paginate)


def updated(
    EndpointName: str,  # noqa: N803
    EndpointConfigName: str,  # noqa: N803
    DeploymentConfig: dict[str, Any] | None = None,  # noqa: N803
) -> dict[str, Any]:
    """Do what SageMaker does in the end, and refuse what it refuses."""
    backend = sagemaker_backends[ACCOUNT][REGION]
    entry = backend.endpoints[EndpointName]
    config = backend.endpoint_configs[EndpointConfigName]
    before, after = (
        {each["VariantName"] for each in described.production_variants}
        for described in (backend.endpoint_configs[entry.endpoint_config_name], config)
    )
    if (DeploymentConfig and before != after) or entry.endpoint_status != "InService":
        raise refused("ValidationException")
    entry.endpoint_status = "Updating"
    entry.endpoint_config_name = EndpointConfigName
    entry.production_variants = entry._process_production_variants(config.production_variants)
    return {"EndpointArn": entry.arn}


def asked(name: str) -> list[dict[str, Any]]:
    """What a call was given, each time."""
    return [parameters for _, call, parameters in CALLS if call == name]


@contextmanager
def account() -> Iterator[Aws]:
    """An account with nothing but a bucket in it."""
    CALLS.clear()
    with mock_aws():
        moto("s3").create_bucket(
            Bucket=BUCKET,
            CreateBucketConfiguration={"LocationConstraint": REGION},
        )
        yield Aws(ROOT, SETTINGS)


# Where moto keeps what a service creates.
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
    """Restore the account."""
    contents = pickle.loads(before)  # noqa: S301
    for (store, part), content in zip(STORES.values(), contents, strict=True):
        store[ACCOUNT][part] = content


def judged(reports: Path, *, good: bool) -> None:
    """Write the verdict of the gate."""
    gate = {"good": good, "failed": "" if good else "test: 0.5 < 0.6"}
    model = artifact.read_metadata(reports.parent / "models")["model"]
    artifact.write_metrics(reports, {"gate": gate}, model)


def register(aws: Aws, results: Results, commits: str = "a", *, approve: bool = True) -> None:
    """Register a version for each commit, a letter."""
    metadata = artifact.read_metadata(results[0])
    for commit in commits:
        artifact.write_model(results[0], MODEL, metadata | {"git_commit": commit})
        arn = Registry(aws).register(IMAGE, *results)
        if approve:
            Registry(aws).judge(int(arn.rpartition("/")[2]), "Approved", "for the test")


def other(aws: Aws, *overrides: str) -> Aws:
    """The same account with other settings."""
    return Aws(ROOT, settings(ROOT, [*OVERRIDES, *overrides]))


def added(aws: Aws, count: int) -> int:
    """Have so many instances of the first variant, as scaling does."""
    entry = sagemaker_backends[ACCOUNT][REGION].endpoints[aws.settings.name]
    entry.production_variants[0]["DesiredInstanceCount"] = count
    described = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    return int(described["ProductionVariants"][0]["DesiredInstanceCount"])


def alarm_names() -> set[str]:
    """The alarms of the account."""
    answer = moto("cloudwatch").describe_alarms()
    return {each["AlarmName"] for each in answer["MetricAlarms"]}


def in_production(aws: Aws) -> int:
    """The version whose model the pipeline compares new ones with."""
    bucket, name = aws.settings.bucket, aws.settings.name
    production = aws.read("s3", "get_object", Bucket=bucket, Key=f"{name}/{registry.PRODUCTION}")
    packed = production["Body"].read()
    for version in Registry(aws).versions():
        package = aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)
        url = package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
        key = url.removeprefix(f"s3://{bucket}/")
        if aws.read("s3", "get_object", Bucket=bucket, Key=key)["Body"].read() == packed:
            return version.number
    raise AssertionError("no version has this model")


def alarm_fires(aws: Aws) -> Callable[[str], None]:
    """Have the next update end with the versions that serve now."""
    before = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    firing = [True]

    def back(at: str) -> None:
        if at == "after update_endpoint" and firing:
            firing.clear()
            entry = sagemaker_backends[ACCOUNT][REGION].endpoints[NAME]
            entry.endpoint_config_name = before["EndpointConfigName"]
            entry.production_variants = before["ProductionVariants"]

    return back


def scaled(aws: Aws) -> list[str]:
    """The variants to which instances are added."""
    targets = aws.every(
        "application-autoscaling",
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="sagemaker",
    )
    return [each["ResourceId"].rpartition("/")[2] for each in targets]


def everything(aws: Aws) -> dict[str, Any]:
    """What there is in the account."""
    sagemaker = sagemaker_backends[ACCOUNT][REGION]
    listed = moto("s3").list_objects_v2(Bucket=BUCKET)
    return {
        "serving": Endpoint(aws).variants() if sagemaker.endpoints else {},
        "configurations": len(sagemaker.endpoint_configs),
        "models": len(sagemaker._models),
        "jobs": len(sagemaker.transform_jobs),
        "pipelines": [each.pipeline_definition for each in sagemaker.pipelines.values()],
        # moto keeps the value of a tag beside the one before.
        "tags": [
            {tag["Key"]: tag["Value"] for tag in each.tags} for each in sagemaker.pipelines.values()
        ],
        "versions": [(each.number, each.status) for each in Registry(aws).versions()],
        "scaled": scaled(aws),
        "alarms": alarm_names(),
        "objects": {each["Key"]: each["ETag"] for each in listed.get("Contents", [])},
    }


DEFINITION: dict[str, Any] = {
    "Version": "2020-12-01",
    "Parameters": [
        {"Name": "Data", "Type": "String"},
        {"Name": "DataVersion", "Type": "String"},
        {"Name": "Seed", "Type": "Integer"},
    ],
    "Steps": [],
}
