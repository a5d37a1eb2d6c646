"""The policies as `ml-ready iam` prints them, for the account, bucket, region and project."""

import json

import pytest
from account import ACCOUNT, BUCKET, NAME, REGION, ROLE, ROOT, SETTINGS, TYPED
from ml_ready import cli
from ml_ready.aws import iam
from ml_ready.aws.settings import settings
from ml_ready.errors import ConfigError

POLICIES = ("approve", "deploy", "endpoint", "job", "pipeline", "trust")


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints."""
    iam.main([*words, *TYPED])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_printed_as_json_with_nothing_left_to_fill_in(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, name, "--account", "210987654321")
    assert json.loads(text)["Version"] == "2012-10-17"
    assert "210987654321" in text or f"arn:aws:s3:::{BUCKET}/{NAME}" in text
    assert "$" not in text


@pytest.mark.usefixtures("aws")
def test_the_account_is_the_one_that_is_signed_in_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert ACCOUNT in printed(capsys, "trust")


@pytest.mark.parametrize(
    ("region", "partition"),
    [(REGION, "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_names_the_partition_of_its_region(name: str, region: str, partition: str) -> None:
    here = settings(ROOT, [f"bucket={BUCKET}", f"region={region}"])
    text = iam.policy(name, here, ACCOUNT)
    assert text.count("arn:") == text.count(f"arn:{partition}:")
    assert name == "trust" or text.count("arn:") > 0


def test_roles_that_are_set_are_passed_and_others_are_named_after_the_project() -> None:
    other = settings(ROOT, [f"bucket={BUCKET}", f"roles.endpoint={ROLE}-somebody"])
    text = iam.policy("deploy", other, ACCOUNT)
    assert f'"{ROLE}-somebody"' in text
    assert f'"{ROLE}-pipeline"' in text


@pytest.mark.parametrize(
    "account", ["12345678901", "1234567890123", "my-account-1", "１２３４５６７８９０１２"]
)
def test_what_is_no_account_is_refused(account: str) -> None:
    with pytest.raises(ConfigError, match="expected the 12 digits of an AWS account"):
        iam.policy("job", SETTINGS, account)


def test_a_region_that_aws_does_not_have_is_refused() -> None:
    nowhere = settings(ROOT, [f"bucket={BUCKET}", "region=moon"])
    with pytest.raises(ConfigError, match="region 'moon': AWS has none of this name"):
        iam.policy("job", nowhere, ACCOUNT)


def test_an_unknown_policy_is_refused_with_those_that_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["iam", "jobs"])
    assert "invalid choice: 'jobs'" in capsys.readouterr().err
