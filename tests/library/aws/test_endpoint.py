"""The endpoint, against AWS as moto plays it."""

import functools
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import pytest
from account import (
    ACCOUNT,
    CALLS,
    IMAGE,
    NAME,
    REGION,
    ROLE,
    ROOT,
    SERVERLESS,
    TYPED,
    Results,
    added,
    alarm_fires,
    alarm_names,
    asked,
    everything,
    in_production,
    moto,
    other,
    refused,
    register,
    scaled,
)
from ml_ready import runner
from ml_ready.aws import endpoint
from ml_ready.aws.client import Aws, AwsError
from ml_ready.aws.endpoint import Endpoint
from ml_ready.aws.registry import Registry
from ml_ready.errors import ProjectError
from moto.sagemaker.models import sagemaker_backends

SIZE = {"Type": "CAPACITY_PERCENT", "Value": 20}


def test_instances_that_were_added_stay_when_a_version_follows_another(
    aws: Aws, results: Results
) -> None:
    register(aws, results, "a")
    Endpoint(aws).deploy()
    register(aws, results, "b")
    assert added(aws, 3) == 3
    Endpoint(aws).deploy({1: 9, 2: 1})
    live, challenger = asked("create_endpoint_config")[-1]["ProductionVariants"]
    assert (live["InitialInstanceCount"], challenger["InitialInstanceCount"]) == (3, 2)
    Endpoint(aws).deploy({1: 9, 2: 1})
    assert len(asked("update_endpoint")) == 1
    added(aws, 4)
    Endpoint(aws).deploy({2: 1})
    (live,) = asked("create_endpoint_config")[-1]["ProductionVariants"]
    assert live["InitialInstanceCount"] == 4


def test_versions_are_rolled_out_step_by_step_and_back(aws: Aws, results: Results) -> None:
    register(aws, results, "a")
    Endpoint(aws).deploy()
    assert Endpoint(aws).serving() == {1: 1.0}
    Endpoint(aws).deploy()
    assert asked("update_endpoint") == []
    register(aws, results, "b")
    register(aws, results, "c", approve=False)
    Endpoint(aws).deploy()
    assert Endpoint(aws).serving() == {2: 1.0}
    (shift,) = (parameters["DeploymentConfig"] for parameters in asked("update_endpoint"))
    routing = shift["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["CanarySize"] == {"Type": "CAPACITY_PERCENT", "Value": 10}
    alarms = {each["AlarmName"] for each in shift["AutoRollbackConfiguration"]["Alarms"]}
    assert alarm_names() == alarms
    assert in_production(aws) == 2
    for _ in range(2):
        Endpoint(aws).rollback(2)
        assert Endpoint(aws).serving() == {1: 1.0}
        assert in_production(aws) == 1
    assert [each.status for each in Registry(aws).versions()][1] == "Rejected"
    # The alarms of the bad version have fired already.
    assert "AutoRollbackConfiguration" not in asked("update_endpoint")[-1]["DeploymentConfig"]


def test_two_versions_share_the_requests(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 1})
    Endpoint(aws).deploy({1: 90, 2: 10})
    assert Endpoint(aws).variants() == {"live": (1, 90), "challenger": (2, 10)}
    # SageMaker shifts no requests to a variant that was not there.
    assert "DeploymentConfig" not in asked("update_endpoint")[0]
    config = asked("create_endpoint_config")[-1]
    assert config["DataCaptureConfig"]["InitialSamplingPercentage"] == 20
    assert config["DataCaptureConfig"]["DestinationS3Uri"].endswith("/captured/v1-v2")
    assert in_production(aws) == 1
    Endpoint(aws).weigh({1: 40, 2: 60})
    assert Endpoint(aws).serving() == {1: 40, 2: 60}
    assert in_production(aws) == 2
    with pytest.raises(ProjectError, match="serves 1, 2: give each of them a share"):
        Endpoint(aws).weigh({1: 50})
    Endpoint(aws).rollback(2)
    assert Endpoint(aws).serving() == {1: 1}


def test_a_version_in_the_shadow_gets_a_copy_of_the_requests(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 7}, shadow=2)
    (config,) = asked("create_endpoint_config")
    (live,), (shadow,) = config["ProductionVariants"], config["ShadowProductionVariants"]
    assert shadow["VariantName"] == "shadow"
    assert shadow["InitialVariantWeight"] == live["InitialVariantWeight"]
    # Its answers are no answers to an A/B test of the same versions.
    captured = config["DataCaptureConfig"]["DestinationS3Uri"]
    Endpoint(aws).deploy({1: 1, 2: 1})
    apart = asked("create_endpoint_config")[-1]["DataCaptureConfig"]["DestinationS3Uri"]
    assert (captured.rpartition("/")[2], apart.rpartition("/")[2]) == ("v1-shadow-v2", "v1-v2")


def test_a_shadow_is_part_of_the_status(
    aws: Aws, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    read = Aws.read

    def answered(self: Aws, service: str, call: str, **parameters: Any) -> Any:
        answer = read(self, service, call, **parameters)
        # moto keeps no shadow.
        shadow = {"ShadowProductionVariants": [{"VariantName": "shadow"}]}
        return answer | shadow if call == "describe_endpoint" else answer

    monkeypatch.setattr(Aws, "read", answered)
    assert [*Endpoint(aws).status()][-1] == "shadow: gets a copy of the requests"


@pytest.mark.parametrize(("split", "shadow"), [({3: 9, 1: 1}, None), ({3: 1}, 1)])
def test_most_requests_go_to_a_new_version_step_by_step_alone(
    aws: Aws, results: Results, split: dict[int, int], shadow: int | None
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy({2: 1})
    state = everything(aws)
    with pytest.raises(ProjectError, match=r"serves 2: poe endpoint deploy 3 first, or --at-once"):
        Endpoint(aws).deploy(split, shadow)
    assert everything(aws) == state
    Endpoint(aws).deploy({3: 1})
    Endpoint(aws).deploy(split, shadow)
    Endpoint(aws).deploy({2: 1}, at_once=True)
    assert Endpoint(aws).serving() == {2: 1}


def test_in_one_step_no_alarm_rolls_back(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 1})
    endpoint.main(["deploy", "2", "--at-once", *TYPED])
    (update,) = asked("update_endpoint")
    assert "AutoRollbackConfiguration" not in update["DeploymentConfig"]
    routing = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "ALL_AT_ONCE"


def test_a_rollback_of_a_version_that_was_rejected_goes_no_further_back_again(
    aws: Aws, results: Results
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy()
    Registry(aws).judge(3, "Rejected", "quality fell")
    for _ in range(2):
        Endpoint(aws).rollback(3)
        assert Endpoint(aws).serving() == {2: 1}
    newest, *_ = Registry(aws).versions()
    assert Registry(aws).note(newest) == "quality fell"
    with pytest.raises(ProjectError, match="expected version 9, got 3 Rejected"):
        Endpoint(aws).rollback(9)


@pytest.mark.parametrize(
    ("split", "shadow"),
    [({3: 1}, None), ({2: 9, 3: 1}, None), ({2: 2}, 3)],
    ids=["live", "challenger", "shadow"],
)
def test_a_rollback_after_one_by_an_alarm_rejects_no_good_version(
    aws: Aws,
    results: Results,
    faults: list[Callable[[str], None]],
    split: dict[int, int],
    shadow: int | None,
) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy()
    register(aws, results, "c")
    faults[0] = alarm_fires(aws)
    with pytest.raises(AwsError, match="went back to version 2: "):
        Endpoint(aws).deploy(split, shadow)
    for _ in range(2):
        Endpoint(aws).rollback(3)
        assert Endpoint(aws).serving() == {2: 1}
    assert [each.status for each in Registry(aws).versions()] == [
        "Rejected",
        "Approved",
        "Approved",
    ]


def test_a_rollback_rejects_though_the_endpoint_is_broken_or_gone(
    aws: Aws, results: Results
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy()
    sagemaker_backends[ACCOUNT][REGION].endpoints[NAME].endpoint_status = "UpdateRollbackFailed"
    with pytest.raises(AwsError, match="poe endpoint delete, then deploy again"):
        Endpoint(aws).rollback(3)
    Endpoint(aws).delete()
    with pytest.raises(ProjectError, match="no such endpoint"):
        Endpoint(aws).rollback(2)
    assert [each.status for each in Registry(aws).versions()] == [
        "Rejected",
        "Rejected",
        "Approved",
    ]


def test_a_rollback_of_a_version_that_does_not_serve_leaves_those_that_do(
    aws: Aws, results: Results
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy({1: 9, 2: 1})
    Endpoint(aws).rollback(3)
    assert Endpoint(aws).serving() == {1: 9, 2: 1}
    assert [each.status for each in Registry(aws).versions()] == [
        "Rejected",
        "Approved",
        "Approved",
    ]


def test_a_rollback_to_a_version_that_does_not_start_can_go_further(
    aws: Aws, results: Results, faults: list[Callable[[str], None]]
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy()
    alarm = {"AlarmName": f"{NAME}-live-errors", "StateReason": "version 3 is bad"}
    moto("cloudwatch").set_alarm_state(**alarm, StateValue="ALARM")
    faults[0] = alarm_fires(aws)
    message = "version 3: SageMaker gives no reason: if version 2 is the cause, .* rollback 2"
    with pytest.raises(AwsError, match=message):
        Endpoint(aws).rollback(3)
    Endpoint(aws).rollback(2)
    assert Endpoint(aws).serving() == {3: 1}
    Endpoint(aws).rollback(3)
    assert Endpoint(aws).serving() == {1: 1}


def test_a_second_call_changes_nothing_from_another_time_zone(
    aws: Aws, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    state, versions = everything(aws), Registry.versions
    away = timezone(timedelta(hours=-8))
    monkeypatch.setattr(
        Registry,
        "versions",
        lambda self: [
            each._replace(created=each.created.astimezone(away)) for each in versions(self)
        ],
    )
    Endpoint(aws).deploy()
    assert everything(aws) == state


def test_an_endpoint_that_was_made_otherwise_is_left_alone(aws: Aws, results: Results) -> None:
    register(aws, results)
    sagemaker = moto("sagemaker")
    variant = {"VariantName": "all", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_model(ModelName=f"{NAME}-by-hand", PrimaryContainer={"Image": IMAGE})
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{NAME}-by-hand",
        ProductionVariants=[variant | {"ModelName": f"{NAME}-by-hand"}],
    )
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=f"{NAME}-by-hand")
    for command in (
        Endpoint.deploy,
        functools.partial(Endpoint.deploy, at_once=True),
        functools.partial(Endpoint.rollback, number=1),
        lambda endpoint: [*endpoint.status()],
    ):
        with pytest.raises(ProjectError, match="its variant all is not of poe endpoint deploy"):
            command(Endpoint(aws))
    assert asked("update_endpoint") == []


def test_shares_go_to_approved_versions_alone_and_are_looked_at(
    aws: Aws, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 9, 2: 1})
    change = Aws.change
    taken = "update_endpoint_weights_and_capacities"
    monkeypatch.setattr(
        Aws, "change", lambda self, *to, **what: taken in to or change(self, *to, **what)
    )
    with pytest.raises(
        AwsError, match="SageMaker did not apply the shares: look at `poe endpoint status`"
    ):
        Endpoint(aws).weigh({1: 1, 2: 9})
    assert in_production(aws) == 1
    Registry(aws).judge(2, "Rejected", "bad")
    with pytest.raises(ProjectError, match="expected version 2, approved"):
        Endpoint(aws).weigh({1: 1, 2: 9})
    assert asked(taken) == []


@pytest.mark.parametrize(("bad", "good"), [(3, 1), (1, 3)])
def test_a_rollback_prefers_the_version_that_serves_beside(
    aws: Aws, results: Results, bad: int, good: int
) -> None:
    register(aws, results, "abc")
    Endpoint(aws).deploy({1: 9, 3: 1})
    for _ in range(2):
        Endpoint(aws).rollback(bad)
        assert Endpoint(aws).serving() == {good: 1}
        assert in_production(aws) == good
    states = {each.number: each.status for each in Registry(aws).versions()}
    assert states == {good: "Approved", 2: "Approved", bad: "Rejected"}


@pytest.mark.parametrize(
    ("split", "shadow", "override", "message"),
    [
        ({1: 1, 2: 1, 3: 1}, None, "region=eu-central-1", "3 versions: expected one, or two"),
        ({1: 1, 2: 1}, 3, "region=eu-central-1", "--shadow 3: expected one version beside it"),
        ({1: 1}, 2, SERVERLESS, "a serverless endpoint has one version"),
        ({1: 1}, 1, "region=eu-central-1", "--shadow 1: it serves already"),
        ({1: 1, 2: 1}, None, SERVERLESS, "a serverless endpoint has one version"),
    ],
)
def test_versions_that_cannot_serve_together_are_refused(
    aws: Aws, split: dict[int, int], shadow: int | None, override: str, message: str
) -> None:
    with pytest.raises(ProjectError, match=message):
        Endpoint(other(aws, override)).deploy(split, shadow)
    assert CALLS == []


@pytest.mark.parametrize("state", ["Failed", "OutOfService", "UpdateRollbackFailed"])
def test_an_endpoint_that_takes_no_change_is_to_be_deleted(
    aws: Aws, results: Results, state: str
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    sagemaker_backends[ACCOUNT][REGION].endpoints[aws.settings.name].endpoint_status = state
    with pytest.raises(AwsError, match=f"is {state}: .*: poe endpoint delete, then deploy again"):
        Endpoint(aws).deploy()
    Endpoint(aws).delete()
    Endpoint(aws).deploy()


def test_an_endpoint_is_deleted_however_its_change_ends(
    aws: Aws, results: Results, faults: list[Callable[[str], None]]
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    entry = sagemaker_backends[ACCOUNT][REGION].endpoints[NAME]
    entry.endpoint_status = "Creating"

    def fail(at: str) -> None:
        if at == "after describe_endpoint":
            entry.endpoint_status = "Failed"

    faults[0] = fail
    Endpoint(aws).delete()
    assert moto("sagemaker").list_endpoints()["Endpoints"] == []


def test_a_dry_run_shows_what_it_would_change_and_changes_nothing(
    aws: Aws, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = Aws(ROOT, aws.settings, dry_run=True)
    Registry(dry).register(IMAGE, *results)
    assert "would sagemaker create_model_package " in capsys.readouterr().out
    assert Registry(aws).versions() == []
    register(aws, results)
    capsys.readouterr()
    Endpoint(dry).deploy()
    shown = capsys.readouterr().out
    for call in ("create_model ", "create_endpoint_config ", "create_endpoint "):
        assert f"would sagemaker {call}" in shown
    with pytest.raises(ProjectError, match="no such endpoint"):
        Endpoint(aws).serving()


def test_nothing_is_paid_for_after_a_delete(aws: Aws, results: Results) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    (ours,) = moto("sagemaker").list_endpoint_configs()["EndpointConfigs"]
    described = moto("sagemaker").describe_endpoint_config(
        EndpointConfigName=ours["EndpointConfigName"]
    )
    moto("sagemaker").create_endpoint_config(
        EndpointConfigName=f"{NAME}-of-others", ProductionVariants=described["ProductionVariants"]
    )
    for _ in range(2):
        Endpoint(aws).delete()
    assert moto("sagemaker").list_endpoints()["Endpoints"] == []
    (left,) = moto("sagemaker").list_endpoint_configs()["EndpointConfigs"]
    assert left["EndpointConfigName"] == f"{NAME}-of-others"
    assert alarm_names() == set()
    assert len(Registry(aws).versions()) == 1


def test_an_endpoint_is_made_weighed_and_deleted_by_command(
    aws: Aws, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    register(aws, results, "ab")
    endpoint.main(["deploy", "1", *TYPED])
    with pytest.raises(ProjectError, match="serves one version, expected two: deploy another"):
        endpoint.main(["weights", "1=2", *TYPED])
    endpoint.main(["deploy", "1=9", "2=1", *TYPED])
    endpoint.main(["weights", "1=2", "2=3", *TYPED])
    capsys.readouterr()
    endpoint.main(["status", *TYPED])
    lines = ["InService", "live: version 1, weight 2", "challenger: version 2, weight 3"]
    assert capsys.readouterr().out.splitlines() == lines
    endpoint.main(["deploy", "1", "--shadow", "2", *TYPED])
    (shadow,) = asked("create_endpoint_config")[-1]["ShadowProductionVariants"]
    assert "-v2-" in shadow["ModelName"]
    endpoint.main(["delete", *TYPED])
    with pytest.raises(ProjectError, match="no such endpoint"):
        endpoint.main(["status", *TYPED])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (["newest"], "newest: expected VERSION=SHARE, such as 3=90"),
        (["3=most"], "3=most: expected VERSION=SHARE, such as 3=90"),
        (["3=90", "3=10"], "a version is given twice"),
        (["3=0", "4=0"], "no version gets a request"),
    ],
)
def test_shares_that_cannot_be_are_refused(
    aws: Aws, split: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ProjectError, SystemExit)) as caught:
        endpoint.main(["deploy", *split, *TYPED])
    assert message in f"{caught.value} {capsys.readouterr().err}"
    assert CALLS == []


def test_a_mistake_ends_a_command_with_one_line(
    aws: Aws, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    monkeypatch.setattr("sys.argv", ["endpoint", "rollback", "1", *TYPED])
    with pytest.raises(
        SystemExit, match=r"^error: .* and no earlier version is approved: approve one, `poe reg"
    ):
        runner.run(endpoint.main)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("canary", {"CanarySize": SIZE, "Type": "CANARY", "WaitIntervalInSeconds": 480}),
        ("linear", {"LinearStepSize": SIZE, "Type": "LINEAR", "WaitIntervalInSeconds": 480}),
        ("all_at_once", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}),
    ],
)
def test_requests_go_over_as_the_settings_say(
    aws: Aws, results: Results, kind: str, expected: dict[str, Any]
) -> None:
    register(aws, results, "a")
    Endpoint(aws).deploy()
    register(aws, results, "b")
    Endpoint(other(aws, "shift={kind: " + kind + ", percent: 20, wait_minutes: 8}")).deploy()
    (update,) = asked("update_endpoint")
    policy = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == expected
    assert policy["TerminationWaitInSeconds"] == 300


def test_alarms_and_scaling_are_as_the_settings_say(aws: Aws, results: Results) -> None:
    register(aws, results)
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:late"
    parameters = ["alarms.latency_ms=150", "alarms.errors_per_minute=7", f"alarms.topic='{topic}'"]
    Endpoint(other(aws, *parameters, "scaling={maximum: 5, requests_per_minute: 900}")).deploy()
    errors, latency = asked("put_metric_alarm")
    alike = {
        "Namespace": "AWS/SageMaker",
        "Dimensions": [
            {"Name": "EndpointName", "Value": NAME},
            {"Name": "VariantName", "Value": "live"},
        ],
        "Period": 60,
        "EvaluationPeriods": 2,
        "ComparisonOperator": "GreaterThanThreshold",
        "TreatMissingData": "notBreaching",
        "AlarmActions": [topic],
    }
    assert errors == alike | {
        "AlarmName": f"{NAME}-live-errors",
        "MetricName": "Invocation5XXErrors",
        "Statistic": "Sum",
        "Threshold": 7,
    }
    assert latency == alike | {
        "AlarmName": f"{NAME}-live-latency",
        "MetricName": "ModelLatency",  # in microseconds
        "ExtendedStatistic": "p99",
        "Threshold": 150_000,
    }
    (target,), (policy,) = asked("register_scalable_target"), asked("put_scaling_policy")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 5)
    followed = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    assert followed == {"TargetValue": 900.0, "PredefinedMetricSpecification": metric}


def test_an_endpoint_can_do_without_servers_of_its_own(aws: Aws, results: Results) -> None:
    register(aws, results)
    Endpoint(other(aws, SERVERLESS)).deploy()
    (config,) = asked("create_endpoint_config")
    (variant,) = config["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 5}
    assert "DataCaptureConfig" not in config
    assert asked("register_scalable_target") == []


def test_an_endpoint_does_not_lose_its_servers_while_it_serves(aws: Aws, results: Results) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    with pytest.raises(ProjectError, match="poe endpoint delete, then deploy"):
        Endpoint(other(aws, SERVERLESS)).deploy()
    assert scaled(aws) == ["live"]
    Endpoint(aws).delete()
    Endpoint(other(aws, SERVERLESS)).deploy()


def test_one_instance_is_not_shifted_in_parts(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    one = other(aws, "variant.count=1")
    Endpoint(one).deploy({1: 1})
    Endpoint(one).deploy({2: 1})
    (update,) = asked("update_endpoint")
    policy = update["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


def test_shares_that_were_changed_are_set_again(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 9, 2: 1})
    Endpoint(aws).weigh({1: 1, 2: 9})
    Endpoint(aws).deploy({1: 9, 2: 1})
    assert Endpoint(aws).serving() == {1: 9, 2: 1}
    assert in_production(aws) == 1


def test_a_model_for_another_role_is_created_again(aws: Aws, results: Results) -> None:
    register(aws, results)
    Endpoint(aws).deploy()
    Endpoint(other(aws, f"roles.endpoint={ROLE}-other")).deploy()
    assert [each["ExecutionRoleArn"][-5:] for each in asked("create_model")] == ["point", "other"]


def test_an_alarm_during_a_shift_is_told(
    aws: Aws, results: Results, faults: list[Callable[[str], None]]
) -> None:
    register(aws, results, "a")
    Endpoint(aws).deploy()
    register(aws, results, "b")
    faults[0] = alarm_fires(aws)
    with pytest.raises(AwsError, match=r"went back to version 1: .*: if version 2 is the cause"):
        Endpoint(aws).deploy()
    assert Endpoint(aws).serving() == {1: 1.0}
    assert scaled(aws) == ["live"]


def test_a_version_that_follows_another_is_scaled_all_the_time(aws: Aws, results: Results) -> None:
    register(aws, results, "a")
    Endpoint(aws).deploy()
    register(aws, results, "b")
    Endpoint(aws).deploy()
    assert asked("deregister_scalable_target") == []
    Endpoint(other(aws, "variant.type=ml.c5.xlarge")).deploy()
    (gone,) = asked("deregister_scalable_target")
    assert gone["ResourceId"] == f"endpoint/{NAME}/variant/live"
    assert scaled(aws) == ["live"]


def test_an_update_that_is_refused_leaves_the_scaling(
    aws: Aws, results: Results, faults: list[Callable[[str], None]]
) -> None:
    register(aws, results, "ab")
    Endpoint(aws).deploy({1: 1, 2: 1})

    def fail(at: str) -> None:
        if at == "before update_endpoint":
            raise refused("ResourceLimitExceeded")

    faults[0] = fail
    with pytest.raises(AwsError, match="ask for more under Service Quotas"):
        Endpoint(aws).deploy()
    assert len(asked("deregister_scalable_target")) == 1
    assert scaled(aws) == ["live", "challenger"]
