"""The pipeline on SageMaker, against AWS as moto plays it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from account import (
    ACCOUNT,
    BUCKET,
    DEFINITION,
    IMAGE,
    NAME,
    REGION,
    ROLE,
    ROOT,
    TYPED,
    asked,
    other,
)
from ml_ready.aws import pipeline
from ml_ready.aws.client import Aws, AwsError
from ml_ready.errors import ProjectError
from moto.sagemaker.models import sagemaker_backends


def test_a_pipeline_is_created_once_and_its_changes_are_shown(
    aws: Aws, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.deploy(Aws(ROOT, aws.settings, dry_run=True), DEFINITION)
    assert '+  "Steps": []' in capsys.readouterr().out
    assert asked("create_pipeline") == []
    for _ in range(2):
        pipeline.deploy(aws, DEFINITION)
    (created,) = asked("create_pipeline")
    assert created["RoleArn"] == f"{ROLE}-pipeline"
    assert "is there already" in capsys.readouterr().out
    assert "git_commit" in {each["Key"] for each in created["Tags"]}
    changed = DEFINITION | {"Steps": [{"Name": "Process"}]}
    pipeline.deploy(Aws(ROOT, aws.settings, dry_run=True), changed)
    assert '+      "Name": "Process"' in capsys.readouterr().out
    pipeline.deploy(aws, changed)
    elsewhere = other(aws, f"roles.pipeline=arn:aws:iam::{ACCOUNT}:role/b").settings
    pipeline.deploy(Aws(ROOT, elsewhere, dry_run=True), changed)
    assert f'+  "RoleArn": "arn:aws:iam::{ACCOUNT}:role/b"' in capsys.readouterr().out
    pipeline.deploy(other(aws, f"roles.pipeline=arn:aws:iam::{ACCOUNT}:role/b"), changed)
    assert [each["RoleArn"][-1] for each in asked("update_pipeline")] == ["e", "b"]


def test_a_pipeline_needs_a_role(aws: Aws) -> None:
    with pytest.raises(ProjectError, match="set SAGEMAKER_PIPELINE_ROLE, or edit conf/deploy"):
        pipeline.deploy(other(aws, "roles.pipeline=''"), DEFINITION)


def test_source_tables_are_uploaded_once_under_a_name_of_their_own(aws: Aws, source: Path) -> None:
    name = pipeline.upload(aws, source)
    assert pipeline.upload(aws, source) == name
    keys = [parameters["Key"] for parameters in asked("upload_file")]
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
    pipeline.start(Aws(ROOT, aws.settings, dry_run=True), str(source), {"Seed": "1"})
    assert asked("start_pipeline_execution") == asked("upload_file") == []
    pipeline.main(["run", str(source), "Seed=1", *TYPED])
    (started,) = asked("start_pipeline_execution")
    values = {each["Name"]: each["Value"] for each in started["PipelineParameters"]}
    data = pipeline.upload(aws, source)
    assert values == {"Data": data, "DataVersion": data, "Seed": "1"}
    production = f"{aws.settings.name}/production/"
    assert production in {
        f"{parameters['Key'].rpartition('/')[0]}/" for parameters in asked("put_object")
    }
    steps = [
        {"StepName": "Process", "StepStatus": "Succeeded"},
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
    message = "Train: depth=3: no such key; Evaluate: pipelines-1: no such file"
    with pytest.raises(AwsError, match=f"is Failed: {message}"):
        pipeline.start(aws, str(source), {})


def test_a_run_that_is_under_way_is_waited_for_unless_it_is_of_another_pipeline(
    aws: Aws,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    faults: list[Callable[[str], None]],
) -> None:
    pipeline.deploy(aws, DEFINITION)
    pipeline.start(aws, str(source), {"Seed": "1"})
    (entry,) = sagemaker_backends[ACCOUNT][REGION].pipelines.values()
    (run,) = entry.pipeline_executions.values()
    run.pipeline_execution_status = "Executing"
    data = pipeline.upload(aws, source)
    changed = aws.read("sagemaker", "describe_pipeline", PipelineName=NAME)["LastModifiedTime"]
    assert pipeline.running(aws, {"Data": data, "Seed": "1"}, changed) == run.arn
    assert pipeline.running(aws, {"Data": data, "Seed": "2"}, changed) is None
    later = changed + timedelta(hours=1)
    assert pipeline.running(aws, {"Data": data, "Seed": "1"}, later) is None
    capsys.readouterr()
    pipeline.start(Aws(ROOT, aws.settings, dry_run=True), str(source), {"Seed": "1"})
    assert "approval" not in capsys.readouterr().out

    def ended(at: str) -> None:
        if at == "before describe_pipeline_execution":
            run.pipeline_execution_status = "Succeeded"

    faults[0] = ended
    pipeline.start(aws, str(source), {"Seed": "1"})
    assert len(asked("start_pipeline_execution")) == 1
    assert "approval" in capsys.readouterr().out


def test_a_parameter_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        pipeline.main(["run", "data/sample", "ProcessHosts"])
    assert "ProcessHosts: expected NAME=VALUE, such as ProcessHosts=2" in capsys.readouterr().err


def test_images_of_a_pipeline_are_named_by_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ProjectError, match="train:latest: expected an image by digest"):
        pipeline.main(["deploy", "train:latest", IMAGE, *TYPED])
