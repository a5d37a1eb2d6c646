"""Batch transform: a file in the bucket, scored line by line."""

import csv
import hashlib
import io
from typing import Any

from ..errors import ProjectError
from .client import Aws
from .registry import Registry

_KINDS = {"csv": "text/csv", "jsonl": "application/jsonlines"}
_HEAD = 65536  # bytes, which hold the first line


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
    kind = _require_addresses(f"{aws.settings.home}/transform/", source, target)
    registry = Registry(aws)
    version = registry.choose(number)
    tag = _require_one_file(aws, source, kind)
    # The same file again is the same job; one that failed is tried again under another name.
    for attempt in range(100):
        identity = f"{version.arn} {source} {tag} {target} {attempt}"
        digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
        name = f"{aws.settings.name}-{digest}"
        job = aws.find("sagemaker", "describe_transform_job", TransformJobName=name)
        if not job or job["TransformJobStatus"] not in ("Failed", "Stopped"):
            break
    if not job:
        model = registry.model(version.number)
        aws.change(
            "sagemaker", "create_transform_job", **_request(aws, name, model, source, target)
        )

    def state() -> tuple[str, str]:
        job = aws.read("sagemaker", "describe_transform_job", TransformJobName=name)
        return job["TransformJobStatus"], job.get("FailureReason", "")

    aws.wait(f"transform job {name}", state, "Completed")


def _require_addresses(home: str, source: str, target: str) -> str:
    """Return the content type of a source; stop where it or the target has a wrong address."""
    for address in (source, target):
        if not address.startswith(home):
            raise ProjectError(f"{address}: the endpoint has no access, expected one below {home}")
    if target.rstrip("/") == source.rpartition("/")[0]:
        raise ProjectError(f"{target}: holds the source:", f"give another folder below {home}")
    if not (kind := _KINDS.get(source.rpartition(".")[2])):
        raise ProjectError(f"{source}: expected a file .jsonl or .csv")
    return kind


def _require_one_file(aws: Aws, source: str, kind: str) -> str:
    """Return the ETag of a source; stop where it is missing, has a header, or is not alone."""
    bucket, _, key = source.removeprefix("s3://").partition("/")
    head = aws.find("s3", "head_object", Bucket=bucket, Key=key)
    if head is None:
        raise ProjectError(f"{source}: no such file:", "upload it there, as .jsonl or .csv")
    # SageMaker scores every file whose name begins so.
    objects = aws.every("s3", "list_objects_v2", "Contents", Bucket=bucket, Prefix=key)
    if others := [each["Key"] for each in objects if each["Key"] != key]:
        raise ProjectError(f"{source}: {others[0]} begins with the same name:", "move one of them")
    if kind == _KINDS["csv"]:
        _require_no_header(aws, bucket, key)
    return str(head["ETag"])


def _request(aws: Aws, name: str, model: str, source: str, target: str) -> dict[str, Any]:
    kind = _KINDS[source.rpartition(".")[2]]
    return {
        "TransformJobName": name,
        "ModelName": model,
        "BatchStrategy": "MultiRecord",
        "MaxPayloadInMB": 6,
        "TransformInput": {
            "ContentType": kind,
            "SplitType": "Line",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
        },
        "TransformOutput": {"S3OutputPath": target, "Accept": kind, "AssembleWith": "Line"},
        "TransformResources": {
            "InstanceType": aws.settings.transform.type,
            "InstanceCount": aws.settings.transform.count,
        },
    }


def _require_no_header(aws: Aws, bucket: str, key: str) -> None:
    """Stop before a CSV file with a header: SageMaker sends only the first part with it.

    A header is a first line of names alone, as those of the contract are, before a line of others.
    """
    # Without a range, which an empty file does not have.
    body = aws.read("s3", "get_object", Bucket=bucket, Key=key)["Body"]
    head = body.read(_HEAD).decode("utf-8-sig", errors="replace")
    lines = filter(None, csv.reader(io.StringIO(head, newline="")))
    first, second = next(lines, []), next(lines, [])
    if first and _names(first) and not (second and _names(second)):
        raise ProjectError(
            f"s3://{bucket}/{key}: the first line is a header, {','.join(first)[:80]}:",
            "remove it, and give the columns in the order of the contract; or give a file .jsonl",
        )


def _names(row: list[str]) -> bool:
    # pandas gives the column of its index no name.
    return all(cell.isidentifier() for cell in (row if row[0] else row[1:]))
