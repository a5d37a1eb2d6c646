"""Every command that changes AWS: in a dry run, and with faults at every change."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from account import (
    ACCOUNT,
    BUCKET,
    CALLS,
    DEFINITION,
    IMAGE,
    NAME,
    READS,
    REGION,
    ROOT,
    Results,
    account,
    everything,
    kept,
    moto,
    other,
    put_back,
    refused,
    register,
)
from botocore.exceptions import (
    ConnectionClosedError,
)
from ml_ready.aws import pipeline, transform
from ml_ready.aws.client import Aws, AwsError
from ml_ready.aws.endpoint import Endpoint
from ml_ready.aws.registry import Registry
from moto.sagemaker.models import sagemaker_backends

FAULTS = [
    ("before", refused("ThrottlingException")),
    ("after", ConnectionClosedError(endpoint_url="https://aws.example")),
]

Step = Callable[[Aws, Results], object]


def nothing(aws: Aws, results: Results) -> None:
    """Nothing yet."""


def first(aws: Aws, results: Results) -> None:
    """One version that is approved."""
    register(aws, results, "a")


def second(aws: Aws, results: Results) -> None:
    """One version that serves, and another."""
    first(aws, results)
    Endpoint(aws).deploy()
    register(aws, results, "b")


def both(aws: Aws, results: Results) -> None:
    """Two versions that serve."""
    second(aws, results)
    Endpoint(aws).deploy({1: 1, 2: 1})


def stored(aws: Aws, results: Results) -> None:
    """A version, and a file to score."""
    first(aws, results)
    key = f"{NAME}/transform/in.csv"
    moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")


def described(aws: Aws, results: Results) -> None:
    """A pipeline of another commit."""
    pipeline.deploy(aws, DEFINITION)
    (entry,) = sagemaker_backends[ACCOUNT][REGION].pipelines.values()
    tags = [{"Key": "git_commit", "Value": "another"}]
    moto("sagemaker").add_tags(ResourceArn=entry.arn, Tags=tags)


def tables(results: Results) -> Path:
    """A folder with source tables."""
    folder = results[0].parent / "tables"
    folder.mkdir(exist_ok=True)
    for name in ("flights.csv", "planes.csv"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


def scored(aws: Aws) -> None:
    """Score that file."""
    home = f"s3://{BUCKET}/{NAME}/transform"
    transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")


COMMANDS = pytest.mark.parametrize(
    ("before", "command"),
    [
        (nothing, lambda aws, results: Registry(aws).register(IMAGE, *results)),
        (first, lambda aws, _: Registry(aws).promote(1)),
        (first, lambda aws, _: Endpoint(aws).deploy()),
        (second, lambda aws, _: Endpoint(aws).deploy({2: 1})),
        (second, lambda aws, _: Endpoint(aws).deploy({1: 9, 2: 1})),
        (second, lambda aws, _: Endpoint(aws).deploy({1: 1}, shadow=2)),
        (both, lambda aws, _: Endpoint(aws).deploy({1: 1})),
        (both, lambda aws, _: Endpoint(aws).weigh({1: 1, 2: 3})),
        (both, lambda aws, _: Endpoint(aws).rollback(2)),
        (second, lambda aws, _: Endpoint(aws).delete()),
        (stored, lambda aws, _: scored(aws)),
        (nothing, lambda aws, _: pipeline.deploy(aws, DEFINITION)),
        (
            described,
            lambda aws, _: pipeline.deploy(aws, DEFINITION | {"Steps": [{"Name": "Train"}]}),
        ),
        (described, lambda aws, results: pipeline.start(aws, str(tables(results)), {"Seed": "1"})),
    ],
    ids=[
        "register",
        "promote",
        "first",
        "next",
        "two",
        "shadow",
        "one",
        "weights",
        "rollback",
        "delete",
        "transform",
        "created",
        "changed",
        "run",
    ],
)

BEGUN: dict[Step, bytes] = {}


def begin(before: Step, aws: Aws, results: Results) -> None:
    """Have in the account what a command begins with, and no call counted."""
    if before not in BEGUN:
        before(aws, results)
        BEGUN[before] = kept()
    put_back(BEGUN[before])
    CALLS.clear()


@COMMANDS
def test_a_dry_run_changes_nothing(
    aws: Aws,
    results: Results,
    before: Step,
    command: Step,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before(aws, results)
    state = everything(aws)
    capsys.readouterr()
    command(Aws(ROOT, aws.settings, dry_run=True), results)
    assert re.search("^(would |[+])", capsys.readouterr().out, re.MULTILINE)
    assert everything(aws) == state


@pytest.mark.usefixtures("_clients")
@pytest.mark.parametrize(("moment", "fault"), FAULTS, ids=["refused", "unheard"])
@COMMANDS
def test_whatever_fails_at_any_change_the_next_run_goes_on(
    results: Results,
    faults: list[Callable[[str], None]],
    before: Step,
    command: Step,
    moment: str,
    fault: Exception,
) -> None:
    failed: list[tuple[str, str, Any]] = []

    def fail(at: str) -> None:
        call = CALLS[-1]
        if at.startswith(moment) and not call[1].startswith(READS) and call not in failed:
            failed.append(call)
            raise fault

    with account() as aws:
        begin(before, aws, results)
        command(aws, results)
        expected = {call for _, call, _ in CALLS if not call.startswith(READS)}
        undisturbed = everything(aws)
        begin(before, aws, results)
        faults[0] = fail
        # Each run ends at a change that has not failed before.
        for _ in range(100):
            before_it = len(failed)
            try:
                command(aws, results)
                break
            except AwsError:
                assert len(failed) > before_it
        faults[0] = lambda _: None
        assert everything(aws) == undisturbed
    assert {call for _, call, _ in failed} >= expected > set()


@pytest.mark.usefixtures("_clients")
@COMMANDS
def test_after_a_kill_at_any_change_one_run_makes_all_the_rest(
    results: Results,
    faults: list[Callable[[str], None]],
    before: Step,
    command: Step,
) -> None:
    left: list[bytes] = []

    def changed(at: str) -> None:
        moment, _, call = at.partition(" ")
        if moment == "after" and not call.startswith(READS):
            left.append(kept())

    with account() as aws:
        begin(before, aws, results)
        faults[0] = changed
        command(aws, results)
        faults[0] = lambda _: None
        undisturbed = everything(aws)
        assert left
        for state in left:
            put_back(state)
            command(aws, results)
            assert everything(aws) == undisturbed


@pytest.mark.usefixtures("_clients")
def test_what_is_named_here_is_short_enough_for_sagemaker(results: Results) -> None:
    with account() as aws:
        long = other(aws, f"name={'n' * 48}")
        register(long, results, "ab")
        Endpoint(long).deploy({1: 9, 2: 1})
        key = f"{'n' * 48}/transform/1.csv"
        moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
        transform.transform(long, 1, f"s3://{BUCKET}/{key}", f"s3://{BUCKET}/{key}/out")
