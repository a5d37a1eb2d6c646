"""Batch transform: a file in the bucket, scored line by line."""

import hashlib

from ..errors import ProjectError
from . import registry
from .aws import Aws

KINDS = {"csv": "text/csv", "jsonl": "application/jsonlines"}


def transform(aws: Aws, number: int | None, source: str, target: str) -> None:
    """Score a file of records in the bucket, a line each.

    Parameters
    ----------
    aws : Aws
    number : int, optional
        The version; else the newest approved one.
    source, target : str
        S3 addresses: of a JSON Lines or CSV file, and of a folder, both below `transform/`.

    Raises
    ------
    ProjectError
        When the source is missing or of another kind, or the endpoint's role may not read or
        write there.
    """
    home = f"{aws.settings.home}/transform/"
    for given in (source, target):
        if not given.startswith(home):
            raise ProjectError(f"{given}: expected an address below {home}, see docs/iam/")
    if target.rstrip("/") == source.rpartition("/")[0]:
        raise ProjectError(f"{target}: holds the source: give another folder below {home}")
    if not (kind := KINDS.get(source.rpartition(".")[2])):
        raise ProjectError(f"{source}: expected a file .jsonl or .csv")
    version = registry.choose(aws, number)
    bucket, _, key = source.removeprefix("s3://").partition("/")
    read = aws.find("s3", "head_object", Bucket=bucket, Key=key)
    if read is None:
        raise ProjectError(f"{source}: no such file: upload it there, as .jsonl or .csv")
    # SageMaker scores all whose names begin so.
    listed = aws.every("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=key)
    if further := [each["Key"] for each in listed if each["Key"] != key]:
        raise ProjectError(f"{source}: {further[0]} begins with the same name: move one of them")
    # The same file again is the same job; one that failed is tried again under another name.
    for attempt in range(100):
        given = f"{version.arn} {source} {read['ETag']} {target} {attempt}"
        identity = hashlib.sha256(given.encode()).hexdigest()[:10]
        job = f"{aws.settings.name}-{identity}"
        found = aws.find("sagemaker", "describe_transform_job", TransformJobName=job)
        if not found or found["TransformJobStatus"] not in ("Failed", "Stopped"):
            break
    if not found:
        aws.change(
            "sagemaker",
            "create_transform_job",
            TransformJobName=job,
            ModelName=registry.model(aws, version.number),
            BatchStrategy="MultiRecord",
            MaxPayloadInMB=6,
            TransformInput={
                "ContentType": kind,
                "SplitType": "Line",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            },
            TransformOutput={"S3OutputPath": target, "Accept": kind, "AssembleWith": "Line"},
            TransformResources={
                "InstanceType": aws.settings.transform.type,
                "InstanceCount": aws.settings.transform.count,
            },
        )

    def state() -> tuple[str, str]:
        found = aws.read("sagemaker", "describe_transform_job", TransformJobName=job)
        return found["TransformJobStatus"], found.get("FailureReason", "")

    aws.wait(f"transform job {job}", state, "Completed")
