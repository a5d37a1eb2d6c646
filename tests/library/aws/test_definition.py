"""The pipeline as the SageMaker SDK describes it, and the session that runs it on this machine."""

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

if importlib.util.find_spec("sagemaker") is None:
    pytest.skip(
        "no SageMaker SDK: install ml-ready[sagemaker]",
        allow_module_level=True,
    )
# Without a region, the SDK cannot even be imported.
os.environ |= {"AWS_DEFAULT_REGION": "eu-central-1", "SAGEMAKER_VALIDATE_ROLE": "false"}

from account import ROOT
from ml_ready.aws import pipeline
from ml_ready.aws.client import Aws
from ml_ready.aws.definition import definition
from ml_ready.aws.images import Images
from ml_ready.aws.local_session import LocalSession
from ml_ready.aws.settings import Settings, settings
from sagemaker.core.workflow.pipeline_context import LocalPipelineSession as Steps
from sagemaker.mlops.local import LocalPipelineSession as Pipelines
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline

GOLDEN = Path(__file__).with_name("pipeline.json")
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
IMAGES = Images(f"{REGISTRY}/train@sha256:{'1' * 64}", f"{REGISTRY}/serve@sha256:{'2' * 64}")
COMMIT = "0123456789"


@pytest.fixture
def fixed() -> Settings:
    """Settings that no change of conf/deploy changes."""
    return settings(
        ROOT,
        [
            "region=eu-central-1",
            "bucket=models-of-a-test",
            "roles.job=arn:aws:iam::123456789012:role/job",
            "roles.pipeline=arn:aws:iam::123456789012:role/pipeline",
            "name=late",
            "jobs={type: ml.m5.xlarge, process_hosts: 2, train_on_spot: true, volume_gb: 30, "
            "maximum_minutes: 60, cache_days: 30}",
        ],
    )


@pytest.fixture
def described(fixed: Settings) -> dict[str, Any]:
    """The pipeline as SageMaker keeps it."""
    return definition(fixed, IMAGES, COMMIT)


def test_the_pipeline_is_the_one_that_was_looked_at(
    described: dict[str, Any], tmp_path: Path
) -> None:
    text = json.dumps(described, indent=2) + "\n"
    (tmp_path / GOLDEN.name).write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), (
        f"the pipeline has changed: look at the difference, then copy {tmp_path / GOLDEN.name} "
        f"over {GOLDEN}"
    )


def test_with_an_image_for_spark_the_data_are_processed_there(fixed: Settings) -> None:
    spark = f"{REGISTRY}/spark@sha256:{'3' * 64}"
    process, train, *_ = definition(fixed, IMAGES._replace(spark=spark), COMMIT)["Steps"]
    outputs = json.dumps(process["Arguments"]["ProcessingOutputConfig"])
    application = process["Arguments"]["AppSpecification"]
    assert application == {"ImageUri": spark, "ContainerEntrypoint": ["process-spark"]}
    # Its files have names of chance: each run has a place of its own, so that none is found again.
    assert "PipelineExecutionId" in outputs
    assert "CacheConfig" not in process
    assert train["Arguments"]["AlgorithmSpecification"]["TrainingImage"] == IMAGES.train


def test_images_are_given_by_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    deployed: list[Any] = []
    monkeypatch.setattr(pipeline, "require_sdk", lambda *_: None)  # which changes all logging
    monkeypatch.setattr(pipeline, "revision", lambda image: f"commit of {image}")
    monkeypatch.setattr(pipeline, "deploy", lambda _, described: deployed.append(described))
    spark = f"{REGISTRY}/spark@sha256:{'3' * 64}"
    overrides = ["bucket=models-of-a-test", "roles.job=arn:aws:iam::123456789012:role/job"]
    typed = [word for each in overrides for word in ("--set", each)]
    pipeline.main(["deploy", IMAGES.train, IMAGES.serve, "--spark", spark, *typed])
    commit = f"commit of {IMAGES.train}"
    assert deployed == [definition(settings(ROOT, overrides), IMAGES._replace(spark=spark), commit)]


def test_a_model_is_registered_only_if_it_is_good_and_not_worse_than_the_one_in_use(
    described: dict[str, Any],
) -> None:
    steps = {step["Name"]: step for step in described["Steps"]}
    decide = steps["GoodEnough"]["Arguments"]
    paths = {each["LeftValue"]["Std:JsonGet"]["Path"] for each in decide["Conditions"]}
    assert paths == {"gate.good", "gate.not_worse_than_production"}
    (register,), (refuse,) = decide["IfSteps"], decide["ElseSteps"]
    assert register["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"
    assert register["Arguments"]["CustomerMetadataProperties"]["git_commit"] == COMMIT
    assert "gate.failed" in json.dumps(refuse["Arguments"]["ErrorMessage"])


def test_what_is_cached_follows_from_image_and_data_alone(described: dict[str, Any]) -> None:
    # What differs in each run would make each step a new one.
    for step in described["Steps"]:
        cached = step.get("CacheConfig", {}).get("Enabled", False)
        assert cached == (step["Name"] in ("Process", "Train"))
        if cached:
            assert "PipelineExecutionId" not in json.dumps(step["Arguments"])


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


@pytest.mark.usefixtures("account")
def test_it_is_created_on_sagemaker_as_it_is(fixed: Settings, described: dict[str, Any]) -> None:
    aws = Aws(ROOT, fixed)
    pipeline.deploy(aws, described)
    deployed = aws.read("sagemaker", "describe_pipeline", PipelineName="late")
    assert json.loads(deployed["PipelineDefinition"]) == described


def ran(session: Any) -> str:
    """Run a pipeline that needs no container, and return how it ended."""
    refuse = FailStep("Refuse", error_message="so it is")
    described = Pipeline(name="late", steps=[refuse], sagemaker_session=session)
    described.upsert("arn:aws:iam::123456789012:role/sagemaker")
    return str(described.start().failure_reason)


@pytest.mark.usefixtures("account")
def test_a_pipeline_runs_here_in_our_session(tmp_path: Path) -> None:
    reason = ran(LocalSession("eu-central-1", "models-of-a-test", str(tmp_path)))
    assert reason == "Step 'Refuse' failed with message: so it is"


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("session", [Steps, Pipelines], ids=["steps", "pipelines"])
def test_no_session_of_the_sdk_can_do_without_ours(session: Any) -> None:
    # When this fails, look whether the SDK is fixed: then delete
    # ml_ready/aws/local_session.py, and use its session.
    with pytest.raises(AttributeError, match=r"LocalSagemakerClient.* no .* 'create_pipeline'"):
        ran(session(default_bucket="models-of-a-test"))
