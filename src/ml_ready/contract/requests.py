"""Requests: the type of one record, and what is wrong with a record that is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from .columns import PYTHON_TYPES, Column, inputs


class Violation(NamedTuple):
    """One broken rule: the field, the value got, and the rule it breaks."""

    field: str
    value: Any
    rule: str


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

    Examples
    --------
    >>> from ml_ready.contract import Column, violations
    >>> columns = [Column("kg", "Float32", "weight", minimum=0, maximum=100)]
    >>> for violation in violations({"kg": -1.0, "pounds": 2}, columns):
    ...     print(violation.field, violation.rule)
    pounds is not a field of the contract
    kg must be a number from 0 to 100, and not missing
    """
    broken = []
    allowed = {column.name: column for column in inputs(columns)}
    for name, value in record.items():
        if name not in allowed:
            later = any(column.name == name for column in columns)
            reason = (
                "is not known at prediction time" if later else "is not a field of the contract"
            )
            broken.append(Violation(name, value, reason))
    for name, column in allowed.items():
        value = record.get(name)
        try:
            msgspec.convert(value, field_type(column), strict=strict)
        except msgspec.ValidationError:
            broken.append(Violation(name, value, column.rule))
    return broken


def record_type(columns: Sequence[Column]) -> type[msgspec.Struct]:
    """Build the msgspec type of one record, with the rules of the contract in it.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    type
        With a field for each column that is known at prediction time.

    Examples
    --------
    >>> import msgspec
    >>> from ml_ready.contract import Column, record_type
    >>> Record = record_type([Column("kg", "Float32", "weight", minimum=0)])
    >>> msgspec.json.decode(b'{"kg": 2.5}', type=Record)
    Record(kg=2.5)
    """
    fields: list[Any] = [
        (column.name, field_type(column), None)
        if column.nullable
        else (column.name, field_type(column))
        for column in inputs(columns)
    ]
    return msgspec.defstruct("Record", fields, kw_only=True, forbid_unknown_fields=True, gc=False)


def field_type(column: Column) -> Any:
    """Build the msgspec type of one field.

    Parameters
    ----------
    column : Column

    Returns
    -------
    type
        With the rules of the column in it.
    """
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
