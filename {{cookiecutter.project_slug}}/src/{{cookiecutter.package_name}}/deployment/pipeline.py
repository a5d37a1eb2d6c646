"""The pipeline on SageMaker: bring it there, run it, and say how it went."""

import difflib
import importlib.util
import json
from collections.abc import Mapping
from typing import Any

import yaml

from ..errors import ProjectError
from .aws import Aws, AwsError, Parser, run, say
from .image import commit
from .settings import ROOT


def deploy(aws: Aws, wanted: Mapping[str, Any]) -> None:
    """Have this pipeline; the same again changes nothing.

    Parameters
    ----------
    aws : Aws
        In a dry run, the difference to the pipeline that is there is shown.
    wanted : mapping
        Its definition.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    present = json.loads(found["PipelineDefinition"]) if found else {}
    if present == wanted:
        say(f"{name} is there already, as it should be")
        return
    if aws.dry_run:
        before, after = (json.dumps(each, indent=2).splitlines() for each in (present, wanted))
        for line in difflib.unified_diff(before, after, "deployed", "here", lineterm=""):
            say(line)
        return
    given = {
        "PipelineName": name,
        "PipelineDefinition": json.dumps(wanted),
        "RoleArn": aws.settings.role,
    }
    if found:
        aws.change("sagemaker", "update_pipeline", **given)
        arn = found["PipelineArn"]
    else:
        arn = aws.change("sagemaker", "create_pipeline", **given)["PipelineArn"]
    aws.change("sagemaker", "add_tags", ResourceArn=arn, Tags=tags())
    say(f"{name} is {'changed' if found else 'made'}: poe sagemaker-pipeline run")


def tags() -> list[dict[str, str]]:
    """Say which code and data a pipeline was made from."""
    lock = ROOT / "dvc.lock"
    found = {"git_commit": commit() or "none"}
    if lock.is_file():
        stages = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
        (records,) = stages["ingest"]["outs"]
        found["data_md5"] = records["md5"]
    return [{"Key": key, "Value": value} for key, value in found.items()]


def start(aws: Aws, parameters: Mapping[str, str]) -> None:
    """Run the pipeline, and wait for its end.

    Parameters
    ----------
    aws : Aws
    parameters : mapping of str to str
        Instead of the defaults.

    Raises
    ------
    AwsError
        When it is not there, or a step fails: with the reason.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_pipeline", PipelineName=name)
    if found is None:
        raise AwsError(f"{name}: no such pipeline: poe sagemaker-pipeline deploy")
    known = {each["Name"] for each in json.loads(found["PipelineDefinition"])["Parameters"]}
    if unknown := parameters.keys() - known:
        raise AwsError(f"{', '.join(unknown)}: no such parameter; there are {', '.join(known)}")
    given = [{"Name": key, "Value": value} for key, value in parameters.items()]
    started = aws.change(
        "sagemaker", "start_pipeline_execution", PipelineName=name, PipelineParameters=given
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


def failure(aws: Aws, arn: str) -> str:
    """Return which step of a run failed, and why."""
    steps = aws.read(
        "sagemaker",
        "list_pipeline_execution_steps",
        PipelineExecutionArn=arn,
        SortOrder="Descending",
    )
    return "; ".join(
        f"{step['StepName']}: {step.get('FailureReason', 'no reason given')}"
        for step in steps["PipelineExecutionSteps"]
        if step["StepStatus"] == "Failed"
    )


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = Parser("sagemaker-pipeline", __doc__)
    deploying = parser.command("deploy", "have the pipeline as it is described here")
    for target in ("train", "serve"):
        deploying.add_argument(f"{target}_image", help=f"image `{target}`, by digest: …@sha256:…")
    starting = parser.command("run", "the pipeline, and wait for its end")
    starting.add_argument("parameters", nargs="*", metavar="NAME=VALUE", type=_pair)
    options, aws = parser.parse(arguments)
    if options.command == "run":
        start(aws, dict(options.parameters))
        return
    images = options.train_image, options.serve_image
    for image in images:
        if "@sha256:" not in image:
            raise ProjectError(f"{image}: expected an image by digest, …@sha256:…; push it first")
    if importlib.util.find_spec("sagemaker") is None:
        raise ProjectError(
            "the SageMaker SDK is missing: python3 bootstrap.py poetry install --with sagemaker"
        )
    from .definition import definition

    deploy(aws, definition(aws.settings, *images))


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


if __name__ == "__main__":
    run(main)
