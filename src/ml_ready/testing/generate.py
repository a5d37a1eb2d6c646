"""Records that a contract allows, drawn by Hypothesis."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .. import contract
from ..contract import Column

_FIRST, _LAST = datetime(1970, 1, 1), datetime(2100, 1, 1)


def draw(columns: Sequence[Column], count: int) -> pl.DataFrame:
    """Draw records that a contract allows, the same ones each time.

    Parameters
    ----------
    columns : sequence of Column
    count : int

    Returns
    -------
    polars.DataFrame of shape (count, columns)
        Limits, missing values and odd texts are among them.

    Examples
    --------
    >>> from ml_ready.contract import Column
    >>> from ml_ready.testing.generate import draw
    >>> draw([Column("stops", "Int32", "stops before it", minimum=3, maximum=4)], 50)["stops"].max()
    4
    """
    records: list[dict[str, Any]] = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries({each.name: _values(each) for each in columns}))
    def keep(record: dict[str, Any]) -> None:
        records.append(record)

    keep()
    # Of few possible records, Hypothesis draws each once.
    whole = [records[number % len(records)] for number in range(count)]
    return pl.DataFrame(whole, schema=contract.polars_schema(columns))


def _values(column: Column) -> st.SearchStrategy[Any]:
    strategy: st.SearchStrategy[Any]
    if column.allowed:
        strategy = st.sampled_from(list(column.allowed))
    elif column.dtype == "String":
        pattern = column.pattern or ".*"
        strategy = st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="ascii"))
    elif column.dtype == "Datetime":
        strategy = st.datetimes(_FIRST, _LAST)
    elif column.dtype == "Boolean":
        strategy = st.booleans()
    else:
        low, high = column.limits or (0, 0)
        whole = column.dtype.startswith("Int")
        numbers = st.floats(low, high, width=32, allow_nan=False)
        strategy = st.integers(int(low), int(high)) if whole else numbers
    return st.none() | strategy if column.nullable else strategy
