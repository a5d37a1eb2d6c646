"""The IAM policies of a project, for its account, bucket, region and name: `ml-ready iam`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from string import Template

import botocore.session
from botocore.exceptions import BotoCoreError

from ..errors import ConfigError
from .client import Aws
from .command_line import say
from .settings import Settings, find_root, settings

_POLICIES = {
    path.stem: path for path in sorted(Path(__file__).with_name("policies").glob("*.json"))
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a policy as JSON.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of this process.

    Raises
    ------
    AwsError
        When no account is given, and AWS does not say whose credentials these are.
    ConfigError
        When a setting is missing or not allowed.
    """
    parser = argparse.ArgumentParser("ml-ready iam", description="Print an IAM policy as JSON.")
    parser.add_argument("policy", choices=_POLICIES)
    parser.add_argument("--account", help="12 digits; by default the one that you are signed in to")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="instead of conf/deploy"
    )
    options = parser.parse_args(arguments)
    aws = Aws(find_root(), settings(find_root(), options.set))
    account = options.account or aws.read("sts", "get_caller_identity")["Account"]
    say(policy(options.policy, aws.settings, account))


def policy(name: str, settings: Settings, account: str) -> str:
    """Fill in a policy.

    Parameters
    ----------
    name : str
        `approve` or `deploy`, for people; `endpoint`, `job` or `pipeline`, for the role of that
        name; `trust`, which lets SageMaker assume these three roles.
    settings : Settings
        Name of the project, bucket and region. Roles that are not set are called as the project
        and their purpose, such as `flight-delays-job`.
    account : str
        Number of the AWS account.

    Returns
    -------
    str
        JSON.

    Raises
    ------
    ConfigError
        When the account is not 12 digits, or the region is in no partition of AWS.
    """
    if not (account.isascii() and account.isdigit() and len(account) == 12):
        raise ConfigError(f"account {account!r}: expected the 12 digits of an AWS account")
    try:
        partition = botocore.session.get_session().get_partition_for_region(settings.region)
    except BotoCoreError as error:
        raise ConfigError(
            f"region {settings.region!r}: AWS has none of this name:",
            "set `region` in conf/deploy/aws.yaml",
        ) from error
    prefix = f"arn:{partition}:iam::{account}:role/{settings.name}"
    roles = {
        f"{each}_role": getattr(settings.roles, each) or f"{prefix}-{each}"
        for each in ("endpoint", "job", "pipeline")
    }
    values = {"account": account, "bucket": settings.bucket, "name": settings.name}
    values |= {"partition": partition, "region": settings.region}
    return Template(_POLICIES[name].read_text(encoding="utf-8")).substitute(values, **roles).strip()
