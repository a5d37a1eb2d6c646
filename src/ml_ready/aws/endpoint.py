"""The endpoint: approved versions of the model, rolled out step by step, and back at once."""

import argparse
import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ProjectError
from .client import BROKEN, Aws, AwsError
from .command_line import Parser, say
from .registry import Registry
from .transform import transform

_CONTENT = ["application/json", "application/jsonlines"]
_CAPTURED_LINES = ["text/csv"]
_GUARDS = ("errors", "latency")
_VARIANTS, _SHADOW = ("live", "challenger"), "shadow"
# What the names of its configurations have after its own.
_CONFIGURATION = re.compile(r"[0-9a-f]{8}(-\d+)+")
# How the names of models end that `Registry.model` creates.
_MODEL = re.compile(r"-v(\d+)-[0-9a-f]{6}$")


class _Plan(NamedTuple):
    """What is to serve: the share of each version, a version in the shadow, and how it shifts."""

    shares: Mapping[int, int]
    shadow: int | None
    at_once: bool

    @property
    def main(self) -> int:
        """The version that gets most of the requests."""
        return _most(self.shares)

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of the variants that answer."""
        return _VARIANTS[: len(self.shares)]


class Endpoint:
    """The endpoint of a project.

    Parameters
    ----------
    aws : Aws
    """

    def __init__(self, aws: Aws) -> None:
        self.aws = aws
        self.name = aws.settings.name
        self.registry = Registry(aws)

    def deploy(
        self,
        split: Mapping[int, int] | None = None,
        shadow: int | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        """Deploy approved versions; a second call changes nothing.

        Parameters
        ----------
        split : mapping of int to int, optional
            The share of the requests that one or two versions get; without it the newest approved
            version gets all.
        shadow : int, optional
            A version that gets a copy of the requests to one other, and whose answers nobody sees.
        at_once : bool
            All requests go over in one step, and no alarm rolls back to the old version.

        Raises
        ------
        ProjectError
            For a version that is not approved, or versions that cannot serve together.
        AwsError
            When SageMaker refuses or gives up; a shift that fails leaves the versions in place that
            served before.
        """
        plan = _Plan(dict(split or {self.registry.choose(None).number: 1}), shadow, at_once)
        self._require_together(plan)
        endpoint = self._settled()
        if endpoint:
            self._require_step_by_step(endpoint, plan)
        configuration = self._configuration(plan)
        digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()[:8]
        prefix = f"{self.name}-{digest}"
        self._guard(plan.variants)
        if endpoint is None:
            config = self._ensure_configuration(prefix, configuration)
            self.aws.change(
                "sagemaker", "create_endpoint", EndpointName=self.name, EndpointConfigName=config
            )
            self._settle()
        elif not endpoint["EndpointConfigName"].startswith(prefix):
            self._update(endpoint, plan, prefix, configuration)
        serves = configuration if self.aws.dry_run else self._describe()
        self._scale(each["VariantName"] for each in serves["ProductionVariants"])
        if self.aws.dry_run:
            self.registry.promote(plan.main)
            return
        if not serves["EndpointConfigName"].startswith(prefix):
            raise self._rolled_back(serves, plan)
        if len(plan.shares) > 1:
            self.weigh(plan.shares)
        else:
            self.registry.promote(plan.main)
        listed = ", ".join(f"version {each} ({share:g})" for each, share in self.serving().items())
        say(f"{self.name} serves {listed}")

    def rollback(self, number: int) -> None:
        """Reject a version, and give all requests to another one, in one step.

        That is the one that serves beside it, or else the newest approved one before it. A version
        that does not serve, as an alarm has rolled it back, is rejected alone; so is one of an
        endpoint that is broken.

        Parameters
        ----------
        number : int
            The version to reject.

        Raises
        ------
        ProjectError
            When there is no such version, none to go back to, or no endpoint.
        AwsError
            When the endpoint takes no change any more.
        """
        endpoint = self._find()
        if endpoint is None or endpoint["EndpointStatus"] in BROKEN:
            self._reject(number)
        self._settled()
        serving = self.serving()
        versions = self.registry.versions()
        approved = [each.number for each in versions if each.status == "Approved"]
        # The one beside it comes first: it has shown what it can.
        others = [each for each in serving if each in approved and each != number]
        others += [each for each in approved if each < number]
        if number in serving and not others:
            raise ProjectError(
                f"{self.name} serves version {number}, and no earlier version is approved:",
                "approve one, `poe registry approve VERSION`, or stop: `poe endpoint delete`",
            )
        self._reject(number)
        if number in serving:
            self.deploy({others[0]: 1}, at_once=True)
            return
        say(f"{self.name} serves {', '.join(f'version {each}' for each in serving)}")
        if serving and _most(serving) in approved:  # what an interrupted rollback has left to do
            self._scale(self.variants())
            self.registry.promote(_most(serving))

    def weigh(self, shares: Mapping[int, int]) -> None:
        """Change what share of the requests each version gets.

        Parameters
        ----------
        shares : mapping of int to int
            By version, 0 or more for each one that serves: its part of the sum is its share.

        Raises
        ------
        ProjectError
            When one or other versions serve, or one is no longer approved.
        AwsError
            When SageMaker has taken other shares.
        """
        self._settled()
        variants = self.variants()
        if len(variants) == 1:
            raise ProjectError(
                f"{self.name} serves one version, expected two:",
                "deploy another with `poe endpoint deploy VERSION=SHARE VERSION=SHARE`",
            )
        numbers = sorted(number for number, _ in variants.values())
        if numbers != sorted(shares):
            raise ProjectError(
                f"{self.name} serves {', '.join(map(str, numbers))}:",
                "give each of them a share, or deploy others with poe endpoint deploy",
            )
        for number in (each for each in shares if shares[each]):
            self.registry.choose(number)
        if dict(variants.values()) != shares:
            self.aws.change(
                "sagemaker",
                "update_endpoint_weights_and_capacities",
                EndpointName=self.name,
                DesiredWeightsAndCapacities=[
                    {"VariantName": name, "DesiredWeight": float(shares[number])}
                    for name, (number, _) in variants.items()
                ],
            )
            self._settle()
            if not self.aws.dry_run and self.serving() != shares:
                raise AwsError(
                    f"{self.name}: SageMaker did not apply the shares:",
                    "look at `poe endpoint status`, then run the command again",
                )
        self.registry.promote(_most(shares))

    def status(self) -> Iterator[str]:
        """Describe the endpoint and each variant in a line.

        Yields
        ------
        str
            The state of the endpoint, then a line per variant.

        Raises
        ------
        ProjectError
            When there is no endpoint.
        """
        variants, endpoint = self.variants(), self._describe()
        yield " ".join([endpoint["EndpointStatus"], endpoint.get("FailureReason", "")]).strip()
        for name, (number, weight) in variants.items():
            yield f"{name}: version {number}, weight {weight:g}"
        for each in endpoint.get("ShadowProductionVariants", []):
            yield f"{each['VariantName']}: gets a copy of the requests"

    def variants(self) -> dict[str, tuple[int, float]]:
        """Return version and weight of each variant that serves.

        Returns
        -------
        dict of str to (int, float)
            By the name of the variant. Its part of the sum of weights is its share of the requests.

        Raises
        ------
        ProjectError
            When there is no endpoint.
        """
        endpoint = self._find()
        if endpoint is None:
            raise ProjectError(
                f"{self.name}: no such endpoint in {self.aws.settings.region}:",
                "poe endpoint deploy",
            )
        numbers = self._versions_in(endpoint["EndpointConfigName"])
        return {
            each["VariantName"]: (numbers[each["VariantName"]], each.get("CurrentWeight", 1.0))
            for each in endpoint.get("ProductionVariants", [])
        }

    def serving(self) -> dict[int, float]:
        """Return the versions that serve, and their weights.

        Returns
        -------
        dict of int to float
            By version. Its part of the sum of weights is its share of the requests.

        Raises
        ------
        ProjectError
            When there is no endpoint.
        """
        return dict(self.variants().values())

    def delete(self) -> None:
        """Delete the endpoint, its configurations, its alarms and its scaling: all that costs."""
        endpoint = self._find()
        status = endpoint["EndpointStatus"] if endpoint else "Deleting"
        if status not in ("Deleting", "InService", *BROKEN):
            # However its change ends, it is deleted.
            with contextlib.suppress(AwsError):
                self._settle()
        self._unscale(_VARIANTS)
        if status != "Deleting":
            self.aws.change("sagemaker", "delete_endpoint", EndpointName=self.name)
        self._settle("Deleted")
        alarms = [self._alarm(kind, variant) for variant in _VARIANTS for kind in _GUARDS]
        self.aws.change("cloudwatch", "delete_alarms", AlarmNames=alarms)
        configurations = self.aws.every(
            "sagemaker", "list_endpoint_configs", "EndpointConfigs", NameContains=f"{self.name}-"
        )
        for name in [each["EndpointConfigName"] for each in configurations]:
            if _CONFIGURATION.fullmatch(name.removeprefix(f"{self.name}-")):
                self.aws.change("sagemaker", "delete_endpoint_config", EndpointConfigName=name)
        if not self.aws.dry_run:
            say(f"{self.name} is deleted; its models and their versions are kept")

    def _find(self) -> Any | None:
        return self.aws.find("sagemaker", "describe_endpoint", EndpointName=self.name)

    def _describe(self) -> Any:
        return self.aws.read("sagemaker", "describe_endpoint", EndpointName=self.name)

    def _reject(self, number: int) -> None:
        if self.registry.choose(number, approved=False).status != "Rejected":
            self.registry.judge(number, "Rejected", "rolled back")

    def _settle(self, good: str = "InService") -> None:
        """Wait until the endpoint answers, or with `Deleted` until there is none."""

        def state() -> tuple[str, str]:
            endpoint = self._find() or {}
            return endpoint.get("EndpointStatus", "Deleted"), endpoint.get("FailureReason", "")

        self.aws.wait(f"endpoint {self.name}", state, good)

    def _settled(self) -> Any | None:
        """Return the endpoint once it is not changing, if there is one; stop where it is broken."""
        endpoint = self._find()
        if endpoint and endpoint["EndpointStatus"] in BROKEN:
            reason = endpoint.get("FailureReason", "no reason given")
            raise AwsError(
                f"{self.name} is {endpoint['EndpointStatus']}: {reason}:",
                "poe endpoint delete, then deploy again",
            )
        if endpoint and endpoint["EndpointStatus"] == "Deleting":
            self._settle("Deleted")
            return None
        if endpoint and endpoint["EndpointStatus"] != "InService":
            self._settle()
            return self._describe()
        return endpoint

    def _update(
        self,
        endpoint: Mapping[str, Any],
        plan: _Plan,
        prefix: str,
        configuration: Mapping[str, Any],
    ) -> None:
        """Replace the configuration of an endpoint that serves, and wait until it serves again."""
        before = self.aws.read(
            "sagemaker",
            "describe_endpoint_config",
            EndpointConfigName=endpoint["EndpointConfigName"],
        )
        self._require_same_kind(before, configuration)
        config = self._ensure_configuration(prefix, _with_added(endpoint, configuration))
        changes = _machines(before).items() - _machines(configuration).items()
        self._unscale(name for name, _ in changes)
        try:
            self.aws.change(
                "sagemaker",
                "update_endpoint",
                EndpointName=self.name,
                EndpointConfigName=config,
                **self._shifting(endpoint, plan),
            )
            self._settle()
        except AwsError:
            # While it is being changed, what was unscaled has to wait for the next call.
            with contextlib.suppress(AwsError):
                serves = self._describe()
                if serves["EndpointStatus"] == "InService":
                    self._scale(each["VariantName"] for each in serves["ProductionVariants"])
            raise

    def _ensure_configuration(self, prefix: str, configuration: Mapping[str, Any]) -> str:
        """Create the configuration of an endpoint unless it exists, and return its name."""
        variants = configuration["ProductionVariants"]
        counts = [str(each.get("InitialInstanceCount", 0)) for each in variants]
        name = "-".join([prefix, *counts])
        if not self.aws.find("sagemaker", "describe_endpoint_config", EndpointConfigName=name):
            self.aws.change(
                "sagemaker", "create_endpoint_config", EndpointConfigName=name, **configuration
            )
        return name

    def _require_same_kind(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Stop where an endpoint would get or lose servers of its own: SageMaker refuses that."""
        kinds = {"ServerlessConfig" in each["ProductionVariants"][0] for each in (before, after)}
        if len(kinds) > 1:
            raise ProjectError(
                f"{self.name}: variant.serverless cannot change while it serves:",
                "poe endpoint delete, then deploy",
            )

    def _step_by_step(self, endpoint: Mapping[str, Any], plan: _Plan) -> bool:
        """Whether requests can shift: only if the variants stay the same and are not serverless."""
        names = {each["VariantName"] for each in endpoint.get("ProductionVariants", [])}
        same = names == {*plan.variants} and plan.shadow is None
        return same and not self.aws.settings.variant.serverless

    def _require_step_by_step(self, endpoint: Mapping[str, Any], plan: _Plan) -> None:
        """Stop where most requests would go to a new version in one step, without a way back.

        Also where this is no endpoint of `deploy`.
        """
        number, serving = plan.main, self.serving()
        if plan.at_once or number in serving or self.aws.settings.variant.serverless:
            return
        if not self._step_by_step(endpoint, plan):
            raise ProjectError(
                f"version {number} would get most requests in one step, {self.name} serves "
                f"{', '.join(map(str, serving))}:",
                f"poe endpoint deploy {number} first, or --at-once",
            )

    def _require_together(self, plan: _Plan) -> None:
        """Stop where SageMaker would not have these versions serve together."""
        shadow, count = plan.shadow, len(plan.shares)
        if count > len(_VARIANTS):
            raise ProjectError(f"{count} versions: expected one, or two to compare")
        if shadow in plan.shares:
            raise ProjectError(f"--shadow {shadow}: it serves already, expected another version")
        if shadow and count > 1:
            raise ProjectError(f"--shadow {shadow}: expected one version beside it, got {count}")
        if self.aws.settings.variant.serverless and (shadow or count > 1):
            raise ProjectError("a serverless endpoint has one version:", "unset variant.serverless")

    def _rolled_back(self, endpoint: Mapping[str, Any], plan: _Plan) -> AwsError:
        """Explain why an endpoint serves what it served before, and what to do."""
        names = [self._alarm(kind, each) for kind in _GUARDS for each in _VARIANTS]
        alarms = self.aws.every(
            "cloudwatch", "describe_alarms", "MetricAlarms", AlarmNames=names, StateValue="ALARM"
        )
        # In one step, no alarm rolls back.
        reasons = [] if plan.at_once else [f"{each['AlarmName']} fired" for each in alarms]
        reasons += [endpoint["FailureReason"]] if endpoint.get("FailureReason") else []
        serving = self.serving()
        listed = ", ".join(f"version {each}" for each in serving)
        why = "; ".join(reasons) or "SageMaker gives no reason"
        number = plan.main
        remedy = f"if version {number} is the cause, poe endpoint rollback {number}"
        if number in serving:
            remedy = "see docs/runbook.md"
        return AwsError(f"{self.name} went back to {listed}: {why}:", remedy)

    def _configuration(self, plan: _Plan) -> dict[str, Any]:
        """Describe what serves; SageMaker's models that it names are created where missing."""
        settings = self.aws.settings
        serverless = settings.variant.serverless
        machine: dict[str, Any] = {
            "InstanceType": settings.variant.type,
            "InitialInstanceCount": settings.variant.count,
        }
        if serverless:
            machine = {
                "ServerlessConfig": {
                    "MemorySizeInMB": serverless.memory_mb,
                    "MaxConcurrency": serverless.concurrency,
                }
            }

        def variant(name: str, number: int, share: int) -> dict[str, Any]:
            return {
                "VariantName": name,
                "ModelName": self.registry.model(number),
                "InitialVariantWeight": share,
                **machine,
            }

        # SageMaker shifts requests from a variant to another of the same name.
        named = zip(plan.variants, plan.shares.items(), strict=True)
        configuration: dict[str, Any] = {
            "ProductionVariants": [variant(name, *version) for name, version in named]
        }
        if plan.shadow is not None:
            # Its share of the requests is its weight by that of the other.
            shadow = variant(_SHADOW, plan.shadow, max(plan.shares.values()))
            configuration["ShadowProductionVariants"] = [shadow]
        if settings.capture_percent and not serverless:
            configuration["DataCaptureConfig"] = self._capture(plan)
        return configuration

    def _capture(self, plan: _Plan) -> dict[str, Any]:
        versions = [f"v{each}" for each in plan.shares]
        versions += [f"shadow-v{plan.shadow}"] if plan.shadow else []
        settings = self.aws.settings
        return {
            "EnableCapture": True,
            "InitialSamplingPercentage": settings.capture_percent,
            "DestinationS3Uri": f"{settings.home}/captured/{'-'.join(versions)}",
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            "CaptureContentTypeHeader": {
                "JsonContentTypes": _CONTENT,
                "CsvContentTypes": _CAPTURED_LINES,
            },
        }

    def _shifting(self, endpoint: Mapping[str, Any], plan: _Plan) -> dict[str, Any]:
        """Describe how requests shift to the new versions, and which alarms roll back."""
        if not self._step_by_step(endpoint, plan):
            return {}
        shift = self.aws.settings.shift
        # A share of one instance would be all of it.
        one_step = plan.at_once or self.aws.settings.variant.count < 2
        kind = "all_at_once" if one_step else shift.kind
        routing: dict[str, Any] = {"Type": kind.upper(), "WaitIntervalInSeconds": 0}
        size = {"Type": "CAPACITY_PERCENT", "Value": shift.percent}
        if kind == "canary":
            routing |= {"CanarySize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
        elif kind == "linear":
            routing |= {"LinearStepSize": size, "WaitIntervalInSeconds": 60 * shift.wait_minutes}
        config: dict[str, Any] = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": 300,
            }
        }
        # The alarms may have fired already, for the version before: they would roll back to it.
        if not plan.at_once:
            names = [self._alarm(kind, name) for name in plan.variants for kind in _GUARDS]
            alarms = [{"AlarmName": name} for name in names]
            config["AutoRollbackConfiguration"] = {"Alarms": alarms}
        return {"DeploymentConfig": config}

    def _alarm(self, kind: str, variant: str) -> str:
        """Return the name of an alarm of the endpoint."""
        return f"{self.name}-{variant}-{kind}"

    def _guard(self, variants: Iterable[str]) -> None:
        """Set the alarms of each variant, which roll back to the old versions."""
        limits = self.aws.settings.alarms
        for variant in variants:
            where = [
                {"Name": "EndpointName", "Value": self.name},
                {"Name": "VariantName", "Value": variant},
            ]
            for kind, metric, statistic, limit in (
                ("errors", "Invocation5XXErrors", {"Statistic": "Sum"}, limits.errors_per_minute),
                ("latency", "ModelLatency", {"ExtendedStatistic": "p99"}, 1000 * limits.latency_ms),
            ):
                self.aws.change(
                    "cloudwatch",
                    "put_metric_alarm",
                    AlarmName=self._alarm(kind, variant),
                    Namespace="AWS/SageMaker",
                    MetricName=metric,
                    Dimensions=where,
                    Period=60,
                    EvaluationPeriods=2,
                    Threshold=limit,
                    ComparisonOperator="GreaterThanThreshold",
                    TreatMissingData="notBreaching",
                    AlarmActions=[limits.topic] if limits.topic else [],
                    **statistic,
                )

    def _scale(self, variants: Iterable[str]) -> None:
        """Scale the variants with the number of requests."""
        settings = self.aws.settings
        if settings.variant.serverless:
            return
        for variant in variants:
            target = {
                "ServiceNamespace": "sagemaker",
                "ResourceId": f"endpoint/{self.name}/variant/{variant}",
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
            }
            self.aws.change(
                "application-autoscaling",
                "register_scalable_target",
                MinCapacity=settings.variant.count,
                MaxCapacity=max(settings.scaling.maximum, settings.variant.count),
                **target,
            )
            self.aws.change(
                "application-autoscaling",
                "put_scaling_policy",
                PolicyName=f"{self.name}-requests",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": float(settings.scaling.requests_per_minute),
                    "PredefinedMetricSpecification": {
                        "PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"
                    },
                },
                **target,
            )

    def _unscale(self, variants: Iterable[str]) -> None:
        """Stop scaling variants: before that, SageMaker neither removes nor changes one."""
        identities = {f"endpoint/{self.name}/variant/{name}" for name in variants}
        targets = self.aws.every(
            "application-autoscaling",
            "describe_scalable_targets",
            "ScalableTargets",
            ServiceNamespace="sagemaker",
        )
        for target in [each for each in targets if each["ResourceId"] in identities]:
            self.aws.change(
                "application-autoscaling",
                "deregister_scalable_target",
                ServiceNamespace="sagemaker",
                ResourceId=target["ResourceId"],
                ScalableDimension=target["ScalableDimension"],
            )

    def _versions_in(self, name: str) -> dict[str, int]:
        """Return the version of each variant in a configuration; stop where `deploy` made none."""
        config = self.aws.read("sagemaker", "describe_endpoint_config", EndpointConfigName=name)
        variants = config["ProductionVariants"]
        matches = {
            each["VariantName"]: _MODEL.search(each.get("ModelName") or "") for each in variants
        }
        if strange := [each for each, match in matches.items() if not match]:
            raise ProjectError(
                f"{self.name}: its variant {strange[0]} is not of poe endpoint deploy:",
                "set another `name` in conf/deploy/aws.yaml, or delete that endpoint in the "
                "console",
            )
        return {each: int(match[1]) for each, match in matches.items() if match}


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    options = _parser().parse(arguments)
    aws = Aws.of(options)
    endpoint = Endpoint(aws)
    if options.command == "deploy":
        endpoint.deploy(_shares(options.split), options.shadow, at_once=options.at_once)
    elif options.command == "weights":
        endpoint.weigh(_shares(options.split))
    elif options.command == "rollback":
        endpoint.rollback(options.version)
    elif options.command == "status":
        for line in endpoint.status():
            say(line)
    elif options.command == "delete":
        endpoint.delete()
    else:
        transform(aws, options.version, options.source, options.target)


def _parser() -> Parser:
    parser = Parser("endpoint", __doc__)
    deploying = parser.command("deploy", "approved versions: the newest one, or some with shares")
    deploying.add_argument("split", nargs="*", type=_share, metavar="VERSION=SHARE")
    deploying.add_argument("--shadow", type=int, metavar="VERSION", help="gets a copy of requests")
    deploying.add_argument(
        "--at-once",
        action="store_true",
        help="in one step, without alarms: they may have fired already",
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
    return parser


def _share(text: str) -> tuple[int, int]:
    number, equals, share = text.partition("=")
    if not number.isdecimal() or not (share.isdecimal() or not equals):
        raise argparse.ArgumentTypeError(
            f"{text}: expected VERSION=SHARE, such as 3=90, or VERSION"
        )
    return int(number), int(share or 1)


def _shares(split: Sequence[tuple[int, int]]) -> dict[int, int]:
    shares = dict(split)
    if len(shares) < len(split):
        raise ProjectError("a version is given twice:", "give each of them one share")
    if split and not any(shares.values()):
        raise ProjectError("no version gets a request:", "give one of them a share above 0")
    return shares


def _most(shares: Mapping[int, float]) -> int:
    """Return the version that gets most of the requests."""
    return max(shares, key=lambda number: shares[number])


def _with_added(endpoint: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration in which a variant keeps the instances that were added to it."""
    counts = {
        each["VariantName"]: each.get("DesiredInstanceCount", 0)
        for each in endpoint["ProductionVariants"]
    }
    variants = [
        each | {"InitialInstanceCount": max(each["InitialInstanceCount"], count)}
        if (count := counts.get(each["VariantName"], 0)) and "InitialInstanceCount" in each
        else each
        for each in configuration["ProductionVariants"]
    ]
    return {**configuration, "ProductionVariants": variants}


def _machines(configuration: Mapping[str, Any]) -> dict[str, str]:
    """Return the instance type of each variant that a configuration describes."""
    return {
        each["VariantName"]: each.get("InstanceType", "")
        for each in configuration["ProductionVariants"]
    }
