"""What the policies that `ml-ready iam` prints allow, and what a call needs."""

import fnmatch
import functools
import json
from typing import Any

from account import ACCOUNT, KINDS, REGION, SETTINGS
from ml_ready.aws.iam import policy

# What a call needs, where its name does not say it.
NEEDS = {
    "s3:CopyObject": "s3:PutObject",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:UploadFile": "s3:PutObject",
    "s3:DownloadFile": "s3:GetObject",
}


@functools.cache
def statements(name: str) -> list[dict[str, Any]]:
    """The statements of a policy, in the account of these tests."""
    listing: list[dict[str, Any]] = json.loads(policy(name, SETTINGS, ACCOUNT))["Statement"]
    return listing


def allows(name: str, action: str, resource: str, status: str = "") -> bool:
    """Whether a policy allows this in the account of these tests, to a version of this status."""
    return any(
        action in listed(each["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(each["Resource"]))
        and each["Effect"] == "Allow"
        and approval(each) in (None, status)
        for each in statements(name)
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


def actions(name: str) -> set[str]:
    """What a policy allows at all."""
    return {action for each in statements(name) for action in listed(each["Action"])}
