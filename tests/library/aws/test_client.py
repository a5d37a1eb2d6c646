"""Calls to AWS: refusals explained, and waiting with a limit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from account import REGION, ROOT, SETTINGS, refused
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import (
    NoCredentialsError,
    ReadTimeoutError,
)
from ml_ready.aws import pipeline
from ml_ready.aws.client import Aws, AwsError
from ml_ready.aws.registry import Registry


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (NoCredentialsError(), "no credentials: sign in"),
        (refused("AccessDeniedException"), "let the role that you use do this"),
        (refused("403"), "let the role that you use do this"),
        (refused("301"), "the bucket is in another region"),
        (refused("NoSuchBucket"), "make the bucket"),
        (refused("ResourceLimitExceeded"), "ask for more under Service Quotas"),
        (refused("ExpiredTokenException"), "sign in again"),
        (ReadTimeoutError(endpoint_url="https://x"), "no answer from AWS in eu-central-1"),
        (refused("Other"), "see the console of SageMaker in eu-central-1"),
    ],
)
def test_a_refusal_says_what_to_do(
    aws: Aws, faults: list[Callable[[str], None]], fault: Exception, message: str
) -> None:
    def fail(_: str) -> None:
        raise fault

    faults[0] = fail
    with pytest.raises(AwsError, match=message):
        Registry(aws).versions()


def test_an_upload_that_is_refused_is_told(
    aws: Aws, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "boto3.s3.transfer.S3Transfer.upload_file",
        refusing(S3UploadFailedError("Failed: (AccessDenied)")),
    )
    with pytest.raises(
        AwsError, match=r"upload_file: Failed: .*: let the role that you use do this"
    ):
        pipeline.upload(aws, source)


def refusing(fault: Exception) -> Callable[..., None]:
    """A function that raises."""

    def fail(*_: Any, **__: Any) -> None:
        raise fault

    return fail


def test_waiting_ends_with_the_reason_or_at_the_limit(
    aws: Aws, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states = iter([("Creating", ""), ("Creating", ""), ("InService", "")])
    aws.wait("endpoint x", lambda: next(states), "InService")
    assert capsys.readouterr().out == "endpoint x: Creating\nendpoint x: InService\n"
    with pytest.raises(AwsError, match="endpoint x is Failed: no capacity"):
        aws.wait("endpoint x", lambda: ("Failed", "no capacity"), "InService")
    capsys.readouterr()
    monkeypatch.setattr("time.monotonic", iter([0.0, 1.0, 200.0, 420.0, 425.0]).__next__)
    states = iter([*3 * [("Updating", "")], ("InService", "")])
    aws.wait("endpoint x", lambda: next(states), "InService")
    message = "endpoint x: Updating\nendpoint x: Updating, 7 minutes\nendpoint x: InService\n"
    assert capsys.readouterr().out == message
    monkeypatch.setattr("time.monotonic", iter([0.0, 10000.0]).__next__)
    with pytest.raises(AwsError, match="still Creating after 45 minutes: run the command again"):
        aws.wait("endpoint x", lambda: ("Creating", ""), "InService")


def test_a_client_is_made_once_and_for_the_region() -> None:
    asking = Aws(ROOT, SETTINGS)
    client = asking._client("sagemaker")
    assert client.meta.region_name == REGION
    assert asking._client("sagemaker") is client
