"""One rule of the contract at a time."""

import dataclasses
from datetime import datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from ml_ready.contract import (
    Column,
    check,
    inputs,
    polars_schema,
    record_type,
    require_tolerated,
    version,
    violations,
)
from ml_ready.errors import ContractError

COLUMNS = (
    Column("when", "Datetime", "time"),
    Column("count", "Int32", "a count", minimum=0, maximum=10),
    Column("share", "Float32", "a share", nullable=True, minimum=0, maximum=1),
    Column("code", "String", "a code", pattern="[A-Z]{2}"),
    Column("side", "String", "a side", allowed=("left", "right")),
    Column("open", "Boolean", "a flag"),
    Column("big", "Int64", "a number without limits", nullable=True),
    Column("outcome", "Int32", "what happened", nullable=True, known_at_prediction=False),
)
GOOD: dict[str, Any] = {
    "when": "2013-07-04T17:00:00",
    "count": 3,
    "share": 0.5,
    "code": "UA",
    "side": "left",
    "open": True,
    "big": 2**40,
}
BROKEN = [
    ("when", "yesterday"),
    ("when", "2013-07-04T17:00:00Z"),
    ("when", None),
    ("count", -1),
    ("count", 2.5),
    ("count", "3"),
    ("count", True),
    ("share", 1.01),
    ("code", "ua"),
    ("code", "UAL"),
    ("code", "UA\n"),
    ("side", "middle"),
    ("open", 1),
    ("big", 2**63),
]


def batch(**changes: Any) -> pl.DataFrame:
    """Return two rows; the second has the values of `changes`."""
    good = GOOD | {"when": datetime(2013, 7, 4, 17), "outcome": 1}
    return pl.DataFrame([good, good | changes], infer_schema_length=None)


def test_a_good_batch_is_kept_whole() -> None:
    checked = check(batch(), COLUMNS)
    assert checked.valid.height == 2
    assert checked.quarantined.is_empty()
    assert checked.counts == {}


def test_types_are_made_those_of_the_contract_and_other_columns_dropped() -> None:
    checked = check(batch().with_columns(extra=1), COLUMNS)
    assert checked.valid.schema == {column.name: column.polars_type for column in COLUMNS}


@pytest.mark.parametrize(
    ("field", "value"), [("count", 11), ("share", -0.1), ("code", "ual"), ("side", "up")]
)
def test_a_bad_row_is_set_aside_with_its_reason(field: str, value: Any) -> None:
    checked = check(batch(**{field: value}), COLUMNS)
    assert checked.valid.height == 1
    (reason,) = checked.quarantined["reason"]
    assert reason.startswith(f"{field} must be")
    assert checked.counts == {reason: 1}


def test_a_row_that_breaks_two_rules_counts_for_both_and_is_set_aside_once() -> None:
    checked = check(batch(count=11, side="up"), COLUMNS)
    assert checked.quarantined.height == 1
    assert len(checked.counts) == 2


def test_a_number_that_is_not_a_number_is_set_aside() -> None:
    checked = check(batch(share=float("nan")), COLUMNS)
    assert checked.quarantined.height == 1


def test_a_missing_value_is_set_aside_only_where_it_must_not_be_missing() -> None:
    assert check(batch(share=None), COLUMNS).valid.height == 2
    assert check(batch(count=None), COLUMNS).quarantined.height == 1


def test_more_bad_rows_than_tolerated_stop_with_counts_a_rule() -> None:
    checked = check(batch(count=11), COLUMNS)
    require_tolerated(checked.tally, 0.5)
    with pytest.raises(ContractError, match=r"1 of 2 rows \(50 %\).*count must be.*: 1 rows"):
        require_tolerated(checked.tally, 0.49)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (batch().drop("count", "code"), "Columns missing: count, code"),
        (batch().with_columns(pl.lit("x").alias("count")), "Column count has type String"),
        (batch().with_columns(pl.lit(0.5).alias("count")), "Column count has type Float64"),
        (batch().with_columns(pl.col("when").dt.replace_time_zone("UTC")), "Column when has type"),
        (batch().with_columns(when=pl.duration(hours=1)), "Column when has type Duration"),
        (batch().with_columns(pl.lit(2**40).alias("count")), "does not fit its type"),
        (batch().clear(), "The batch is empty"),
    ],
)
def test_a_batch_of_another_shape_stops_at_once(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        check(frame, COLUMNS)
    assert "\n" not in str(caught.value)


def test_a_column_without_any_value_may_have_no_type() -> None:
    assert check(batch().with_columns(share=pl.lit(None)), COLUMNS).valid.height == 2


def test_a_good_record_breaks_no_rule() -> None:
    assert violations(GOOD, COLUMNS) == []
    assert msgspec.convert(GOOD, record_type(COLUMNS)) is not None


def test_an_optional_field_may_be_left_out() -> None:
    short = {name: value for name, value in GOOD.items() if name not in ("share", "big")}
    assert violations(short, COLUMNS) == []


@pytest.mark.parametrize(("field", "value"), BROKEN)
def test_a_broken_field_is_named_with_its_value_and_rule(field: str, value: Any) -> None:
    record = GOOD | {field: value}
    (violation,) = violations(record, COLUMNS)
    assert violation[:2] == (field, value)
    assert violation.rule.startswith("must be")
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(record, record_type(COLUMNS))


def test_every_broken_field_of_a_record_is_named() -> None:
    broken = violations({"count": -1, "code": "x"}, COLUMNS)
    assert [violation.field for violation in broken] == ["when", "count", "code", "side", "open"]


def test_an_outcome_in_a_request_is_refused_as_known_too_late() -> None:
    (violation,) = violations(GOOD | {"outcome": 5}, COLUMNS)
    assert violation == ("outcome", 5, "is not known at prediction time")


def test_a_misspelt_field_is_refused() -> None:
    (violation,) = violations(GOOD | {"shrae": 0.1}, COLUMNS)
    assert violation == ("shrae", 0.1, "is not a field of the contract")


def test_text_is_read_as_a_number_where_everything_is_text() -> None:
    texts = GOOD | {"count": "3", "share": "0.5", "open": "true", "big": "7"}
    assert violations(texts, COLUMNS, strict=False) == []
    assert violations(texts | {"share": "nan"}, COLUMNS, strict=False)[0].field == "share"


def test_the_version_changes_with_the_contract() -> None:
    described = dataclasses.replace(COLUMNS[0], description="another word for it")
    assert version((described, *COLUMNS[1:])) == version(COLUMNS)
    nullable = dataclasses.replace(COLUMNS[0], nullable=True)
    assert version((nullable, *COLUMNS[1:])) != version(COLUMNS)
    assert version(COLUMNS[1:]) != version(COLUMNS)


def test_text_is_read_as_in_a_request_and_what_cannot_be_read_is_set_aside_as_it_came() -> None:
    good = {"when": "2013-07-04T17:00:00", "count": "3", "share": "0.5", "code": "UA"}
    good |= {"side": "left", "open": "true", "big": "7", "outcome": "1"}
    odd = [
        good | {"count": "3.0", "open": "False", "when": "2013-07-04 17:00:00.000", "share": None},
        good | {"share": "half"},
        good | {"when": "2013-07-04T17:00:00Z"},
        good | {"count": "11"},
    ]
    checked = check(pl.DataFrame([good, *odd]), COLUMNS, text=True)
    assert checked.valid["count"].to_list() == [3, 3]
    assert checked.valid["open"].to_list() == [True, False]
    assert checked.valid["when"].to_list() == [datetime(2013, 7, 4, 17)] * 2
    assert checked.quarantined["share"].to_list() == ["half", "0.5", "0.5"]
    assert [reason.split()[0] for reason in checked.quarantined["reason"]] == [
        "share",
        "when",
        "count",
    ]


def test_a_column_of_text_that_holds_no_date_at_all_is_set_aside() -> None:
    frame = batch().with_columns(pl.lit("soon").alias("when"))
    assert check(frame, COLUMNS, text=True).quarantined.height == 2


@pytest.mark.parametrize(
    ("dtype", "rules", "message"),
    [
        ("Datetime", {"minimum": 0}, "minimum and maximum are for numbers"),
        ("Int8", {}, "no type Int8, choose one of Int32"),
        ("Int32", {"maximum": 0.5}, "are whole numbers"),
        ("Int32", {"allowed": ("1", "2")}, "pattern and allowed are for text"),
        ("String", {"pattern": "a", "allowed": ("a",)}, "exclude each other"),
        ("String", {"pattern": "(?!AA)[A-Z]{2}"}, "cannot be read"),
        ("String", {"pattern": "["}, "cannot be read"),
    ],
)
def test_a_rule_that_could_not_be_held_is_refused(
    dtype: Any, rules: dict[str, Any], message: str
) -> None:
    with pytest.raises(ContractError, match=f"schema.py, column odd: .*{message}") as caught:
        Column("odd", dtype, "a column", **rules)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["petal width (cm)", "class", "row"])
def test_a_name_that_no_record_could_have_is_refused(name: str) -> None:
    with pytest.raises(ContractError, match="is a Python identifier other than row and reason"):
        Column(name, "Int32", "a column")


def test_a_rule_that_cannot_be_computed_passes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Column, "__post_init__", lambda _: None)
    columns = (*COLUMNS[:3], dataclasses.replace(COLUMNS[3], pattern="(?!AA)[A-Z]{2}"))
    with pytest.raises(ContractError, match="the rule of code cannot be computed"):
        check(batch(), columns)


def test_the_schema_has_each_column_with_its_type_in_order() -> None:
    assert [*polars_schema(COLUMNS)] == [column.name for column in COLUMNS]
    assert polars_schema(inputs(COLUMNS))["when"] == pl.Datetime("us")
    assert "outcome" not in polars_schema(inputs(COLUMNS))
