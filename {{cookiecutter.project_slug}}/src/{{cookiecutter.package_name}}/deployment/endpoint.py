"""The endpoint: approved versions of the model, brought out step by step, and back at once."""

import argparse
import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ProjectError
from . import registry
from .aws import BROKEN, Aws, AwsError
from .command_line import Parser, run, say
from .transform import transform

CONTENT = ["application/json", "application/jsonlines"]
CAPTURED_LINES = ["text/csv"]
GUARDS = ("errors", "latency")
VARIANTS, SHADOW = ("live", "challenger"), "shadow"
# What its configurations are called, after its name.
CONFIGURATION = re.compile(r"[0-9a-f]{8}(-\d+)+")
# How the models end that `registry.model` makes.
MODEL = re.compile(r"-v(\d+)-[0-9a-f]{6}$")


def deploy(
    aws: Aws,
    split: Mapping[int, int] | None = None,
    shadow: int | None = None,
    *,
    at_once: bool = False,
) -> None:
    """Deploy approved versions; a second call changes nothing.

    Parameters
    ----------
    aws : Aws
    split : mapping of int to int, optional
        The share of the requests that one or two versions get; without it the newest approved
        version gets all.
    shadow : int, optional
        A version that gets a copy of the requests to one other, and whose answers nobody sees.
    at_once : bool
        All requests go over in one step, and no alarm brings the old version back.

    Raises
    ------
    AwsError
        When a version is not approved, or SageMaker refuses or gives up; a shift that fails leaves
        the versions in place that served before.
    ProjectError
        For versions that cannot serve together.
    """
    name = aws.settings.name
    shares = dict(split or {registry.choose(aws, None).number: 1})
    require_together(aws, shares, shadow)
    found = settled(aws)
    if found:
        require_step_by_step(aws, found, shares, shadow, at_once=at_once)
    wanted = configuration(aws, shares, shadow)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
    home = f"{name}-{digest}"
    guard(aws, [each["VariantName"] for each in wanted["ProductionVariants"]])
    if found is None:
        config = ensure_configuration(aws, home, wanted)
        aws.change("sagemaker", "create_endpoint", EndpointName=name, EndpointConfigName=config)
        settle(aws)
    elif not found["EndpointConfigName"].startswith(home):
        before = aws.read(
            "sagemaker", "describe_endpoint_config", EndpointConfigName=found["EndpointConfigName"]
        )
        require_same_kind(aws, before, wanted)
        config = ensure_configuration(aws, home, grown(found, wanted))
        unscale(aws, (name for name, _ in machines(before).items() - machines(wanted).items()))
        try:
            how = shifting(aws, found, shares, shadow, at_once=at_once)
            aws.change(
                "sagemaker", "update_endpoint", EndpointName=name, EndpointConfigName=config, **how
            )
            settle(aws)
        except AwsError:
            # While it is being changed, what was unscaled has to wait for the next call.
            with contextlib.suppress(AwsError):
                there = aws.read("sagemaker", "describe_endpoint", EndpointName=name)
                if there["EndpointStatus"] == "InService":
                    scale(aws, [each["VariantName"] for each in there["ProductionVariants"]])
            raise
    now = None if aws.dry_run else aws.read("sagemaker", "describe_endpoint", EndpointName=name)
    scale(aws, [each["VariantName"] for each in (now or wanted)["ProductionVariants"]])
    if now and not now["EndpointConfigName"].startswith(home):
        raise AwsError(f"{name} {gone_back(aws, now, most(shares), at_once=at_once)}")
    if aws.dry_run:
        registry.promote(aws, most(shares))
        return
    if len(shares) > 1:
        weigh(aws, shares)
    else:
        registry.promote(aws, most(shares))
    listed = ", ".join(f"version {each} ({share:g})" for each, share in serving(aws).items())
    say(f"{name} serves {listed}")


def most(shares: Mapping[int, float]) -> int:
    """Return the version that gets most of the requests."""
    return max(shares, key=lambda number: shares[number])


def settled(aws: Aws) -> dict[str, Any] | None:
    """Return the endpoint once no change of it is under way, if there is one.

    Raises
    ------
    AwsError
        When it takes no change any more, with the reason.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    if found and found["EndpointStatus"] in BROKEN:
        raise AwsError(
            f"{name} is {found['EndpointStatus']}: {found.get('FailureReason', 'no reason given')}"
            ": poe endpoint delete, then deploy again"
        )
    if found and found["EndpointStatus"] == "Deleting":
        settle(aws, "Deleted")
        return None
    if found and found["EndpointStatus"] != "InService":
        settle(aws)
        found = aws.read("sagemaker", "describe_endpoint", EndpointName=name)
    return dict(found) if found else None


def ensure_configuration(aws: Aws, home: str, wanted: Mapping[str, Any]) -> str:
    """Create the configuration of an endpoint unless it is there, and return its name."""
    counts = [str(each.get("InitialInstanceCount", 0)) for each in wanted["ProductionVariants"]]
    name = "-".join([home, *counts])
    if not aws.find("sagemaker", "describe_endpoint_config", EndpointConfigName=name):
        aws.change("sagemaker", "create_endpoint_config", EndpointConfigName=name, **wanted)
    return name


def grown(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which a variant keeps the instances that were added to it."""
    there = {
        each["VariantName"]: each.get("DesiredInstanceCount", 0)
        for each in found["ProductionVariants"]
    }
    variants = [
        each | {"InitialInstanceCount": max(each["InitialInstanceCount"], count)}
        if (count := there.get(each["VariantName"], 0)) and "InitialInstanceCount" in each
        else each
        for each in wanted["ProductionVariants"]
    ]
    return {**wanted, "ProductionVariants": variants}


def machines(described: Mapping[str, Any]) -> dict[str, str]:
    """Return the instance type of each variant that a configuration describes."""
    return {
        each["VariantName"]: each.get("InstanceType", "")
        for each in described["ProductionVariants"]
    }


def require_same_kind(aws: Aws, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Stop where an endpoint would get servers of its own, or lose them: SageMaker refuses that.

    Raises
    ------
    ProjectError
        Saying what to do.
    """
    kinds = {"ServerlessConfig" in each["ProductionVariants"][0] for each in (before, wanted)}
    if len(kinds) > 1:
        raise ProjectError(
            f"{aws.settings.name}: variant.serverless cannot change while it serves: "
            "poe endpoint delete, then deploy"
        )


def step_by_step(
    aws: Aws, found: Mapping[str, Any], shares: Mapping[int, int], shadow: int | None
) -> bool:
    """Whether requests can shift: not where a variant comes or goes, and not without servers."""
    there = {each["VariantName"] for each in found.get("ProductionVariants", [])}
    alike = there == {*VARIANTS[: len(shares)]} and shadow is None
    return alike and not aws.settings.variant.serverless


def require_step_by_step(
    aws: Aws,
    found: Mapping[str, Any],
    shares: Mapping[int, int],
    shadow: int | None,
    *,
    at_once: bool,
) -> None:
    """Stop where most requests would go to a new version in one step, without a way back.

    Raises
    ------
    ProjectError
        Saying what to do first; also where this is no endpoint of `deploy`.
    """
    number, now = most(shares), serving(aws)
    if at_once or number in now or aws.settings.variant.serverless:
        return
    if not step_by_step(aws, found, shares, shadow):
        raise ProjectError(
            f"version {number} would get most requests in one step, {aws.settings.name} serves "
            f"{', '.join(map(str, now))}: poe endpoint deploy {number} first, or --at-once"
        )


def gone_back(aws: Aws, now: Mapping[str, Any], number: int, *, at_once: bool) -> str:
    """Say why an endpoint serves what it served before, and what to do."""
    names = [alarm(aws, kind, each) for kind in GUARDS for each in VARIANTS]
    rings = aws.every(
        "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNames=names, StateValue="ALARM"
    )
    # In one step, no alarm brings anything back.
    reasons = [] if at_once else [f"{each['AlarmName']} rings" for each in rings]
    reasons += [now["FailureReason"]] if now.get("FailureReason") else []
    there = serving(aws)
    listed = ", ".join(f"version {each}" for each in there)
    said = f"went back to {listed}: {'; '.join(reasons) or 'SageMaker gives no reason'}"
    if number in there:
        return f"{said}: see docs/runbook.md"
    return f"{said}: if version {number} is the cause, poe endpoint rollback {number}"


def require_together(aws: Aws, shares: Mapping[int, int], shadow: int | None) -> None:
    """Stop where SageMaker would not have these versions serve together.

    Raises
    ------
    ProjectError
        Saying what it can do.
    """
    if len(shares) > len(VARIANTS):
        raise ProjectError(f"{len(shares)} versions: expected one, or two to compare")
    if shadow in shares:
        raise ProjectError(f"--shadow {shadow}: it serves already, expected another version")
    if shadow and len(shares) > 1:
        raise ProjectError(f"--shadow {shadow}: expected one version beside it, got {len(shares)}")
    if aws.settings.variant.serverless and (shadow or len(shares) > 1):
        raise ProjectError("a serverless endpoint has one version: unset variant.serverless")


def configuration(aws: Aws, shares: Mapping[int, int], shadow: int | None) -> dict[str, Any]:
    """Describe what serves; the SageMaker models that it names are made where they are missing."""
    variant = aws.settings.variant
    machine: dict[str, Any] = {"InstanceType": variant.type, "InitialInstanceCount": variant.count}
    if variant.serverless:
        machine = {
            "ServerlessConfig": {
                "MemorySizeInMB": variant.serverless.memory_mb,
                "MaxConcurrency": variant.serverless.concurrency,
            }
        }

    def one(name: str, number: int, share: int) -> dict[str, Any]:
        return {
            "VariantName": name,
            "ModelName": registry.model(aws, number),
            "InitialVariantWeight": share,
            **machine,
        }

    # SageMaker shifts requests from a variant to another of the same name.
    given = zip(VARIANTS, shares.items(), strict=False)
    wanted: dict[str, Any] = {
        "ProductionVariants": [one(name, number, share) for name, (number, share) in given]
    }
    if shadow is not None:
        # Its share of the requests is its weight by that of the other.
        wanted["ShadowProductionVariants"] = [one(SHADOW, shadow, max(shares.values()))]
    if aws.settings.capture_percent and not variant.serverless:
        serve = [*(f"v{each}" for each in shares), *([f"shadow-v{shadow}"] if shadow else [])]
        wanted["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": aws.settings.capture_percent,
            "DestinationS3Uri": f"{aws.settings.home}/captured/{'-'.join(serve)}",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "JsonContentTypes": CONTENT,
                "CsvContentTypes": CAPTURED_LINES,
            },
        }
    return wanted


def shifting(
    aws: Aws,
    found: Mapping[str, Any],
    shares: Mapping[int, int],
    shadow: int | None,
    *,
    at_once: bool,
) -> dict[str, Any]:
    """Say how requests go over to the new versions, and what brings the old ones back."""
    if not step_by_step(aws, found, shares, shadow):
        return {}
    shift = aws.settings.shift
    # A share of one instance would be all of it.
    kind = "all_at_once" if at_once or aws.settings.variant.count < 2 else shift.kind
    routing: dict[str, Any] = {"Type": kind.upper(), "WaitIntervalInSeconds": 0}
    size = {"Type": "CAPACITY_PERCENT", "Value": shift.percent}
    if kind == "canary":
        routing |= {"CanarySize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
    elif kind == "linear":
        routing |= {"LinearStepSize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
    names = [alarm(aws, kind, name) for name in VARIANTS[: len(shares)] for kind in GUARDS]
    described: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": 300,
        }
    }
    # The alarms may ring already, for the version before: they would bring it back.
    if not at_once:
        described["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in names]}
    return {"DeploymentConfig": described}


def alarm(aws: Aws, kind: str, variant: str) -> str:
    """Return the name of an alarm of the endpoint."""
    return f"{aws.settings.name}-{variant}-{kind}"


def guard(aws: Aws, names: Iterable[str]) -> None:
    """Set the alarms of each variant, which bring the old versions back."""
    limits = aws.settings.alarms
    for variant in names:
        where = [
            {"Name": "EndpointName", "Value": aws.settings.name},
            {"Name": "VariantName", "Value": variant},
        ]
        for kind, metric, statistic, limit in (
            ("errors", "Invocation5XXErrors", {"Statistic": "Sum"}, limits.errors_per_minute),
            ("latency", "ModelLatency", {"ExtendedStatistic": "p99"}, 1000 * limits.latency_ms),
        ):
            aws.change(
                "cloudwatch",
                "put_metric_alarm",
                AlarmName=alarm(aws, kind, variant),
                Namespace="AWS/SageMaker",
                MetricName=metric,
                Dimensions=where,
                Period=60,
                EvaluationPeriods=2,
                Threshold=limit,
                ComparisonOperator="GreaterThanThreshold",
                TreatMissingData="notBreaching",
                AlarmActions=[aws.settings.alarms.topic] if aws.settings.alarms.topic else [],
                **statistic,
            )


def scale(aws: Aws, names: Iterable[str]) -> None:
    """Scale the variants with the number of requests."""
    if aws.settings.variant.serverless:
        return
    for variant in names:
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{aws.settings.name}/variant/{variant}",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        aws.change(
            "application-autoscaling",
            "register_scalable_target",
            MinCapacity=aws.settings.variant.count,
            MaxCapacity=max(aws.settings.scaling.maximum, aws.settings.variant.count),
            **target,
        )
        aws.change(
            "application-autoscaling",
            "put_scaling_policy",
            PolicyName=f"{aws.settings.name}-requests",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": float(aws.settings.scaling.requests_per_minute),
                "PredefinedMetricSpecification": {
                    "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                },
            },
            **target,
        )


def unscale(aws: Aws, names: Iterable[str]) -> None:
    """Stop scaling variants: SageMaker neither takes one away nor changes its machines before."""
    wanted = {f"endpoint/{aws.settings.name}/variant/{name}" for name in names}
    found = aws.every(
        "application-autoscaling",
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="sagemaker",
    )
    for target in [each for each in found if each["ResourceId"] in wanted]:
        aws.change(
            "application-autoscaling",
            "deregister_scalable_target",
            ServiceNamespace="sagemaker",
            ResourceId=target["ResourceId"],
            ScalableDimension=target["ScalableDimension"],
        )


def settle(aws: Aws, good: str = "InService") -> None:
    """Wait until the endpoint answers, or with `Deleted` until there is none."""

    def state() -> tuple[str, str]:
        found = aws.find("sagemaker", "describe_endpoint", EndpointName=aws.settings.name) or {}
        return found.get("EndpointStatus", "Deleted"), found.get("FailureReason", "")

    aws.wait(f"endpoint {aws.settings.name}", state, good)


def variants(aws: Aws) -> dict[str, tuple[int, float]]:
    """Return version and weight of each variant that serves.

    Raises
    ------
    ProjectError
        When there is no endpoint.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    if found is None:
        raise ProjectError(
            f"{name}: no such endpoint in {aws.settings.region}: poe endpoint deploy"
        )
    numbers = versions_in(aws, found["EndpointConfigName"])
    return {
        each["VariantName"]: (numbers[each["VariantName"]], each.get("CurrentWeight", 1.0))
        for each in found.get("ProductionVariants", [])
    }


def versions_in(aws: Aws, name: str) -> dict[str, int]:
    """Return the version of each variant that a configuration describes.

    Raises
    ------
    ProjectError
        When `deploy` has not made it.
    """
    config = aws.read("sagemaker", "describe_endpoint_config", EndpointConfigName=name)
    models = {each["VariantName"]: each.get("ModelName") for each in config["ProductionVariants"]}
    numbers = {each: MODEL.search(model or "") for each, model in models.items()}
    if strange := [each for each, found in numbers.items() if not found]:
        raise ProjectError(
            f"{aws.settings.name}: its variant {strange[0]} is not of poe endpoint deploy: set "
            "another `name` in conf/deploy/aws.yaml, or delete that endpoint in the console"
        )
    return {each: int(found[1]) for each, found in numbers.items() if found}


def serving(aws: Aws) -> dict[int, float]:
    """Return the versions that serve, and their weights.

    Raises
    ------
    ProjectError
        When there is no endpoint.
    """
    return dict(variants(aws).values())


def status(aws: Aws) -> Iterator[str]:
    """Describe the endpoint and each variant in a line.

    Raises
    ------
    ProjectError
        When there is no endpoint.
    """
    serve = variants(aws)
    found = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    yield " ".join([found["EndpointStatus"], found.get("FailureReason", "")]).strip()
    for name, (number, weight) in serve.items():
        yield f"{name}: version {number}, weight {weight:g}"
    for each in found.get("ShadowProductionVariants", []):
        yield f"{each['VariantName']}: gets a copy of the requests"


def rollback(aws: Aws, number: int) -> None:
    """Reject a version, and give all requests to another one, in one step.

    That is the one that serves beside it, or else the newest approved one before it. A version
    that does not serve, as an alarm has brought back the one before, is rejected alone; so is one
    of an endpoint that is broken.

    Raises
    ------
    ProjectError
        When there is no such version, none to go back to, or no endpoint.
    AwsError
        When the endpoint takes no change any more.
    """

    def reject() -> None:
        if registry.choose(aws, number, approved=False).status != "Rejected":
            registry.judge(aws, number, "Rejected", "rolled back")

    found = aws.find("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    if found is None or found["EndpointStatus"] in BROKEN:
        reject()
    settled(aws)
    now = serving(aws)
    approved = [each.number for each in registry.versions(aws) if each.status == "Approved"]
    # The one beside it comes first: it has shown what it can.
    others = [each for each in now if each in approved and each != number]
    others += [each for each in approved if each < number]
    if number in now and not others:
        raise ProjectError(
            f"{aws.settings.name} serves version {number}: no version before it is approved"
        )
    reject()
    if number in now:
        deploy(aws, {others[0]: 1}, at_once=True)
        return
    say(f"{aws.settings.name} serves {', '.join(f'version {each}' for each in now)}")
    if now and most(now) in approved:  # what a rollback that was stopped has left to do
        scale(aws, variants(aws))
        registry.promote(aws, most(now))


def weigh(aws: Aws, shares: Mapping[int, int]) -> None:
    """Change what share of the requests each version gets.

    Raises
    ------
    ProjectError
        When one or other versions serve, or one is no longer approved.
    AwsError
        When SageMaker has taken other shares.
    """
    settled(aws)
    now = variants(aws)
    if len(now) == 1:
        raise ProjectError(f"{aws.settings.name} serves one version, which gets all requests")
    numbers = sorted(number for number, _ in now.values())
    if numbers != sorted(shares):
        raise ProjectError(
            f"{aws.settings.name} serves {', '.join(map(str, numbers))}: give each of them a "
            "share, or deploy others with poe endpoint deploy"
        )
    for number in (each for each in shares if shares[each]):
        registry.choose(aws, number)
    if dict(now.values()) != shares:
        aws.change(
            "sagemaker",
            "update_endpoint_weights_and_capacities",
            EndpointName=aws.settings.name,
            DesiredWeightsAndCapacities=[
                {"VariantName": name, "DesiredWeight": float(shares[number])}
                for name, (number, _) in now.items()
            ],
        )
        settle(aws)
        if not aws.dry_run and serving(aws) != shares:
            raise AwsError(f"{aws.settings.name} keeps its shares: see poe endpoint status")
    registry.promote(aws, most(shares))


def delete(aws: Aws) -> None:
    """Stop paying: delete the endpoint, its configuration, its alarms and its scaling."""
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    now = found["EndpointStatus"] if found else "Deleting"
    if now not in ("Deleting", "InService", *BROKEN):
        # However its change ends, it is deleted.
        with contextlib.suppress(AwsError):
            settle(aws)
    unscale(aws, VARIANTS)
    if now != "Deleting":
        aws.change("sagemaker", "delete_endpoint", EndpointName=name)
    settle(aws, "Deleted")
    alarms = [alarm(aws, kind, variant) for variant in VARIANTS for kind in GUARDS]
    aws.change("cloudwatch", "delete_alarms", AlarmNames=alarms)
    configurations = aws.every(
        "sagemaker", "list_endpoint_configs", "EndpointConfigs", NameContains=f"{name}-"
    )
    for each in [found["EndpointConfigName"] for found in configurations]:
        if CONFIGURATION.fullmatch(each.removeprefix(f"{name}-")):
            aws.change("sagemaker", "delete_endpoint_config", EndpointConfigName=each)
    if not aws.dry_run:
        say(f"{name} is deleted; its models and their versions are kept")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = Parser("endpoint", __doc__)
    deploying = parser.command("deploy", "approved versions: the newest one, or some with shares")
    deploying.add_argument("split", nargs="*", type=_share, metavar="VERSION=SHARE")
    deploying.add_argument("--shadow", type=int, metavar="VERSION", help="gets a copy of requests")
    deploying.add_argument(
        "--at-once", action="store_true", help="in one step, without alarms: they may ring already"
    )
    weighing = parser.command("weights", "change the shares of the versions that serve")
    weighing.add_argument("split", nargs="+", type=_share, metavar="VERSION=SHARE")
    leaving = parser.command("rollback", "reject a version, and go back to the one before it")
    leaving.add_argument("version", type=int, help="see poe endpoint status")
    parser.command("status", "the state, the versions that serve, and their shares")
    parser.command("delete", "the endpoint, which stops its costs; no version is lost")
    scoring = parser.command(
        "transform", "score a file in the bucket, .jsonl or .csv, line by line"
    )
    scoring.add_argument("source", help="s3://…")
    scoring.add_argument("target", help="s3://… of a folder")
    scoring.add_argument("--version", type=int, help="else the newest approved one")
    options = parser.parse(arguments)
    aws = Aws.of(options)
    if options.command == "deploy":
        deploy(aws, _shares(options.split), options.shadow, at_once=options.at_once)
    elif options.command == "weights":
        weigh(aws, _shares(options.split))
    elif options.command == "rollback":
        rollback(aws, options.version)
    elif options.command == "status":
        for line in status(aws):
            say(line)
    elif options.command == "delete":
        delete(aws)
    else:
        transform(aws, options.version, options.source, options.target)


def _share(text: str) -> tuple[int, int]:
    number, equals, share = text.partition("=")
    if not number.isdecimal() or not (share.isdecimal() or not equals):
        raise argparse.ArgumentTypeError(
            f"{text}: expected VERSION=SHARE, such as 3=90, or VERSION"
        )
    return int(number), int(share or 1)


def _shares(given: Sequence[tuple[int, int]]) -> dict[int, int]:
    shares = dict(given)
    if len(shares) < len(given):
        raise ProjectError("a version is given twice: give each of them one share")
    if given and not any(shares.values()):
        raise ProjectError("no version gets a request: give one of them a share above 0")
    return shares


if __name__ == "__main__":
    run(main)
