"""The pipeline on SageMaker: create or update it, run it, and say how it went."""

import argparse
import difflib
import hashlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import ProjectError
from .client import Aws
from .command_line import Parser, say
from .images import Images, commit, revision
from .registry import NOTHING_YET, Registry, require_digest
from .settings import CONF

# The parameters that follow from the source tables.
_OF_SOURCE = ("Data", "DataVersion")


def deploy(aws: Aws, definition: Mapping[str, Any]) -> None:
    """Create or update a pipeline on SageMaker; a second call changes nothing.

    Parameters
    ----------
    aws : Aws
        In a dry run, the difference to the deployed pipeline is shown.
    definition : mapping

    Raises
    ------
    ProjectError
        When there is no role for it, or AWS refuses.
    """
    name, role = aws.settings.name, aws.settings.roles.need("pipeline")
    pipeline = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    deployed = json.loads(pipeline["PipelineDefinition"]) if pipeline else {}
    if pipeline and deployed == definition and pipeline["RoleArn"] == role:
        say(f"{name} is there already, as it should be")
        return
    Registry(aws).ensure_group()
    if aws.dry_run:
        before, after = (
            json.dumps({"RoleArn": acting, **each}, indent=2).splitlines()
            for acting, each in (
                ((pipeline or {}).get("RoleArn"), deployed),
                (role, definition),
            )
        )
        for line in difflib.unified_diff(before, after, "deployed", "here", lineterm=""):
            say(line)
        return
    request = {
        "PipelineName": name,
        "PipelineDefinition": json.dumps(definition),
        "RoleArn": role,
    }
    tags = [{"Key": "git_commit", "Value": commit(aws.root) or "none"}]
    if pipeline:
        # First: with the change done, a second call would leave them out.
        aws.change("sagemaker", "add_tags", ResourceArn=pipeline["PipelineArn"], Tags=tags)
        aws.change("sagemaker", "update_pipeline", **request)
    else:
        aws.change("sagemaker", "create_pipeline", **request, Tags=tags)
    say(f"{name} is {'changed' if pipeline else 'made'}: poe pipeline-run data/sample")


def start(aws: Aws, source: str, parameters: Mapping[str, str]) -> None:
    """Run the pipeline, and wait for its end; a run of the same that is under way is waited for.

    Parameters
    ----------
    aws : Aws
    source : str
        A folder with the source tables, which is uploaded once, or the name of one in the bucket.
    parameters : mapping of str to str
        Instead of the defaults.

    Raises
    ------
    ProjectError
        When the pipeline or the source is missing, or a step fails: with the reason.
    """
    name = aws.settings.name
    pipeline = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    if pipeline is None:
        raise ProjectError(
            f"{name}: no such pipeline in {aws.settings.region}:", "poe pipeline-deploy"
        )
    _require_parameters(json.loads(pipeline["PipelineDefinition"]), parameters)
    folder = Path(source)
    data = upload(aws, folder) if folder.is_dir() else source
    version = data if folder.is_dir() else stored(aws, source)
    values = {**dict(zip(_OF_SOURCE, (data, version), strict=True)), **parameters}
    # An input without a single file would stop the job.
    aws.put(f"{name}/production/README.txt", NOTHING_YET)
    arn = running(aws, values, pipeline["LastModifiedTime"])
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
        run = aws.read("sagemaker", "describe_pipeline_execution", PipelineExecutionArn=arn)
        status = run["PipelineExecutionStatus"]
        return status, _failure(aws, arn) if status == "Failed" else ""

    aws.wait(f"run {arn.rpartition('/')[2]}", state, "Succeeded")
    say("The model waits for approval: poe registry list")


def upload(aws: Aws, folder: Path) -> str:
    """Upload the tables of a folder to the bucket, and return the name of their folder there.

    The name follows from the files: SageMaker recognizes a step on the same data as done, and other
    data do not change the input of an earlier run. Files that are there already are not uploaded.

    Parameters
    ----------
    aws : Aws
    folder : pathlib.Path
        Parquet and CSV files below it are uploaded; hidden ones are not.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Raises
    ------
    ProjectError
        When the folder holds no table, or the whole repository.
    """
    remedy = "give the folder with source tables"
    if aws.root.is_relative_to(folder.resolve()):
        raise ProjectError(f"{folder}: holds this repository:", remedy)
    tables = [path for path in sorted(folder.rglob("*")) if path.suffix in (".csv", ".parquet")]
    named = {path.relative_to(folder): path for path in tables if path.is_file()}
    files = {
        name.as_posix(): path
        for name, path in named.items()
        if not any(part.startswith(".") for part in name.parts)
    }
    if not files:
        raise ProjectError(f"{folder}: no .csv or .parquet:", remedy)
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

    Parameters
    ----------
    aws : Aws
    name : str
        Of a folder below `source/` of the project in the bucket.

    Returns
    -------
    str
        Sixteen hexadecimal digits.

    Raises
    ------
    ProjectError
        When there are none.
    """
    prefix = f"{aws.settings.name}/source/{name}/"
    listed = aws.every(
        "s3", "list_objects_v2", "Contents", Bucket=aws.settings.bucket, Prefix=prefix
    )
    files = [f"{each['Key']} {each['ETag']}" for each in listed]
    if not files:
        raise ProjectError(
            f"{name}: neither a folder here nor s3://{aws.settings.bucket}/{prefix}:",
            "give a folder with the source tables, such as data/sample",
        )
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:16]


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
    runs = aws.every(
        "sagemaker",
        "list_pipeline_executions",
        "PipelineExecutionSummaries",
        PipelineName=aws.settings.name,
    )
    for run in runs:
        if run["PipelineExecutionStatus"] == "Executing" and run["StartTime"] >= changed:
            arn = str(run["PipelineExecutionArn"])
            listed = aws.every(
                "sagemaker",
                "list_pipeline_parameters_for_execution",
                "PipelineParameters",
                PipelineExecutionArn=arn,
            )
            parameters = {each["Name"]: each["Value"] for each in listed}
            if values.items() <= parameters.items():
                return arn
    return None


def main(arguments: Sequence[str] | None = None) -> None:
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
        require_digest(image)
    require_sdk(aws.root, aws.settings.region)
    from .definition import definition

    deploy(aws, definition(aws.settings, images, revision(images.train)))


def require_sdk(root: Path, region: str) -> None:
    """Stop where the SageMaker SDK is missing; else keep it from logging and from calling AWS.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.
    region : str
        Without one, the SDK cannot even be imported.

    Raises
    ------
    ProjectError
        With the command that installs it.
    """
    if importlib.util.find_spec("sagemaker") is None:
        raise ProjectError(
            "the SageMaker SDK is missing:",
            "python3 bootstrap.py poetry install --with sagemaker",
        )
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", module="sagemaker")
    # It would simulate the policy of the role, which takes a right that no command here needs.
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"
    os.environ.setdefault("AWS_DEFAULT_REGION", region)
    os.environ.setdefault("SAGEMAKER_USER_CONFIG_OVERRIDE", str(root / CONF / "sdk.yaml"))


def _require_parameters(definition: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
    """Stop at a parameter that a pipeline does not have, or that has a wrong value."""
    kinds = {each["Name"]: each["Type"] for each in definition["Parameters"]}
    free = [name for name in kinds if name not in _OF_SOURCE]
    for key, value in parameters.items():
        if key not in free:
            raise ProjectError(f"{key}: no such parameter; there are {', '.join(free)}")
        if kinds[key] == "Integer" and not (value.isdecimal() and int(value)):
            raise ProjectError(f"{key}={value}: expected a whole number above 0")


def _failure(aws: Aws, arn: str) -> str:
    """Return which steps of a run failed, and why."""
    steps = aws.every(
        "sagemaker",
        "list_pipeline_execution_steps",
        "PipelineExecutionSteps",
        PipelineExecutionArn=arn,
    )
    reasons = []
    for step in steps:
        if step["StepStatus"] == "Failed":
            reason = step.get("FailureReason", "no reason given")
            # Of a processing job, the step does not say what its container said.
            if job := step.get("Metadata", {}).get("ProcessingJob", {}).get("Arn"):
                name = job.rpartition("/")[2]
                described = aws.read("sagemaker", "describe_processing_job", ProcessingJobName=name)
                reason = described.get("ExitMessage", reason)
            reasons.append(f"{step['StepName']}: {reason}")
    return "; ".join(reasons)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text}: expected NAME=VALUE, such as ProcessHosts=2")
    return name, value
