"""The endpoint: approved versions of the model, brought out step by step, and back at once."""

import argparse
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import ProjectError
from . import registry
from .aws import Aws, AwsError
from .command_line import Parser, run, say

CONTENT = ["application/json", "application/jsonlines"]
CAPTURED_LINES = ["text/csv"]
GUARDS = ("errors", "latency")
VARIANTS, SHADOW = ("live", "challenger"), "shadow"
# What its configurations are called, after its name.
CONFIGURATION = re.compile(r"[0-9a-f]{8}(-\d+)+")
ROLLED_BACK = "rolled back"


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
        All requests go over in one step, whatever the settings say.

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
    label = "-".join(f"v{number}" for number in [*shares, *([shadow] if shadow else [])])
    wanted = configuration(aws, shares, shadow, label)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:8]
    home = f"{name}-{digest}"
    found = settled(aws)
    guard(aws, [each["VariantName"] for each in wanted["ProductionVariants"]])
    if found is None:
        config = ensure_configuration(aws, home, wanted)
        aws.change("sagemaker", "create_endpoint", EndpointName=name, EndpointConfigName=config)
        settle(aws)
    elif not found["EndpointConfigName"].startswith(home):
        require_same_kind(aws, found, wanted)
        config = ensure_configuration(aws, home, grown(found, wanted))
        unscale(aws)
        try:
            how = {} if shadow else shifting(aws, found, wanted, at_once=at_once)
            aws.change(
                "sagemaker", "update_endpoint", EndpointName=name, EndpointConfigName=config, **how
            )
            settle(aws)
        except AwsError:
            scale(aws, variants(aws))
            raise
    now = None if aws.dry_run else aws.read("sagemaker", "describe_endpoint", EndpointName=name)
    scale(aws, [each["VariantName"] for each in (now or wanted)["ProductionVariants"]])
    if now and not now["EndpointConfigName"].startswith(home):
        listed = ", ".join(f"version {each}" for each in serving(aws))
        raise AwsError(
            f"{name} went back to {listed}: an alarm rang during the shift, see docs/runbook.md"
        )
    if aws.dry_run:
        registry.promote(aws, most(shares))
        return
    weigh(aws, shares)
    listed = ", ".join(f"version {each} ({share:g})" for each, share in serving(aws).items())
    say(f"{name} serves {listed}")


def most(shares: Mapping[int, int]) -> int:
    """Return the version that gets most of the requests."""
    return max(shares, key=lambda number: shares[number])


def settled(aws: Aws) -> dict[str, Any] | None:
    """Return the endpoint once no change of it is under way, if there is one.

    Raises
    ------
    AwsError
        When it could not be made, with the reason.
    """
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    if found and found["EndpointStatus"] == "Failed":
        raise AwsError(
            f"{name} could not be made: {found.get('FailureReason', 'no reason given')}: "
            "poe endpoint delete, then deploy again"
        )
    if found and found["EndpointStatus"] == "Deleting":
        end(aws)
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


def require_same_kind(aws: Aws, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Stop where an endpoint would get servers of its own, or lose them: SageMaker refuses that.

    Raises
    ------
    ProjectError
        Saying what to do.
    """
    described = aws.read(
        "sagemaker", "describe_endpoint_config", EndpointConfigName=found["EndpointConfigName"]
    )
    kinds = {"ServerlessConfig" in each["ProductionVariants"][0] for each in (described, wanted)}
    if len(kinds) > 1:
        raise ProjectError(
            f"{aws.settings.name}: variant.serverless cannot change while it serves: "
            "poe endpoint delete, then deploy"
        )


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


def configuration(
    aws: Aws, shares: Mapping[int, int], shadow: int | None, label: str
) -> dict[str, Any]:
    """Describe what serves, and have the models for it."""
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
            "ModelName": model(aws, number),
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
        home = f"s3://{aws.settings.bucket}/{aws.settings.name}"
        wanted["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": aws.settings.capture_percent,
            "DestinationS3Uri": f"{home}/captured/{label}",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "JsonContentTypes": CONTENT,
                "CsvContentTypes": CAPTURED_LINES,
            },
        }
    return wanted


def model(aws: Aws, number: int) -> str:
    """Create SageMaker's model of an approved version unless it is there, and return its name."""
    version = registry.choose(aws, number)
    role = aws.settings.roles.need("endpoint")
    made_of = f"{version.arn} {version.created} {role}"
    identity = hashlib.sha256(made_of.encode()).hexdigest()[:6]
    name = f"{aws.settings.name}-v{number}-{identity}"
    if not aws.find("sagemaker", "describe_model", ModelName=name):
        aws.change(
            "sagemaker",
            "create_model",
            ModelName=name,
            PrimaryContainer={"ModelPackageName": version.arn},
            ExecutionRoleArn=role,
        )
    return name


def shifting(
    aws: Aws, found: Mapping[str, Any], wanted: Mapping[str, Any], *, at_once: bool
) -> dict[str, Any]:
    """Say how requests go over to the new versions, and what brings the old ones back."""
    names = [
        {each["VariantName"] for each in described["ProductionVariants"]}
        for described in (found, wanted)
    ]
    # A variant that comes or goes is brought out at once, and a serverless one as well.
    if names[0] != names[1] or aws.settings.variant.serverless:
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
    alarms = [{"AlarmName": alarm(aws, kind, name)} for name in sorted(names[0]) for kind in GUARDS]
    described: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": 300,
        }
    }
    # On the way back, the alarms may ring already: they would bring the bad version back.
    if not at_once:
        described["AutoRollbackConfiguration"] = {"Alarms": alarms}
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


def unscale(aws: Aws) -> None:
    """Stop scaling: SageMaker takes no machine or variant away that is scaled."""
    prefix = f"endpoint/{aws.settings.name}/variant/"
    found = aws.every(
        "application-autoscaling",
        "describe_scalable_targets",
        "ScalableTargets",
        ServiceNamespace="sagemaker",
    )
    for target in [each for each in found if each["ResourceId"].startswith(prefix)]:
        aws.change(
            "application-autoscaling",
            "deregister_scalable_target",
            ServiceNamespace="sagemaker",
            ResourceId=target["ResourceId"],
            ScalableDimension=target["ScalableDimension"],
        )


def settle(aws: Aws) -> None:
    """Wait until the endpoint answers."""

    def state() -> tuple[str, str]:
        found = aws.read("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
        return found["EndpointStatus"], found.get("FailureReason", "")

    aws.wait(f"endpoint {aws.settings.name}", state, "InService")


def end(aws: Aws) -> None:
    """Wait until there is no endpoint."""

    def state() -> tuple[str, str]:
        found = aws.find("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
        return found["EndpointStatus"] if found else "Deleted", ""

    aws.wait(f"endpoint {aws.settings.name}", state, "Deleted")


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
        raise ProjectError(f"{name}: no such endpoint: poe endpoint deploy")
    config = aws.read(
        "sagemaker", "describe_endpoint_config", EndpointConfigName=found["EndpointConfigName"]
    )
    numbers = {
        each["VariantName"]: int(each["ModelName"].rpartition("-v")[2].partition("-")[0])
        for each in config["ProductionVariants"]
    }
    return {
        each["VariantName"]: (numbers[each["VariantName"]], each.get("CurrentWeight", 1.0))
        for each in found.get("ProductionVariants", [])
    }


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


def rollback(aws: Aws) -> None:
    """Reject the newest version that serves, and have the approved one before it, at once.

    The same again goes no further back.

    Raises
    ------
    ProjectError
        When there is none.
    """
    settled(aws)
    newest = max(serving(aws))
    listed = registry.versions(aws)
    approved = [each.number for each in listed if each.status == "Approved"]
    before = [number for number in approved if number < newest]
    newer = [each for each in reversed(listed) if each.number > newest]
    left = [each.number for each in newer if registry.note(aws, each) == ROLLED_BACK]
    if left and newest == max((each for each in approved if each < left[0]), default=None):
        say(f"Version {left[0]} is rolled back already; further back: poe endpoint deploy VERSION")
        before = [newest]
    elif before:
        registry.judge(aws, newest, "Rejected", ROLLED_BACK)
    else:
        raise ProjectError(
            f"{aws.settings.name} serves version {newest}: no version before it is approved"
        )
    deploy(aws, {before[0]: 1}, at_once=True)


def weigh(aws: Aws, shares: Mapping[int, int]) -> None:
    """Change what share of the requests each version gets.

    Raises
    ------
    ProjectError
        When other versions serve.
    """
    settled(aws)
    now = variants(aws)
    numbers = sorted(number for number, _ in now.values())
    if numbers != sorted(shares):
        raise ProjectError(
            f"{aws.settings.name} serves {', '.join(map(str, numbers))}: give each of them a "
            "share, or deploy others with poe endpoint deploy"
        )
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
    registry.promote(aws, most(shares))


def delete(aws: Aws) -> None:
    """Stop paying: delete the endpoint, its configuration, its alarms and its scaling."""
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    now = found["EndpointStatus"] if found else "Deleting"
    if now not in ("Deleting", "Failed", "InService"):
        settle(aws)
    unscale(aws)
    if now != "Deleting":
        aws.change("sagemaker", "delete_endpoint", EndpointName=name)
    end(aws)
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
        When the source is missing, or the endpoint's role may not read or write there.
    """
    home = f"s3://{aws.settings.bucket}/{aws.settings.name}/transform/"
    for given in (source, target):
        if not given.startswith(home):
            raise ProjectError(f"{given}: expected an address below {home}, see docs/iam/")
    version = registry.choose(aws, number)
    kind = "text/csv" if source.endswith(".csv") else "application/jsonlines"
    bucket, _, key = source.removeprefix("s3://").partition("/")
    read = aws.find("s3", "head_object", Bucket=bucket, Key=key)
    if read is None:
        raise ProjectError(f"{source}: no such file: upload it there, as .jsonl or .csv")
    # The same file again is the same job; one that failed is tried again under another name.
    for attempt in range(100):
        given = f"{version.arn} {source} {read['ETag']} {target} {attempt}"
        identity = hashlib.sha256(given.encode()).hexdigest()[:10]
        job = f"{aws.settings.name}-{identity}"
        found = aws.find("sagemaker", "describe_transform_job", TransformJobName=job)
        if not found or found["TransformJobStatus"] not in ("Failed", "Stopped"):
            break
    if not found:
        aws.change(
            "sagemaker",
            "create_transform_job",
            TransformJobName=job,
            ModelName=model(aws, version.number),
            BatchStrategy="MultiRecord",
            MaxPayloadInMB=6,
            TransformInput={
                "ContentType": kind,
                "SplitType": "Line",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            },
            TransformOutput={"S3OutputPath": target, "Accept": kind, "AssembleWith": "Line"},
            TransformResources={
                "InstanceType": aws.settings.transform.type,
                "InstanceCount": aws.settings.transform.count,
            },
        )

    def state() -> tuple[str, str]:
        found = aws.read("sagemaker", "describe_transform_job", TransformJobName=job)
        return found["TransformJobStatus"], found.get("FailureReason", "")

    aws.wait(f"transform job {job}", state, "Completed")


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = Parser("endpoint", __doc__)
    deploying = parser.command("deploy", "approved versions: the newest one, or some with shares")
    deploying.add_argument("split", nargs="*", type=_share, metavar="VERSION=SHARE")
    deploying.add_argument("--shadow", type=int, metavar="VERSION", help="gets a copy of requests")
    weighing = parser.command("weights", "change the shares of the versions that serve")
    weighing.add_argument("split", nargs="+", type=_share, metavar="VERSION=SHARE")
    parser.command("rollback", "reject the newest version that serves, go back to the one before")
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
        deploy(aws, _shares(options.split), options.shadow)
    elif options.command == "weights":
        weigh(aws, _shares(options.split))
    elif options.command == "rollback":
        rollback(aws)
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
