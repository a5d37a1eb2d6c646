"""Batch transform: a file in the bucket, scored line by line."""

import csv
import hashlib
import io

from ..errors import ProjectError
from . import registry
from .aws import Aws

KINDS = {"csv": "text/csv", "jsonl": "application/jsonlines"}
HEAD = 65536  # bytes, which hold the first line


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
        When the source is missing or of another kind or has a header, or the endpoint's role may
        not read or write there.
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
    if kind == KINDS["csv"]:
        require_no_header(aws, bucket, key)
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


def require_no_header(aws: Aws, bucket: str, key: str) -> None:
    """Stop before a CSV file with a header, as only the first of its parts would be sent with it.

    Parameters
    ----------
    aws : Aws
    bucket, key : str
        Of the file.

    Raises
    ------
    ProjectError
        When its first line holds names alone, as those of the contract are, and the next one
        does not.
    """
    # Without a range, which an empty file does not have.
    body = aws.read("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    head = body.read(HEAD).decode("utf-8-sig", errors="replace")
    lines = filter(None, csv.reader(io.StringIO(head, newline="")))
    first, second = next(lines, []), next(lines, [])
    if first and _names(first) and not (second and _names(second)):
        raise ProjectError(
            f"s3://{bucket}/{key}: the first line is a header, {','.join(first)[:80]}: remove it, "
            "and give the columns in the order of the contract; or give a file .jsonl"
        )


def _names(row: list[str]) -> bool:
    # pandas gives the column of its index no name.
    return all(cell.isidentifier() for cell in (row if row[0] else row[1:]))
