"""The endpoint: approved versions of the model, brought out step by step, and back at once."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from . import registry
from .aws import Aws, AwsError, Parser, run, say

CONTENT = ["application/json", "application/jsonlines"]
CAPTURED_LINES = ["text/csv"]
GUARDS = ("errors", "latency")


def deploy(
    aws: Aws,
    split: Mapping[int, int] | None = None,
    shadow: int | None = None,
) -> None:
    """Have approved versions serve; the same again changes nothing.

    Parameters
    ----------
    aws : Aws
    split : mapping of int to int, optional
        The share of the requests that each version gets; without it the newest approved version
        gets all.
    shadow : int, optional
        A version that gets a copy of all requests, and whose answers nobody sees.

    Raises
    ------
    AwsError
        When a version is not approved, or SageMaker refuses or gives up; a shift that fails leaves
        the versions in place that served before.
    """
    name = aws.settings.name
    shares = dict(split or {registry.choose(aws, None).number: 1})
    wanted = configuration(aws, shares, shadow)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:10]
    label = "-".join(f"v{number}" for number in shares)
    config = f"{name[:30]}-{label[:20]}-{digest}"
    if not aws.find("sagemaker", "describe_endpoint_config", EndpointConfigName=config):
        aws.change("sagemaker", "create_endpoint_config", EndpointConfigName=config, **wanted)
    serving = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    if serving and serving["EndpointStatus"] not in ("InService", "Failed"):
        settle(aws)
        serving = aws.read("sagemaker", "describe_endpoint", EndpointName=name)
    guard(aws, shares)
    if serving is None:
        aws.change("sagemaker", "create_endpoint", EndpointName=name, EndpointConfigName=config)
    elif serving["EndpointConfigName"] != config:
        unscale(aws)
        aws.change(
            "sagemaker",
            "update_endpoint",
            EndpointName=name,
            EndpointConfigName=config,
            **shifting(aws, shadow is not None),
        )
    settle(aws)
    if not aws.dry_run:
        now = aws.read("sagemaker", "describe_endpoint", EndpointName=name)
        if now["EndpointConfigName"] != config:
            raise AwsError(
                f"{name} went back to {now['EndpointConfigName']}: an alarm rang during the shift, "
                "see docs/runbook.md"
            )
    scale(aws, shares)
    registry.promote(aws, max(shares, key=lambda number: shares[number]))
    say(f"{name} serves " + ", ".join(f"version {each} ({shares[each]})" for each in shares))


def configuration(aws: Aws, shares: Mapping[int, int], shadow: int | None) -> dict[str, Any]:
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

    def one(number: int, share: int) -> dict[str, Any]:
        return {
            "VariantName": f"v{number}",
            "ModelName": model(aws, number),
            "InitialVariantWeight": share,
            **machine,
        }

    wanted: dict[str, Any] = {
        "ProductionVariants": [one(number, share) for number, share in shares.items()]
    }
    if shadow is not None:
        wanted["ShadowProductionVariants"] = [one(shadow, 1)]
    if aws.settings.capture_percent and not variant.serverless:
        wanted["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": aws.settings.capture_percent,
            "DestinationS3Uri": f"s3://{aws.settings.bucket}/{aws.settings.name}/captured",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "JsonContentTypes": CONTENT,
                "CsvContentTypes": CAPTURED_LINES,
            },
        }
    return wanted


def model(aws: Aws, number: int) -> str:
    """Have SageMaker's model of an approved version, and return its name."""
    version = registry.choose(aws, number)
    name = f"{aws.settings.name}-v{number}"
    if not aws.find("sagemaker", "describe_model", ModelName=name):
        aws.change(
            "sagemaker",
            "create_model",
            ModelName=name,
            PrimaryContainer={"ModelPackageName": version.arn},
            ExecutionRoleArn=aws.settings.role,
        )
    return name


def shifting(aws: Aws, shadow: bool) -> dict[str, Any]:
    """Say how requests go over to the new versions, and what brings the old ones back."""
    shift = aws.settings.shift
    if shadow:  # SageMaker brings a shadow out at once.
        return {}
    routing: dict[str, Any] = {"Type": shift.kind.upper()}
    size = {"Type": "CAPACITY_PERCENT", "Value": shift.percent}
    if shift.kind == "canary":
        routing |= {"CanarySize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
    elif shift.kind == "linear":
        routing |= {"LinearStepSize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
    else:
        routing |= {"WaitIntervalInSeconds": 0}
    return {
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": 300,
            },
            "AutoRollbackConfiguration": {
                "Alarms": [{"AlarmName": alarm(aws, kind)} for kind in GUARDS]
            },
        }
    }


def alarm(aws: Aws, kind: str) -> str:
    """Return the name of an alarm of the endpoint."""
    return f"{aws.settings.name}-{kind}"


def guard(aws: Aws, shares: Mapping[int, int]) -> None:
    """Have the alarms that bring the old versions back."""
    limits = aws.settings.alarms
    latest = max(shares)
    where = [
        {"Name": "EndpointName", "Value": aws.settings.name},
        {"Name": "VariantName", "Value": f"v{latest}"},
    ]
    for kind, metric, statistic, limit in (
        ("errors", "Invocation5XXErrors", {"Statistic": "Sum"}, limits.errors_per_minute),
        ("latency", "ModelLatency", {"ExtendedStatistic": "p99"}, 1000 * limits.latency_ms),
    ):
        aws.change(
            "cloudwatch",
            "put_metric_alarm",
            AlarmName=alarm(aws, kind),
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=where,
            Period=60,
            EvaluationPeriods=2,
            Threshold=limit,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
            **statistic,
        )


def scale(aws: Aws, shares: Mapping[int, int]) -> None:
    """Have instances added where requests are many."""
    if aws.settings.variant.serverless:
        return
    for number in shares:
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{aws.settings.name}/variant/v{number}",
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
    """Stop scaling: SageMaker updates no endpoint whose variants are scaled."""
    prefix = f"endpoint/{aws.settings.name}/variant/"
    found = aws.read(
        "application-autoscaling", "describe_scalable_targets", ServiceNamespace="sagemaker"
    )
    for target in found["ScalableTargets"]:
        if target["ResourceId"].startswith(prefix):
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


def serving(aws: Aws) -> dict[int, float]:
    """Return the versions that serve, and their weights.

    Raises
    ------
    AwsError
        When there is no endpoint.
    """
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=aws.settings.name)
    if found is None:
        raise AwsError(f"{aws.settings.name}: no such endpoint: poe endpoint deploy")
    return {
        int(each["VariantName"].removeprefix("v")): each.get("CurrentWeight", 1.0)
        for each in found["ProductionVariants"]
    }


def rollback(aws: Aws) -> None:
    """Have the approved version before the ones that serve."""
    now = serving(aws)
    before = [
        each.number
        for each in registry.versions(aws)
        if each.status == "Approved" and each.number < min(now)
    ]
    if not before:
        raise AwsError(
            f"{aws.settings.name} serves version {min(now)}: no version before it is approved"
        )
    deploy(aws, {before[0]: 1})


def weigh(aws: Aws, shares: Mapping[int, int]) -> None:
    """Change what share of the requests each version gets.

    Raises
    ------
    AwsError
        When other versions serve.
    """
    now = serving(aws)
    if set(now) != set(shares):
        raise AwsError(
            f"{aws.settings.name} serves {', '.join(map(str, sorted(now)))}: give each of them a "
            "share, or deploy others with poe endpoint deploy"
        )
    if now != shares:
        aws.change(
            "sagemaker",
            "update_endpoint_weights_and_capacities",
            EndpointName=aws.settings.name,
            DesiredWeightsAndCapacities=[
                {"VariantName": f"v{number}", "DesiredWeight": float(share)}
                for number, share in shares.items()
            ],
        )
    settle(aws)
    registry.promote(aws, max(shares, key=lambda number: shares[number]))


def delete(aws: Aws) -> None:
    """Stop paying: delete the endpoint, its configuration, its alarms and its scaling."""
    name = aws.settings.name
    found = aws.find("sagemaker", "describe_endpoint", EndpointName=name)
    unscale(aws)
    if found:
        aws.change("sagemaker", "delete_endpoint", EndpointName=name)
    aws.change("cloudwatch", "delete_alarms", AlarmNames=[alarm(aws, kind) for kind in GUARDS])
    if found:
        config = found["EndpointConfigName"]
        aws.change("sagemaker", "delete_endpoint_config", EndpointConfigName=config)
    say(f"{name} is deleted; its models and their versions are kept")


def transform(aws: Aws, number: int | None, source: str, target: str) -> None:
    """Score a file of records in the bucket, a line each.

    Parameters
    ----------
    aws : Aws
    number : int, optional
        The version; else the newest approved one.
    source, target : str
        S3 addresses: of a JSON Lines or CSV file, and of a folder.
    """
    version = registry.choose(aws, number)
    kind = "text/csv" if source.endswith(".csv") else "application/jsonlines"
    identity = hashlib.sha256(f"{source} {target}".encode()).hexdigest()[:10]
    job = f"{aws.settings.name[:40]}-v{version.number}-{identity}"
    if not aws.find("sagemaker", "describe_transform_job", TransformJobName=job):
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
                "InstanceType": aws.settings.variant.type,
                "InstanceCount": aws.settings.variant.count,
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
    parser.command("rollback", "the approved version before the ones that serve")
    parser.command("status", "the versions that serve, and their shares")
    parser.command("delete", "the endpoint, which stops its costs; no version is lost")
    scoring = parser.command(
        "transform", "score a file in the bucket, .jsonl or .csv, line by line"
    )
    scoring.add_argument("source", help="s3://…")
    scoring.add_argument("target", help="s3://… of a folder")
    scoring.add_argument("--version", type=int, help="else the newest approved one")
    options, aws = parser.parse(arguments)
    if options.command == "deploy":
        deploy(aws, dict(options.split), options.shadow)
    elif options.command == "weights":
        weigh(aws, dict(options.split))
    elif options.command == "rollback":
        rollback(aws)
    elif options.command == "status":
        for number, weight in serving(aws).items():
            say(f"version {number}: weight {weight:g}")
    elif options.command == "delete":
        delete(aws)
    else:
        transform(aws, options.version, options.source, options.target)


def _share(text: str) -> tuple[int, int]:
    number, _, share = text.partition("=")
    return int(number), int(share or 1)


if __name__ == "__main__":
    run(main)
