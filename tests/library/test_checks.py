"""Checks: the verdict on a value, its evidence, and what is told of a model that fails."""

import pytest
from ml_ready.checks import (
    DATA_SCIENCE,
    Check,
    Interval,
    Verdict,
    compare,
    compare_gains,
    failures,
    percentiles,
    require_passed,
)
from ml_ready.errors import GateError

NAN = float("nan")


def test_an_interval_holds_the_middle_of_the_draws() -> None:
    assert percentiles([7.0, *range(101)], confidence=0.5) == Interval(7, 25, 75)


def test_a_draw_that_is_no_number_counts_nothing() -> None:
    assert percentiles([1.0, NAN, 2.0, 2.0], confidence=0.9) == Interval(1, 2, 2)


@pytest.mark.parametrize(
    ("value", "relation", "passed"),
    [
        (1.0, "≥", True),
        (0.9, "≥", False),
        (1.0, "≤", True),
        (1.1, "≤", False),
        (1.0, ">", False),
        (NAN, "≥", False),
        (NAN, "≤", False),
    ],
)
def test_a_value_is_held_against_its_bound(value: float, relation: str, passed: bool) -> None:
    check = compare("error", "Is it small?", value, relation, 1, window="test")
    assert (check.passed, check.threshold) == (passed, f"{relation} 1")
    assert check.verdict is (Verdict.PASSED if passed else Verdict.FAILED)
    assert (check.id, check.question, check.owner) == ("error", "Is it small?", DATA_SCIENCE)
    assert check.evidence["window"] == "test"
    assert check.evidence["value"] is value


def test_a_check_has_the_owner_that_it_is_given() -> None:
    check = compare("disk", "Is it full?", 1, "≤", 1, window="test", owner="platform")
    assert check.owner == "platform"


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.TOO_FEW_ROWS, Verdict.NOT_RUN])
def test_a_check_that_did_not_run_has_not_passed(verdict: Verdict) -> None:
    check = Check("x", "Is it?", DATA_SCIENCE, "≥ 1", verdict, {"window": "test", "value": 0.0})
    assert not check.passed
    assert failures([check]) == ["x on test is 0.0000, required ≥ 1"]
    without_numbers = Check("x", "Is it?", DATA_SCIENCE, "≥ 1", verdict)
    assert failures([without_numbers]) == [f"x is {verdict.value}, required ≥ 1"]


def test_a_gain_counts_with_its_lower_end() -> None:
    gains = {"constant": Interval(0.3, 0.1, 0.5), "few_linear": Interval(0.3, -0.1, 0.5)}
    checks = compare_gains("test", gains, "loss", 0.05)
    assert [each.passed for each in checks] == [True, False]
    assert checks[1].question == "Does the model beat few linear?"
    require_passed(checks[:1])
    line = "loss gain over few_linear, lower end on test is -0.1000, required > 0.05"
    with pytest.raises(GateError, match=f"not good enough: {line}") as caught:
        require_passed(checks)
    assert caught.value.remedy.startswith("See reports/index.html")
