"""The mechanism behind `schema.py`: one list of columns checks a batch and types a request."""

from __future__ import annotations

import hashlib
import json
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import polars as pl

from .errors import ContractError

Dtype = Literal["Int32", "Int64", "Float32", "Float64", "String", "Boolean", "Datetime"]

# Features are float32, so nothing beyond its range is a number here.
FLOAT32_LIMIT = 3.4028234663852886e38
TYPE_LIMITS: dict[str, tuple[float, float]] = {
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Float32": (-FLOAT32_LIMIT, FLOAT32_LIMIT),
    "Float64": (-FLOAT32_LIMIT, FLOAT32_LIMIT),
}
# What a row that breaks the contract is given.
RESERVED = ("row", "reason")
PYTHON_TYPES: dict[str, type] = {
    "Int32": int,
    "Int64": int,
    "Float32": float,
    "Float64": float,
    "String": str,
    "Boolean": bool,
    "Datetime": datetime,
}
KIND_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    datetime: "a local date and time (2013-07-04T17:00:00)",
}


@dataclass(frozen=True)
class Column:
    """One field of a record.

    Parameters
    ----------
    name : str
        A Python identifier.
    dtype : Dtype
        The polars type; integers and floats of another width are converted.
    description : str
        What it is, with its unit.
    nullable : bool
        Whether it may be missing.
    minimum, maximum : float, optional
        Inclusive limits. A number without limits is held to those of its type.
    pattern : str, optional
        Regular expression that the whole text has to match, without look-around.
    allowed : tuple of str
        The only texts it may be; empty means any.
    known_at_prediction : bool
        False for what is not known when it is predicted: kept in training data, refused in a
        request, and never a feature.

    Raises
    ------
    ContractError
        For a name or type that cannot be used, or a rule that does not go with the type.
    """

    name: str
    dtype: Dtype
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    allowed: tuple[str, ...] = ()
    known_at_prediction: bool = True

    def __post_init__(self) -> None:
        """Refuse a rule that batches and requests would not read alike."""
        if not self.name.isidentifier() or keyword.iskeyword(self.name) or self.name in RESERVED:
            self._refuse("a name is a Python identifier other than row and reason; rename it")
        if self.dtype not in PYTHON_TYPES:
            self._refuse(f"no type {self.dtype}, choose one of {', '.join(PYTHON_TYPES)}")
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        whole = self.dtype.startswith("Int")
        if limits and self.dtype not in TYPE_LIMITS:
            self._refuse("minimum and maximum are for numbers")
        if whole and any(limit != int(limit) for limit in limits):
            self._refuse("minimum and maximum of a whole number are whole numbers")
        if (self.pattern is not None or self.allowed) and self.dtype != "String":
            self._refuse("pattern and allowed are for text")
        if self.pattern is not None and self.allowed:
            self._refuse("pattern and allowed exclude each other")
        if self.pattern is not None:
            try:
                pl.Series([""]).str.contains(self.pattern)
                re.compile(self.pattern)
            except (pl.exceptions.ComputeError, re.error) as error:
                self._refuse(f"pattern {self.pattern} cannot be read ({error})")

    def _refuse(self, reason: str) -> None:
        raise ContractError(f"schema.py, column {self.name}: {' '.join(reason.split())}.")

    @property
    def polars_type(self) -> pl.DataType:
        """The polars type of the column."""
        return pl.Datetime("us") if self.dtype == "Datetime" else getattr(pl, self.dtype)()

    @property
    def rule(self) -> str:
        """What a value has to be, in words."""
        text = f"must be {KIND_NAMES[PYTHON_TYPES[self.dtype]]}"
        if self.minimum is not None or self.maximum is not None:
            low, high = self.limits or ("", "")
            text += f" from {low:.10g} to {high:.10g}"
        if self.pattern is not None:
            text += f" matching {self.pattern}"
        if self.allowed:
            text += f", one of {', '.join(self.allowed)}"
        return text if self.nullable else f"{text}, and not missing"

    @property
    def limits(self) -> tuple[float, float] | None:
        """Inclusive limits, from the declaration or the type; None where the type has none."""
        if self.dtype not in TYPE_LIMITS:
            return None
        low, high = TYPE_LIMITS[self.dtype]
        return (
            low if self.minimum is None else self.minimum,
            high if self.maximum is None else self.maximum,
        )


class Violation(NamedTuple):
    """One broken rule: the field, the value got, and the rule it breaks."""

    field: str
    value: Any
    rule: str


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
        """The numbers of it."""
        return Tally(self.valid.height, self.quarantined.height, self.counts)


def version(columns: Sequence[Column]) -> str:
    """Return twelve hexadecimal digits that change with the contract, descriptions apart."""
    text = json.dumps([asdict(column) | {"description": ""} for column in columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def inputs(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are known when a prediction is asked for."""
    return [column for column in columns if column.known_at_prediction]


def check(frame: pl.DataFrame, columns: Sequence[Column], *, text: bool = False) -> Checked:
    """Check a batch against the contract.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, ≥ len(columns))
        The batch; columns that are not in the contract are dropped.
    columns : sequence of Column
    text : bool
        Whether columns of text, as CSV has them, are read as the type that the contract wants; a
        cell that cannot be read breaks the rule of its column.

    Returns
    -------
    Checked

    Raises
    ------
    ContractError
        For a missing column, a wrong type, an empty batch, or a rule that cannot be computed.
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
        failures.extend(rows.with_columns(rule=pl.lit(said(column))))
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
            f"Columns missing: {', '.join(missing)}. Got {', '.join(schema)}. "
            "Add them to the source, or change schema.py."
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
    """Stop an empty batch."""
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
        With the number of rows a rule.
    """
    bad, rows = tally.quarantined, tally.valid + tally.quarantined
    if bad > tolerance * rows:
        broken = "; ".join(f"{rule}: {count} rows" for rule, count in tally.rules.items())
        raise ContractError(
            f"{bad} of {rows} rows ({100 * bad / rows:.4g} %) break the contract, "
            f"{100 * tolerance:.4g} % are tolerated: {broken}. Mend the source, or change "
            "schema.py or data.tolerance if the rule is wrong."
        )


def violations(
    record: Mapping[str, Any], columns: Sequence[Column], *, strict: bool = True
) -> list[Violation]:
    """List every rule that one record breaks; the slow path that explains a refused request.

    Parameters
    ----------
    record : mapping
        Field name to value, as it came.
    columns : sequence of Column
    strict : bool
        False where every value is text, as in CSV, and a number is read from it.

    Returns
    -------
    list of Violation
        Empty for a good record.
    """
    found = []
    known = {column.name: column for column in inputs(columns)}
    for name, value in record.items():
        if name not in known:
            later = any(column.name == name for column in columns)
            reason = (
                "is not known at prediction time" if later else "is not a field of the contract"
            )
            found.append(Violation(name, value, reason))
    for name, column in known.items():
        value = record.get(name)
        try:
            msgspec.convert(value, _field_type(column), strict=strict)
        except msgspec.ValidationError:
            found.append(Violation(name, value, column.rule))
    return found


def record_type(columns: Sequence[Column]) -> type[msgspec.Struct]:
    """Build the msgspec type of one record, with the rules of the contract in it.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    type
        With a field for each column that is known at prediction time.
    """
    fields: list[Any] = [
        (column.name, _field_type(column), None)
        if column.nullable
        else (column.name, _field_type(column))
        for column in inputs(columns)
    ]
    return msgspec.defstruct("Record", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def _field_type(column: Column) -> Any:
    kind: Any = PYTHON_TYPES[column.dtype]
    if column.allowed:
        kind = Literal[column.allowed]
    elif column.limits is not None:
        low, high = map(kind, column.limits)
        kind = Annotated[kind, msgspec.Meta(ge=low, le=high)]
    elif column.pattern is not None:
        kind = Annotated[kind, msgspec.Meta(pattern=rf"^(?:{column.pattern})\Z")]
    elif column.dtype == "Datetime":
        kind = Annotated[kind, msgspec.Meta(tz=False)]
    return kind | None if column.nullable else kind


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
            read[text] = msgspec.convert(text, _field_type(column), strict=False)
        except msgspec.ValidationError:
            read[text] = None
    if not read:
        return parsed
    values = texts.filter(left).replace_strict(read, return_dtype=kind)
    return parsed.scatter(left.arg_true(), values)


def said(column: Column) -> str:
    """Say which rule a row breaks."""
    return f"{column.name} {column.rule}"


def _cast(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    try:
        return frame.select(pl.col(column.name).cast(column.polars_type) for column in columns)
    except pl.exceptions.InvalidOperationError as error:
        line = str(error).splitlines()[0]
        raise ContractError(
            f"A column does not fit its type: {line}. Mend the source, or change schema.py."
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
        rules = {column.name: said(column) for column in columns}
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
