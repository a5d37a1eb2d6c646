"""The preprocessing package: real records, bad records, and any record the contract admits."""

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_ready import contract
from ml_ready.contract import Column
from ml_ready.errors import ContractError
from ml_ready.windows import extent, require_variety

from {{ cookiecutter.package_name }}.preprocessing.features import (
    CATEGORICAL,
    NUMERIC,
    features,
)
from {{ cookiecutter.package_name }}.schema import COLUMNS, TARGET

INPUTS = contract.inputs(COLUMNS)
TYPES = {column.name: column.polars_type for column in INPUTS}


def values(column: Column) -> st.SearchStrategy[Any]:
    """Any value that the contract admits for a column."""
    strategy: st.SearchStrategy[Any]
    if column.allowed:
        strategy = st.sampled_from(column.allowed)
    elif column.dtype == "String":
        strategy = st.from_regex(
            column.pattern or ".*", fullmatch=True, alphabet=st.characters(codec="ascii")
        )
    elif column.dtype == "Datetime":
        strategy = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))
    elif column.dtype == "Boolean":
        strategy = st.booleans()
    else:
        low, high = column.limits or (0, 0)
        whole = column.dtype.startswith("Int")
        strategy = (
            st.integers(int(low), int(high))
            if whole
            else st.floats(low, high, width=32, allow_nan=False)
        )
    return st.none() | strategy if column.nullable else strategy


ANY_RECORD = st.fixed_dictionaries({column.name: values(column) for column in INPUTS})


@given(st.lists(ANY_RECORD, min_size=1, max_size=20))
@settings(deadline=None, max_examples=50)
def test_features_of_any_admitted_record_are_complete(rows: list[dict[str, Any]]) -> None:
    frame = features(pl.DataFrame(rows, schema=TYPES).lazy()).collect()
    assert frame.height == len(rows)
    assert not any(frame[name].null_count() for name in CATEGORICAL)
    for name in NUMERIC:
        assert frame[name].drop_nulls().is_finite().all()


@given(st.lists(ANY_RECORD, min_size=2, max_size=10))
@settings(deadline=None, max_examples=25)
def test_a_record_has_the_same_features_alone_and_among_others(rows: list[dict[str, Any]]) -> None:
    together = features(pl.DataFrame(rows, schema=TYPES).lazy()).collect()
    alone = [features(pl.DataFrame([row], schema=TYPES).lazy()).collect() for row in rows]
    assert together.equals(pl.concat(alone))


def test_outliers_are_set_aside_and_counted(records: pl.DataFrame) -> None:
    limited = next(column for column in COLUMNS if column.maximum is not None)
    beyond = pl.lit(10 * (limited.maximum or 0) + 1, limited.polars_type)
    odd = records.head(100).with_columns(
        pl.when(pl.int_range(pl.len()) == 7)
        .then(beyond)
        .otherwise(limited.name)
        .alias(limited.name)
    )
    checked = contract.check(odd, COLUMNS)
    assert checked.counts == {f"{limited.name} {limited.rule}": 1}
    assert checked.quarantined.height == 1
    contract.require_tolerated(checked.tally, tolerance=0.01)
    with pytest.raises(ContractError, match=rf"1 of 100 rows .* {limited.name} must be"):
        contract.require_tolerated(checked.tally, tolerance=0.001)


def test_windows_follow_each_other(config: Any, windows: dict[str, pl.DataFrame]) -> None:
    train, validation, test = (
        windows[name][config.data.split.column] for name in ("train", "validation", "test")
    )
    assert train.max() < validation.min()
    assert validation.max() < test.min()


def test_each_window_has_several_outcomes(windows: dict[str, pl.DataFrame]) -> None:
    require_variety({name: extent(window, TARGET) for name, window in windows.items()}, TARGET)
