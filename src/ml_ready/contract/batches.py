"""Batches: tables held to the contract, with the rows that break it set aside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

from ..errors import ContractError
from .columns import Column
from .requests import field_type


class Tally(NamedTuple):
    """How many rows are valid, how many are quarantined, and how many break each rule."""

    valid: int
    quarantined: int
    rules: dict[str, int]


class Checked(NamedTuple):
    """A checked batch.

    `valid` holds the good rows, `quarantined` the others as they came, with their number from 0 as
    `row` and their `reason`; `counts` says how many rows break each rule.
    """

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    counts: dict[str, int]

    @property
    def tally(self) -> Tally:
        """The counts of this batch."""
        return Tally(self.valid.height, self.quarantined.height, self.counts)


def check(frame: pl.DataFrame, columns: Sequence[Column], *, text: bool = False) -> Checked:
    """Check a batch against the contract.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, ≥ len(columns))
        The batch; columns that are not in the contract are dropped.
    columns : sequence of Column
    text : bool
        Whether text columns, such as those of a CSV file, are converted to the types of the
        contract; a cell that cannot be converted breaks the rule of its column.

    Returns
    -------
    Checked

    Raises
    ------
    ContractError
        For a missing column, a wrong type, an empty batch, or a rule that cannot be computed.

    Examples
    --------
    >>> import polars as pl
    >>> from ml_ready.contract import Column, check
    >>> columns = [Column("kg", "Float32", "weight", minimum=0, maximum=100)]
    >>> checked = check(pl.DataFrame({"kg": [2.5, -1.0]}), columns)
    >>> checked.valid["kg"].to_list()
    [2.5]
    >>> checked.quarantined["reason"].to_list()
    ['kg must be a number from 0 to 100, and not missing']
    """
    require_rows(frame.height)
    require_columns(frame.schema, columns, text=text)
    original = frame.select(column.name for column in columns)
    texts = [
        column
        for column in columns
        if text and column.dtype != "String" and frame.schema[column.name] == pl.String
    ]
    frame = original.with_columns(_parsed(original[column.name], column) for column in texts)
    frame = _cast(frame, columns)
    failures = _failures(frame, columns)
    for column in texts:
        unreadable = original[column.name].is_not_null() & frame[column.name].is_null()
        rows = pl.DataFrame({"row": unreadable.arg_true()}).cast(pl.UInt32)
        failures.extend(rows.with_columns(rule=pl.lit(column.named_rule)))
    failures = failures.unique()
    counts = dict(failures["rule"].value_counts().sort("rule").iter_rows())
    reasons = failures.group_by("row").agg(reason=pl.col("rule").sort().str.join("; "))
    broken = original.with_row_index("row").join(reasons, on="row", maintain_order="left")
    valid = frame.with_row_index("row").join(reasons, on="row", how="anti", maintain_order="left")
    return Checked(valid.drop("row"), broken, counts)


def require_columns(schema: pl.Schema, columns: Sequence[Column], *, text: bool = False) -> None:
    """Stop a batch without a column of the contract, or with another type that is not converted.

    Parameters
    ----------
    schema : polars.Schema
        Of the batch.
    columns : sequence of Column
    text : bool
        As for `check`.

    Raises
    ------
    ContractError
        Naming the columns.
    """
    missing = [column.name for column in columns if column.name not in schema]
    if missing:
        raise ContractError(
            f"Columns missing: {', '.join(missing)}. Got {', '.join(schema)}.",
            "Add them to the source, or change schema.py.",
        )
    for column in columns:
        got, expected = schema[column.name], column.polars_type
        same_kind = (
            got == expected
            or (text and got == pl.String)
            or (got.is_integer() and expected.is_numeric())
            or (got.is_float() and expected.is_float())
            or (isinstance(expected, pl.Datetime) and got == pl.Date)
            or (isinstance(expected, pl.Datetime) and _local(got))
            or (got == pl.Null and column.nullable)
        )
        if not same_kind:
            raise ContractError(
                f"Column {column.name} has type {got}, expected {expected}. "
                "Convert it in the source, or change schema.py."
            )


def require_rows(rows: int) -> None:
    """Stop an empty batch.

    Parameters
    ----------
    rows : int

    Raises
    ------
    ContractError
        When there is none.
    """
    if not rows:
        raise ContractError("The batch is empty: expected at least one row. Check the source.")


def require_tolerated(tally: Tally, tolerance: float) -> None:
    """Stop a batch of which too many rows break the contract.

    Parameters
    ----------
    tally : Tally
    tolerance : float
        Share of rows, 0 to 1, that may break a rule.

    Raises
    ------
    ContractError
        With the number of rows per rule.

    Examples
    --------
    >>> from ml_ready.contract import Tally, require_tolerated
    >>> tally = Tally(valid=95, quarantined=5, rules={"kg must not be missing": 5})
    >>> require_tolerated(tally, tolerance=0.05)
    >>> require_tolerated(tally, tolerance=0.01)
    Traceback (most recent call last):
    ml_ready.errors.ContractError: 5 of 100 rows (5 %) break the contract, 1 % are tolerated...
    """
    bad, rows = tally.quarantined, tally.valid + tally.quarantined
    if bad > tolerance * rows:
        broken = "; ".join(f"{rule}: {count} rows" for rule, count in tally.rules.items())
        raise ContractError(
            f"{bad} of {rows} rows ({100 * bad / rows:.4g} %) break the contract, "
            f"{100 * tolerance:.4g} % are tolerated: {broken}. Fix the source, or change "
            "schema.py or data.tolerance if the rule is wrong."
        )


def _parsed(texts: pl.Series, column: Column) -> pl.Series:
    kind = column.polars_type
    unread = pl.Series(texts.name, [None] * len(texts), kind)
    try:
        parsed = (
            texts.str.to_datetime(time_unit="us", strict=False)
            if column.dtype == "Datetime"
            else unread
            if column.dtype == "Boolean"
            else texts.cast(kind, strict=False)
        )
    except pl.exceptions.ComputeError:  # no text from which to guess the form of a date
        parsed = unread
    left = parsed.is_null() & texts.is_not_null()
    # What is written in another way, as 3.0 for 3, is read as in a request.
    read: dict[str, Any] = {}
    for text in texts.filter(left).unique():
        try:
            read[text] = msgspec.convert(text, field_type(column), strict=False)
        except msgspec.ValidationError:
            read[text] = None
    if not read:
        return parsed
    values = texts.filter(left).replace_strict(read, return_dtype=kind)
    return parsed.scatter(left.arg_true(), values)


def _cast(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    try:
        return frame.select(pl.col(column.name).cast(column.polars_type) for column in columns)
    except pl.exceptions.InvalidOperationError as error:
        line = str(error).splitlines()[0]
        raise ContractError(
            f"A column does not fit its type: {line}. Fix the source, or change schema.py."
        ) from error


def _local(kind: pl.DataType) -> bool:
    return isinstance(kind, pl.Datetime) and kind.time_zone is None


def _failures(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    import pandera.polars as pa

    schema = pa.DataFrameSchema(
        {
            column.name: pa.Column(
                column.polars_type, list(_checks(column, pa.Check)), nullable=column.nullable
            )
            for column in columns
        }
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        rules = {column.name: column.named_rule for column in columns}
        cases: pl.DataFrame = errors.failure_cases
        unknown = cases.filter(pl.col("index").is_null())
        if unknown.height:
            raise ContractError(
                f"schema.py: the rule of {unknown['column'][0]} cannot be computed: "
                f"{unknown['failure_case'][0]}"
            ) from errors
        return cases.select(
            row=pl.col("index").cast(pl.UInt32), rule=pl.col("column").replace_strict(rules)
        )
    return pl.DataFrame(schema={"row": pl.UInt32, "rule": pl.String})


def _checks(column: Column, check: Any) -> Iterable[Any]:
    if column.limits is not None:
        low, high = column.limits
        yield check.in_range(low, high, name=column.rule)
    if column.pattern is not None:
        yield check.str_matches(f"^(?:{column.pattern})$", name=column.rule)
    if column.allowed:
        yield check.isin(column.allowed, name=column.rule)
