"""The policies of a project allow what its commands and jobs do, and no more."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from account import (
    ACCOUNT,
    BUCKET,
    DEFINITION,
    NAME,
    REGION,
    ROLE,
    Results,
    alarm_names,
    asked,
    register,
)
from ml_ready.aws import client, local, pipeline
from ml_ready.aws.client import Aws
from ml_ready.aws.endpoint import Endpoint
from policies import acting, actions, allows

# What AWS does for a call with the rights of who calls, and what people do.
BESIDES = {"cloudwatch:SetAlarmState", "iam:CreateServiceLinkedRole", "iam:PassRole"}

BESIDES |= {"cloudwatch:GetMetricData", "cloudwatch:ListMetrics", "sagemaker:DescribeTrainingJob"}

BY_HAND = ("ecr:", "logs:")
PUSHES = {f"ecr:{each}" for each in ("PutImage", "InitiateLayerUpload", "UploadLayerPart")}

PUSHES |= {"ecr:CompleteLayerUpload"}

PULLS = {"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
LOGS = {"CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents"}

# What a container needs, whatever it does.
RUNS = PULLS | {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}

RUNS |= {f"logs:{each}" for each in LOGS} | {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}

JOBS = ("Processing", "Training")


def test_the_policy_of_who_deploys_allows_nothing_that_no_command_calls() -> None:
    # What it has to allow is checked after each test, see `aws`.
    modules = {*Path(client.__file__).parent.glob("*.py")}
    modules -= {Path(local.__file__)}  # which asks no AWS
    code = "".join(path.read_text("utf-8") for path in modules)
    services = "sagemaker|s3|cloudwatch|application-autoscaling"
    calls = re.findall(rf'"({services})",\s*"([a-z0-9_]+)"', code)
    allowed = {each for each in actions("deploy") - BESIDES if not each.startswith(BY_HAND)}
    assert allowed == {acting(*call) for call in calls}
    by_hand = {each for each in actions("deploy") if each.startswith(BY_HAND)}
    logs = {f"logs:{each}" for each in ("DescribeLogStreams", "FilterLogEvents", "GetLogEvents")}
    assert by_hand == PULLS | PUSHES | logs | {"ecr:GetAuthorizationToken"}


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
        state = f"arn:aws:s3:::{BUCKET}/{NAME}/{folder}/index.html"
        assert allows("approve", "s3:GetObject", state)
    assert not allows("approve", "s3:GetObject", f"arn:aws:s3:::{BUCKET}/{NAME}/source/1/a.csv")


def test_who_deploys_hands_over_the_roles_that_act(aws: Aws, results: Results) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    pipeline.deploy(aws, DEFINITION)
    handed = {parameters["ExecutionRoleArn"] for parameters in asked("create_model")}
    handed |= {parameters["RoleArn"] for parameters in asked("create_pipeline")}
    assert handed == {f"{ROLE}-endpoint", f"{ROLE}-pipeline"}
    assert all(allows("deploy", "iam:PassRole", role) for role in handed)
    assert not allows("deploy", "iam:PassRole", f"{ROLE}-job")


def test_the_role_of_the_endpoint_reads_models_and_writes_what_is_captured(
    aws: Aws, results: Results
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    (package,) = asked("create_model_package")
    (served,) = package["InferenceSpecification"]["Containers"]
    (config,) = asked("create_endpoint_config")
    captured = config["DataCaptureConfig"]["DestinationS3Uri"]
    assert allows("endpoint", "s3:GetObject", arn(served["ModelDataUrl"]))
    assert allows("endpoint", "s3:PutObject", f"{arn(captured)}/live/1.jsonl")
    for alarm in alarm_names():
        state = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{alarm}"
        assert allows("endpoint", "cloudwatch:DescribeAlarms", state)
    for folder in ("models", "production", "source", "trained"):
        state = f"arn:aws:s3:::{BUCKET}/{NAME}/{folder}/1"
        assert not allows("endpoint", "s3:PutObject", state)


def arn(address: str) -> str:
    """Of what lies at an address in the bucket."""
    return address.replace("s3://", "arn:aws:s3:::")


def test_the_roles_of_the_pipeline_and_its_jobs_do_what_it_describes() -> None:
    text = Path(__file__).with_name("pipeline.json").read_text(encoding="utf-8")
    described = json.loads(text.replace("models-of-a-test/late", f"{BUCKET}/{NAME}"))
    places = {*addresses(described)}
    written = {at for at, output in places if output}
    # What a step writes, another one reads.
    assert all(allows("job", "s3:GetObject", arn(f"{at}/1")) for at, _ in places)
    assert all(allows("job", "s3:PutObject", arn(f"{at}/1")) for at in written)
    assert len(places) > len(written) > 5
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
    version, group = f"{here}:model-package/{NAME}/1", f"{here}:model-package-group/{NAME}"
    assert allows(who, "sagemaker:CreateModelPackage", group, "PendingManualApproval")
    assert not allows(who, "sagemaker:CreateModelPackage", group, "Approved")
    assert not allows(who, "sagemaker:UpdateModelPackage", version, "Approved")
    assert allows("deploy", "sagemaker:UpdateModelPackage", version, "Rejected")


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
