"""Calls to AWS: dry runs, refusals explained, and waiting with a limit."""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from ..errors import ProjectError
from .command_line import say
from .settings import Settings, find_root, settings

POLL_SECONDS = 15.0
# States of an endpoint in which only delete works.
BROKEN = ("Failed", "OutOfService", "UpdateRollbackFailed")
# What to do about a refusal, by its code.
_REMEDIES = {
    **dict.fromkeys(
        ("403", "AccessDenied", "AccessDeniedException"),
        "let the role that you use do this; `ml-ready iam` prints what it needs",
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException"), "sign in again: the credentials have expired"
    ),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
        "these credentials are not valid here: sign in again",
    ),
    **dict.fromkeys(
        ("301", "AuthorizationHeaderMalformed", "PermanentRedirect"),
        "the bucket is in another region: set `region` in conf/deploy/aws.yaml to that one",
    ),
    "NoSuchBucket": "make the bucket, or set SAGEMAKER_BUCKET to one that is there",
    "ResourceLimitExceeded": "ask for more under Service Quotas, or delete what is not needed",
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"),
        "AWS is busy: run it again, it goes on where it stopped",
    ),
}


class AwsError(ProjectError):
    """AWS refuses a call, or does not answer."""


class Aws:
    """AWS in one region; in a dry run, what would change something is shown and not done.

    Parameters
    ----------
    root : pathlib.Path
        The repository of the project.
    settings : Settings
    dry_run : bool
    """

    def __init__(self, root: Path, settings: Settings, *, dry_run: bool = False) -> None:
        self.root = root
        self.settings = settings
        self.dry_run = dry_run
        self._clients: dict[str, Any] = {}

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Aws":
        """Return what a command line asks for, see `command_line.Parser`.

        Parameters
        ----------
        options : argparse.Namespace
            With `set`, such as `["variant.count=3"]`, and `dry_run`.

        Returns
        -------
        Aws

        Raises
        ------
        ProjectError
            When the working folder is in no project, or a setting is missing or not allowed.
        """
        root = find_root()
        return cls(root, settings(root, options.set), dry_run=options.dry_run)

    def read(self, service: str, call: str, **parameters: Any) -> Any:
        """Ask for something.

        Parameters
        ----------
        service : str
            Such as `sagemaker`.
        call : str
            A method of its client.
        **parameters
            Of the call.

        Returns
        -------
        dict

        Raises
        ------
        AwsError
            When AWS refuses it.
        """
        with self._explained(call):
            return getattr(self._client(service), call)(**parameters)

    def every(self, service: str, call: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield each item of a listing, page by page.

        Parameters
        ----------
        service : str
            Such as `sagemaker`.
        call : str
            A method of its client that answers in pages.
        key : str
            The list of items in a page; a page without it has none.
        **parameters
            Of the call.

        Yields
        ------
        dict

        Raises
        ------
        AwsError
            When AWS refuses a page. The first page is asked for with the first item.
        """
        with self._explained(call):
            for page in self._client(service).get_paginator(call).paginate(**parameters):
                yield from page.get(key, [])

    def find(self, service: str, call: str, **parameters: Any) -> Any | None:
        """Ask for something that may not exist.

        Parameters
        ----------
        service, call : str
            As for `read`.
        **parameters
            Of the call.

        Returns
        -------
        dict or None
            None where AWS says that it does not exist.

        Raises
        ------
        AwsError
            When AWS refuses the call for another reason.
        """
        try:
            with self._explained(call):
                return getattr(self._client(service), call)(**parameters)
        except AwsError as error:
            cause = error.__cause__
            reason = cause.response["Error"] if isinstance(cause, ClientError) else {}
            missing = ("Could not find", "does not exist", "not found", "Not Found")
            if reason.get("Code") in ("ResourceNotFound", "404", "NoSuchKey") or (
                reason.get("Code") == "ValidationException"
                and any(each in reason.get("Message", "") for each in missing)
            ):
                return None
            raise

    def change(self, service: str, call: str, **parameters: Any) -> Any:
        """Change something, or in a dry run show the change.

        Parameters
        ----------
        service, call : str
            As for `read`.
        **parameters
            Of the call.

        Returns
        -------
        dict
            Empty in a dry run.

        Raises
        ------
        AwsError
            When AWS refuses it.
        """
        if self.dry_run:
            say(f"would {service} {call} {json.dumps(parameters, default=str, sort_keys=True)}")
            return {}
        return self.read(service, call, **parameters)

    def put(self, key: str, body: bytes, *, again: bool = False) -> None:
        """Upload a file to the bucket, unless it is there.

        Parameters
        ----------
        key : str
        body : bytes
        again : bool
            Replace a file that is there.

        Raises
        ------
        AwsError
            When AWS refuses it.
        """
        bucket = self.settings.bucket
        if not again and self.find("s3", "head_object", Bucket=bucket, Key=key):
            return
        if self.dry_run:
            say(f"would s3 put_object s3://{bucket}/{key} ({len(body)} bytes)")
            return
        self.read("s3", "put_object", Bucket=bucket, Key=key, Body=body)

    def wait(self, what: str, state: Callable[[], tuple[str, str]], good: str) -> None:
        """Wait until a state is good; print each change of it, and each five minutes without one.

        Parameters
        ----------
        what : str
            What is waited for.
        state : callable
            Returns the state, and why where it is a bad one.
        good : str
            The state that ends the waiting.

        Raises
        ------
        AwsError
            When it fails, or takes longer than `wait_minutes`.
        """
        if self.dry_run:
            return
        begun = time.monotonic()
        last, quiet = "", 0.0
        while True:
            status, reason = state()
            minutes = (time.monotonic() - begun) / 60
            if status != last or minutes >= quiet + 5:
                since = "" if status != last else f", {minutes:.0f} minutes"
                say(f"{what}: {status}{since}")
                last, quiet = status, minutes
            if status == good:
                return
            if status in (*BROKEN, "Deleted", "Stopped"):
                raise AwsError(f"{what} is {status}: {reason or 'SageMaker gives no reason'}")
            if minutes > self.settings.wait_minutes:
                raise AwsError(
                    f"{what} is still {status} after {self.settings.wait_minutes} minutes:",
                    "run the command again to go on waiting",
                )
            time.sleep(POLL_SECONDS)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            settings = Config(
                region_name=self.settings.region,
                retries={"mode": "adaptive", "total_max_attempts": 5},
                connect_timeout=5,
                read_timeout=30,
            )
            self._clients[service] = boto3.client(service, config=settings)
        return self._clients[service]

    @contextmanager
    def _explained(self, call: str) -> Iterator[None]:
        region = self.settings.region
        try:
            yield
        except NoCredentialsError as error:
            raise AwsError(
                f"{call}: no credentials:", "sign in, such as with `aws sso login`"
            ) from error
        except (ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError) as error:
            raise AwsError(f"{call}: no answer from AWS in {region}: {error}") from error
        except ClientError as error:
            reason = error.response["Error"]
            remedy = _REMEDIES.get(reason["Code"], f"see the console of SageMaker in {region}")
            raise AwsError(f"{call}: {reason['Code']}: {reason['Message']}:", remedy) from error
        except (Boto3Error, BotoCoreError) as error:
            # That of an upload names the code in its text alone.
            remedy = next((_REMEDIES[code] for code in _REMEDIES if f"({code})" in str(error)), "")
            raise AwsError(f"{call}: {error}{':' if remedy else ''}", remedy) from error
