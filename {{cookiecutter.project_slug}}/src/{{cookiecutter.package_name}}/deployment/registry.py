"""The model registry: versions of the model, and which of them may serve."""

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ProjectError
from .aws import Aws
from .command_line import Parser, run, say
from .settings import ROOT

FILES = ("metadata.json", "model.onnx")
REPORT = "index.html"
TYPES = ["application/json", "application/jsonlines", "text/csv"]
PRODUCTION = "production/model.tar.gz"
NOTHING_YET = b"The model in production lies here as model.tar.gz, once there is one.\n"
STATES = {"approve": "Approved", "reject": "Rejected"}


class Version(NamedTuple):
    """A version in the registry."""

    number: int
    status: str
    arn: str
    created: Any


def versions(aws: Aws) -> list[Version]:
    """List the versions of the model, newest first; none where there is no registry yet."""
    if not aws.find(
        "sagemaker", "describe_model_package_group", ModelPackageGroupName=aws.settings.name
    ):
        return []
    found = aws.every(
        "sagemaker",
        "list_model_packages",
        "ModelPackageSummaryList",
        ModelPackageGroupName=aws.settings.name,
    )
    listed = [
        Version(
            each["ModelPackageVersion"],
            each["ModelApprovalStatus"],
            each["ModelPackageArn"],
            each["CreationTime"],
        )
        for each in found
    ]
    return sorted(listed, reverse=True)


def choose(aws: Aws, number: int | None, *, approved: bool = True) -> Version:
    """Return a version, or the newest one that is approved.

    Raises
    ------
    ProjectError
        When there is none, or it is not approved.
    """
    listed = versions(aws)
    wanted = [each for each in listed if number in (None, each.number)]
    if approved:
        wanted = [each for each in wanted if each.status == "Approved"]
    if wanted:
        return wanted[0]
    states = ", ".join(f"{each.number} {each.status}" for each in listed) or "none"
    which = "an approved version" if number is None else f"version {number}"
    need = ", approved" if approved and number is not None else ""
    raise ProjectError(
        f"{aws.settings.name} in {aws.settings.region}: wanted {which}{need}, there is {states}: "
        "poe registry register, then poe registry approve VERSION"
    )


def register(aws: Aws, image: str, folder: Path, reports: Path) -> str:
    """Register the model in a folder, once; it waits for approval.

    Parameters
    ----------
    aws : Aws
    image : str
        The image that serves it, by digest: a tag may be another image tomorrow.
    folder : pathlib.Path
        Holds `model.onnx` and `metadata.json`.
    reports : pathlib.Path
        Holds `metrics.json` and `index.html`.

    Returns
    -------
    str
        The ARN of the version; empty in a dry run.

    Raises
    ------
    ProjectError
        When a file is missing, the report is of another model or the gate has stopped this one,
        or the image is not named by digest.
    """
    require_digest(image)
    metrics = reports / "metrics.json"
    for path in [*(folder / name for name in FILES), metrics, reports / REPORT]:
        if not path.is_file():
            raise ProjectError(f"{path}: no such file. Make it first: poe pipeline")
    found = json.loads(metrics.read_bytes())
    if found.get("model_crc32") != zlib.crc32((folder / "model.onnx").read_bytes()):
        raise ProjectError(f"{metrics}: it is of another model than {folder}: poe pipeline")
    if not found["gate"]["good"]:
        raise ProjectError(f"{metrics}: the gate stopped this model: {found['gate']['failed']}")
    archive = pack(folder)
    identity = hashlib.sha256(archive + image.encode()).hexdigest()
    prefix = f"{aws.settings.name}/models/{identity[:16]}"
    name, bucket = aws.settings.name, aws.settings.bucket
    url = f"s3://{bucket}/{prefix}/model.tar.gz"
    for version in versions(aws):
        found = aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)
        if found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == url:
            say(f"It is version {version.number} already, {version.status}")
            return version.arn
    put(aws, f"{prefix}/model.tar.gz", archive)
    for path in (metrics, reports / REPORT):
        put(aws, f"{prefix}/{path.name}", path.read_bytes(), again=True)
    ensure_group(aws)
    metadata = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    created = aws.change(
        "sagemaker",
        "create_model_package",
        ClientToken=identity[:36],
        CustomerMetadataProperties={
            key: str(metadata[key]) for key in ("git_commit", "data_sha256", "contract_version")
        },
        **registration(name, image, url, f"s3://{bucket}/{prefix}/metrics.json"),
    )
    arn = str(created.get("ModelPackageArn", ""))
    if arn:
        say(f"Registered as {arn}: poe registry approve {arn.rpartition('/')[2]}")
    return arn


def require_digest(image: str) -> None:
    """Stop where an image is named by a tag, which may be another image tomorrow.

    Raises
    ------
    ProjectError
        Naming the image.
    """
    if not re.search("@sha256:[0-9a-f]{64}$", image):
        raise ProjectError(f"{image}: expected an image by digest, …@sha256:…; push it first")


def registration(name: str, image: str, model: Any, metrics: Any) -> dict[str, Any]:
    """Describe a version that waits for approval.

    Parameters
    ----------
    name : str
        The group of the versions of this model.
    image : str
        What serves it, by digest.
    model, metrics : str or pipeline variable
        S3 addresses.

    Returns
    -------
    dict
        For `CreateModelPackage`.
    """
    quality = {"ContentType": "application/json", "S3Uri": metrics}
    return {
        "ModelPackageGroupName": name,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": model}],
            "SupportedContentTypes": TYPES,
            "SupportedResponseMIMETypes": TYPES,
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": quality}},
    }


def ensure_group(aws: Aws) -> None:
    """Create the group that versions are registered in, unless it is there."""
    name = aws.settings.name
    if not aws.find("sagemaker", "describe_model_package_group", ModelPackageGroupName=name):
        aws.change("sagemaker", "create_model_package_group", ModelPackageGroupName=name)


def promote(aws: Aws, number: int, *, again: bool = False) -> None:
    """Make an approved version the one that the pipeline compares new models with.

    Parameters
    ----------
    aws : Aws
    number : int
        The version; `endpoint.deploy` does this for the one that gets most requests.
    again : bool
        Even if it is the one already, whose copy may be damaged.
    """
    version = choose(aws, number)
    found = aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)
    source = found["InferenceSpecification"]["Containers"][0]["ModelDataUrl"]
    target = {"Bucket": aws.settings.bucket, "Key": f"{aws.settings.name}/{PRODUCTION}"}
    there = aws.find("s3", "head_object", **target)
    if there and there["Metadata"].get("source") == source and not again:
        return
    aws.change(
        "s3",
        "copy_object",
        **target,
        CopySource=source.removeprefix("s3://"),
        Metadata={"source": source},
        MetadataDirective="REPLACE",
    )
    if not aws.dry_run:
        say(f"Version {number} is the one in production, which new models are compared with")


def put(aws: Aws, key: str, body: bytes, *, again: bool = False) -> None:
    """Upload a file, unless it is there or is to be replaced."""
    bucket = aws.settings.bucket
    if not again and aws.find("s3", "head_object", Bucket=bucket, Key=key):
        return
    if aws.dry_run:
        say(f"would s3 put_object s3://{bucket}/{key} ({len(body)} bytes)")
        return
    aws.read("s3", "put_object", Bucket=bucket, Key=key, Body=body)


def pack(folder: Path) -> bytes:
    """Pack the model as SageMaker wants it; the same files give the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in FILES:
            entry = tarfile.TarInfo(name)
            content = (folder / name).read_bytes()
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def model(aws: Aws, number: int) -> str:
    """Create SageMaker's model of an approved version unless it is there, and return its name."""
    version = choose(aws, number)
    # The moment as a number: its text depends on the time zone of the machine.
    made_of = f"{version.arn} {version.created.timestamp()} {aws.settings.roles.need('endpoint')}"
    identity = hashlib.sha256(made_of.encode()).hexdigest()[:6]
    name = f"{aws.settings.name}-v{number}-{identity}"
    if not aws.find("sagemaker", "describe_model", ModelName=name):
        aws.change(
            "sagemaker",
            "create_model",
            ModelName=name,
            PrimaryContainer={"ModelPackageName": version.arn},
            ExecutionRoleArn=aws.settings.roles.need("endpoint"),
        )
    return name


def judge(aws: Aws, number: int, status: str, reason: str) -> None:
    """Approve or reject a version, with a reason that is kept."""
    version = choose(aws, number, approved=False)
    if version.status == status and note(aws, version) == reason:
        say(f"Version {number} is {status} already")
        return
    aws.change(
        "sagemaker",
        "update_model_package",
        ModelPackageArn=version.arn,
        ModelApprovalStatus=status,
        ApprovalDescription=reason,
    )
    if not aws.dry_run:
        say(f"Version {number} is {status}")


def note(aws: Aws, version: Version) -> str:
    """Return why a version was approved or rejected."""
    found = aws.read("sagemaker", "describe_model_package", ModelPackageName=version.arn)
    return str(found.get("ApprovalDescription", ""))


def lines(aws: Aws) -> Iterator[str]:
    """Describe each version in a line, with the folder of its report."""
    listed = versions(aws)
    if not listed:
        yield f"no version of {aws.settings.name} in {aws.settings.region}"
    for each in listed:
        found = aws.read("sagemaker", "describe_model_package", ModelPackageName=each.arn)
        quality = found.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        folder = quality.get("S3Uri", "").rpartition("/")[0]
        yield f"{each.number:>4}  {each.status:<22}  {each.created:%Y-%m-%d %H:%M}  {folder}"


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = Parser("registry", __doc__)
    parser.command("list", "every version and whether it may serve")
    registering = parser.command("register", "the model in models/, which then waits for approval")
    registering.add_argument("image", help="the image that serves it, by digest: …@sha256:…")
    for name in STATES:
        judging = parser.command(name, f"a version: it is {STATES[name].lower()} from then on")
        judging.add_argument("version", type=int)
        judging.add_argument("--note", default="", help="why, kept with the version")
    promoting = parser.command("promote", "a version: new models are compared with it")
    promoting.add_argument("version", type=int)
    options = parser.parse(arguments)
    aws = Aws.of(options)
    if options.command == "promote":
        promote(aws, options.version, again=True)
    elif options.command == "list":
        for line in lines(aws):
            say(line)
    elif options.command == "register":
        register(aws, options.image, ROOT / "models", ROOT / "reports")
    else:
        judge(aws, options.version, STATES[options.command], options.note)


if __name__ == "__main__":
    run(main)
