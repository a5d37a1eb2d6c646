"""The mechanism behind `schema.py`: one list of columns checks a batch and types a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import polars as pl

from .errors import ContractError

if TYPE_CHECKING:
    import msgspec

Dtype = Literal["Int32", "Int64", "Float32", "Float64", "String", "Boolean", "Datetime"]

# Features are float32, so nothing beyond its range is a number here.
FLOAT32_LIMIT = 3.4028234663852886e38
TYPE_LIMITS: dict[str, tuple[float, float]] = {
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Float32": (-FLOAT32_LIMIT, FLOAT32_LIMIT),
    "Float64": (-FLOAT32_LIMIT, FLOAT32_LIMIT),
}
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
    dtype : Dtype
        The polars type; integers and floats of another width are converted.
    description : str
        What it is, with its unit.
    nullable : bool
        Whether it may be missing.
    minimum, maximum : float, optional
        Inclusive limits. A number without limits is held to those of its type.
    pattern : str, optional
        Regular expression that the whole text has to match.
    allowed : tuple of str
        The only values it may take; empty means any.
    known_at_prediction : bool
        False for what is known only after the outcome: kept in training data, refused in a
        request, and never a feature.
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


class Checked(NamedTuple):
    """A checked batch: valid rows, quarantined rows with their `reason`, and counts per rule."""

    valid: pl.DataFrame
    quarantined: pl.DataFrame
    counts: dict[str, int]


def version(columns: Sequence[Column]) -> str:
    """Return twelve hexadecimal digits that change whenever the contract changes."""
    text = json.dumps([asdict(column) for column in columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def inputs(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are known when a prediction is asked for."""
    return [column for column in columns if column.known_at_prediction]


def check(frame: pl.DataFrame, columns: Sequence[Column], tolerance: float = 0.0) -> Checked:
    """Check a batch against the contract.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, ≥ len(columns))
        The batch; columns that are not in the contract are dropped.
    columns : sequence of Column
    tolerance : float
        Share of rows, 0 to 1, that may break a rule and be set aside.

    Returns
    -------
    Checked

    Raises
    ------
    ContractError
        For a missing column, a wrong type, an empty batch, or more bad rows than tolerated.
    """
    frame = _conform(frame, columns)
    failures = _failures(frame, columns)
    counts = dict(failures["rule"].value_counts().sort("rule").iter_rows())
    reasons = failures.group_by("row").agg(reason=pl.col("rule").sort().str.join("; "))
    numbered = frame.with_row_index("row").join(
        reasons, on="row", how="left", maintain_order="left"
    )
    quarantined = numbered.filter(pl.col("reason").is_not_null()).drop("row")
    share = quarantined.height / frame.height
    if share > tolerance:
        broken = "; ".join(f"{rule}: {count} rows" for rule, count in counts.items())
        raise ContractError(
            f"{quarantined.height} of {frame.height} rows ({share:.2%}) break the contract, "
            f"{tolerance:.2%} are tolerated: {broken}. Mend the source, or change schema.py or "
            "data.tolerance if the rule is wrong."
        )
    valid = numbered.filter(pl.col("reason").is_null()).drop("row", "reason")
    return Checked(valid, quarantined, counts)


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
    """
    import msgspec

    found = []
    known = {column.name: column for column in inputs(columns)}
    for name, value in record.items():
        if name not in known:
            later = any(column.name == name for column in columns)
            reason = (
                "is known only after the outcome" if later else "is not a field of the contract"
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
    """Build the msgspec type of one record, with the rules of the contract in it."""
    import msgspec

    fields: list[Any] = [
        (column.name, _field_type(column), None)
        if column.nullable
        else (column.name, _field_type(column))
        for column in inputs(columns)
    ]
    return msgspec.defstruct("Record", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def _field_type(column: Column) -> Any:
    import msgspec

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


def _conform(frame: pl.DataFrame, columns: Sequence[Column]) -> pl.DataFrame:
    if frame.is_empty():
        raise ContractError("The batch is empty: expected at least one row. Check the source.")
    missing = [column.name for column in columns if column.name not in frame.columns]
    if missing:
        raise ContractError(
            f"Columns missing: {', '.join(missing)}. Got {', '.join(frame.columns)}. "
            "Add them to the source, or change schema.py."
        )
    for column in columns:
        got, expected = frame.schema[column.name], column.polars_type
        same_kind = (
            got == expected
            or (got.is_integer() and expected.is_numeric())
            or (got.is_float() and expected.is_float())
            or (got.is_temporal() and expected.is_temporal())
            or (got == pl.Null and column.nullable)
        )
        if not same_kind:
            raise ContractError(
                f"Column {column.name} has type {got}, expected {expected}. "
                "Convert it in the source, or change schema.py."
            )
    try:
        return frame.select(pl.col(column.name).cast(column.polars_type) for column in columns)
    except pl.exceptions.InvalidOperationError as error:
        line = str(error).splitlines()[0]
        raise ContractError(f"A column does not fit its type in schema.py: {line}.") from error


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
        said = {column.name: f"{column.name} {column.rule}" for column in columns}
        cases: pl.DataFrame = errors.failure_cases
        return cases.select(
            row=pl.col("index").cast(pl.UInt32), rule=pl.col("column").replace_strict(said)
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
