"""What the policies of docs/iam/ allow, and what a call needs."""

import fnmatch
import json
import re
from typing import Any

from account import (
    ACCOUNT,
    BUCKET,
    KINDS,
    REGION,
    ROOT,
)

# What a call needs, where its name does not say it.
NEEDS = {
    "s3:CopyObject": "s3:PutObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:UploadFile": "s3:PutObject",
    "s3:DownloadFile": "s3:GetObject",
}


def allows(file: str, action: str, resource: str, status: str = "") -> bool:
    """Whether a policy allows this in the account of these tests, to a version of this status."""
    text = (ROOT / "docs" / "iam" / f"{file}.json").read_text(encoding="utf-8")
    text = re.sub(r"arn:aws:s3:::[^/\"]+", f"arn:aws:s3:::{BUCKET}", text)
    text = re.sub(r"(arn:aws:[a-z-]+):[a-z]+-[a-z-]+-\d:", rf"\1:{REGION}:", text)
    return any(
        action in listed(each["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(each["Resource"]))
        and each["Effect"] == "Allow"
        and approval(each) in (None, status)
        for each in json.loads(text)["Statement"]
    )


def approval(statement: dict[str, Any]) -> str | None:
    """The status that a statement is limited to."""
    equal = statement.get("Condition", {}).get("StringEquals", {})
    status: str | None = equal.get("sagemaker:ModelApprovalStatus")
    return status


def listed(value: str | list[str]) -> list[str]:
    """A text, or a list of them, as a list."""
    return [value] if isinstance(value, str) else value


def resources(service: str, parameters: dict[str, Any]) -> list[str]:
    """What a call is about, as its parameters say."""
    here = f"arn:aws:{service}:{REGION}:{ACCOUNT}"
    if service == "s3":
        key = f"/{parameters['Key']}" if "Key" in parameters else ""
        return [f"arn:aws:s3:::{parameters['Bucket']}{key}"]
    if service == "cloudwatch":
        names = parameters.get("AlarmNames") or [parameters["AlarmName"]]
        return [f"{here}:alarm:{name}" for name in names]
    if service == "application-autoscaling":
        return [f"{here}:scalable-target/1" if "ResourceId" in parameters else "*"]
    named = ("ModelPackageArn", "ModelPackageName", "PipelineExecutionArn", "ResourceArn")
    arns = [f"{here}:{kind}/{parameters[key]}" for key, kind in KINDS.items() if key in parameters]
    return [parameters[key] for key in named if key in parameters] or arns or ["*"]


def acting(service: str, call: str) -> str:
    """The action that a call needs."""
    action = f"{service}:{call.title().replace('_', '')}"
    return NEEDS.get(action, action)


def actions(file: str) -> set[str]:
    """What a policy allows at all."""
    policy = json.loads((ROOT / "docs" / "iam" / f"{file}.json").read_text(encoding="utf-8"))
    return {action for each in policy["Statement"] for action in listed(each["Action"])}
