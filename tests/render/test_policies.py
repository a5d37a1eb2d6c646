"""The IAM policies that `ml-ready iam` fills in: actions exist, and are for their resources."""

from pathlib import Path
from string import Template

import parliament
import pytest

from tests.conftest import TEMPLATE

FOLDER = TEMPLATE / "src" / "ml_ready" / "aws" / "policies"
# A policy without a resource, unknown to the linter: trust.json.
POLICIES = sorted(path for path in FOLDER.glob("*.json") if path.name != "trust.json")
ROLE = "arn:aws:iam::123456789012:role/parcels"
VALUES = {
    "account": "123456789012",
    "bucket": "models",
    "name": "parcels",
    "partition": "aws",
    "region": "eu-central-1",
    **{f"{each}_role": f"{ROLE}-{each}" for each in ("endpoint", "job", "pipeline")},
}


def faults(text: str) -> list[str]:
    """Find faults of a policy."""
    policy = Template(text).substitute(VALUES)
    findings = parliament.analyze_policy_string(policy).findings
    return [f"{finding.issue}: {finding.title} {finding.detail}" for finding in findings]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_a_policy_has_no_fault(policy: Path) -> None:
    assert faults(policy.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("before", "after", "issue"),
    [
        ('sagemaker:CreateEndpoint"', 'sagemaker:CreateEndpont"', "UNKNOWN_ACTION"),
        (":endpoint/${name}", ":pipeline/${name}", "RESOURCE_MISMATCH"),
    ],
)
def test_a_fault_of_a_policy_is_found(before: str, after: str, issue: str) -> None:
    text = (FOLDER / "deploy.json").read_text("utf-8")
    assert before in text
    assert any(fault.startswith(issue) for fault in faults(text.replace(before, after)))
