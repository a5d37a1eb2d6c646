"""The pipeline on SageMaker: bring it there, run it, and say how it went."""

import argparse
import difflib
import hashlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ProjectError
from . import registry
from .aws import Aws
from .command_line import Parser, run, say
from .image import Images, commit, revision
from .settings import ROOT

# The parameters that follow from the source tables.
GIVEN = ("Data", "DataVersion")


def deploy(aws: Aws, wanted: Mapping[str, Any]) -> None:
    """Bring a pipeline to SageMaker; a second call changes nothing.

    Parameters
    ----------
    aws : Aws
        In a dry run, the difference to the pipeline that is there is shown.
    wanted : mapping
        Its definition.

    Raises
    ------
    ProjectError
        When there is no role for it, or AWS refuses.
    """
    name, role = aws.settings.name, aws.settings.roles.need("pipeline")
    found = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    present = json.loads(found["PipelineDefinition"]) if found else {}
    if found and present == wanted and found["RoleArn"] == role:
        say(f"{name} is there already, as it should be")
        return
    registry.ensure_group(aws)
    if aws.dry_run:
        before, after = (
            json.dumps({"RoleArn": acting, **each}, indent=2).splitlines()
            for acting, each in (((found or {}).get("RoleArn"), present), (role, wanted))
        )
        for line in difflib.unified_diff(before, after, "deployed", "here", lineterm=""):
            say(line)
        return
    given = {
        "PipelineName": name,
        "PipelineDefinition": json.dumps(wanted),
        "RoleArn": role,
    }
    tags = [{"Key": "git_commit", "Value": commit() or "none"}]
    if found:
        # First: with the change done, a second call would leave them out.
        aws.change("sagemaker", "add_tags", ResourceArn=found["PipelineArn"], Tags=tags)
        aws.change("sagemaker", "update_pipeline", **given)
    else:
        aws.change("sagemaker", "create_pipeline", **given, Tags=tags)
    say(f"{name} is {'changed' if found else 'made'}: poe pipeline-run data/sample")


def start(aws: Aws, source: str, parameters: Mapping[str, str]) -> None:
    """Run the pipeline, and wait for its end; a run of the same that is under way is waited for.

    Parameters
    ----------
    aws : Aws
    source : str
        A folder with the source tables, which is uploaded once, or one that is in the bucket.
    parameters : mapping of str to str
        Instead of the defaults.

    Raises
    ------
    ProjectError
        When the pipeline or the source is not there, or a step fails: with the reason.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    if found is None:
        raise ProjectError(
            f"{name}: no such pipeline in {aws.settings.region}: poe pipeline-deploy"
        )
    known = json.loads(found["PipelineDefinition"])["Parameters"]
    free = {each["Name"]: each["Type"] for each in known if each["Name"] not in GIVEN}
    for key, value in parameters.items():
        if key not in free:
            raise ProjectError(f"{key}: no such parameter; there are {', '.join(free)}")
        if free[key] == "Integer" and not (value.isdecimal() and int(value)):
            raise ProjectError(f"{key}={value}: expected a whole number above 0")
    folder = Path(source)
    data = upload(aws, folder) if folder.is_dir() else source
    version = data if folder.is_dir() else stored(aws, source)
    values = {**dict(zip(GIVEN, (data, version), strict=True)), **parameters}
    # An input without a single file would stop the job.
    registry.put(aws, f"{name}/production/README.txt", registry.NOTHING_YET)
    arn = running(aws, values, found["LastModifiedTime"])
    if arn is None or aws.dry_run:
        started = aws.change(
            "sagemaker",
            "start_pipeline_execution",
            PipelineName=name,
            PipelineParameters=[{"Name": key, "Value": value} for key, value in values.items()],
        )
        if aws.dry_run:
            return
        arn = started["PipelineExecutionArn"]

    def state() -> tuple[str, str]:
        now = aws.read("sagemaker", "describe_pipeline_execution", PipelineExecutionArn=arn)
        status = now["PipelineExecutionStatus"]
        return status, failure(aws, arn) if status == "Failed" else ""

    aws.wait(f"run {arn.rpartition('/')[2]}", state, "Succeeded")
    say("The model waits for approval: poe registry list")


def upload(aws: Aws, folder: Path) -> str:
    """Upload the files of a folder unless they are there, and return the name they have there.

    The name follows from the files: the same data make a step that is done already known, and
    others do not change what an earlier run was given.
    """
    if ROOT.is_relative_to(folder.resolve()):
        raise ProjectError(f"{folder}: holds this repository: give the folder with source tables")
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".parquet")]
    named = {path.relative_to(folder): path for path in found if path.is_file()}
    files = {
        name.as_posix(): path
        for name, path in named.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if not files:
        raise ProjectError(f"{folder}: no .csv or .parquet: give the folder with source tables")
    identity = hashlib.sha256()
    for name, path in files.items():
        with path.open("rb") as opened:
            identity.update(f"{name} {hashlib.file_digest(opened, 'sha256').hexdigest()}".encode())
    data = identity.hexdigest()[:16]
    for name, path in files.items():
        target = {
            "Bucket": aws.settings.bucket,
            "Key": f"{aws.settings.name}/source/{data}/{name}",
        }
        if not aws.find("s3", "head_object", **target):
            aws.change("s3", "upload_file", Filename=str(path), **target)
    return data


def stored(aws: Aws, name: str) -> str:
    """Return the version of source tables in the bucket, which follows from their files.

    Raises
    ------
    ProjectError
        When there are none.
    """
    prefix = f"{aws.settings.name}/source/{name}/"
    listed = aws.every(
        "s3", "list_objects_v2", "Contents", Bucket=aws.settings.bucket, Prefix=prefix
    )
    found = [f"{each['Key']} {each['ETag']}" for each in listed]
    if not found:
        raise ProjectError(
            f"{name}: neither a folder here nor s3://{aws.settings.bucket}/{prefix}: "
            "give a folder with the source tables, such as data/sample"
        )
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()[:16]


def running(aws: Aws, values: Mapping[str, str], changed: datetime) -> str | None:
    """Return the run that is under way with these parameters, if there is one.

    Parameters
    ----------
    aws : Aws
    values : mapping of str to str
    changed : datetime
        When the pipeline was last changed: runs before that are of another one.

    Returns
    -------
    str or None
    """
    found = aws.every(
        "sagemaker",
        "list_pipeline_executions",
        "PipelineExecutionSummaries",
        PipelineName=aws.settings.name,
    )
    for each in found:
        if each["PipelineExecutionStatus"] == "Executing" and each["StartTime"] >= changed:
            arn = str(each["PipelineExecutionArn"])
            parameters = aws.every(
                "sagemaker",
                "list_pipeline_parameters_for_execution",
                "PipelineParameters",
                PipelineExecutionArn=arn,
            )
            given = {parameter["Name"]: parameter["Value"] for parameter in parameters}
            if values.items() <= given.items():
                return arn
    return None


def failure(aws: Aws, arn: str) -> str:
    """Return which step of a run failed, and why."""
    steps = aws.every(
        "sagemaker",
        "list_pipeline_execution_steps",
        "PipelineExecutionSteps",
        PipelineExecutionArn=arn,
    )
    said = []
    for step in steps:
        if step["StepStatus"] == "Failed":
            reason = step.get("FailureReason", "no reason given")
            # Of a processing job, the step does not say what its container said.
            if job := step.get("Metadata", {}).get("ProcessingJob", {}).get("Arn"):
                job = job.rpartition("/")[2]
                found = aws.read("sagemaker", "describe_processing_job", ProcessingJobName=job)
                reason = found.get("ExitMessage", reason)
            said.append(f"{step['StepName']}: {reason}")
    return "; ".join(said)


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = Parser("pipeline", __doc__)
    deploying = parser.command("deploy", "have the pipeline as it is described here")
    for target in ("train", "serve"):
        deploying.add_argument(f"{target}_image", help=f"image `{target}`, by digest: …@sha256:…")
    deploying.add_argument(
        "--spark", metavar="IMAGE", help="process the data on Spark, in this one"
    )
    starting = parser.command("run", "the pipeline, and wait for its end")
    starting.add_argument("source", help="a folder with the source tables, here or in the bucket")
    starting.add_argument("parameters", nargs="*", metavar="NAME=VALUE", type=_pair)
    options = parser.parse(arguments)
    aws = Aws.of(options)
    if options.command == "run":
        start(aws, options.source, dict(options.parameters))
        return
    images = Images(options.train_image, options.serve_image, options.spark)
    for image in filter(None, images):
        registry.require_digest(image)
    require_sdk(aws.settings.region)
    from .definition import definition

    deploy(aws, definition(aws.settings, images, revision(images.train)))


def require_sdk(region: str) -> None:
    """Stop where the SageMaker SDK is missing; else have it be quiet, and ask AWS for nothing.

    Parameters
    ----------
    region : str
        Without one, it cannot even be imported.

    Raises
    ------
    ProjectError
        With the command that installs it.
    """
    if importlib.util.find_spec("sagemaker") is None:
        raise ProjectError(
            "the SageMaker SDK is missing: python3 bootstrap.py poetry install --with sagemaker"
        )
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", module="sagemaker")
    # It would simulate the policy of the role, which takes a right that no command here needs.
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"
    os.environ.setdefault("AWS_DEFAULT_REGION", region)
    os.environ.setdefault("SAGEMAKER_USER_CONFIG_OVERRIDE", str(ROOT / "conf/deploy/sdk.yaml"))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=VALUE, such as ProcessHosts=2")
    return name, value


if __name__ == "__main__":
    run(main)
