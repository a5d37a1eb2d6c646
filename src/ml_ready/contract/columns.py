"""Columns: the fields of a record, and the rules that each of them holds to."""

from __future__ import annotations

import hashlib
import json
import keyword
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from ..errors import ContractError

Dtype = Literal["Int32", "Int64", "Float32", "Float64", "String", "Boolean", "Datetime"]

# Features are float32, so nothing beyond its range is a number here.
_FLOAT32_LIMIT = 3.4028234663852886e38
_TYPE_LIMITS: dict[str, tuple[float, float]] = {
    "Int32": (-(2**31), 2**31 - 1),
    "Int64": (-(2**63), 2**63 - 1),
    "Float32": (-_FLOAT32_LIMIT, _FLOAT32_LIMIT),
    "Float64": (-_FLOAT32_LIMIT, _FLOAT32_LIMIT),
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
_KIND_NAMES: dict[type, str] = {
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
        False for a field whose value is unknown at prediction time: it is kept in training data,
        refused in requests, and never a feature.

    Raises
    ------
    ContractError
        For a name or type that cannot be used, or a rule that does not go with the type.

    Examples
    --------
    >>> from ml_ready.contract import Column
    >>> Column("kg", "Float32", "weight of the parcel", minimum=0, maximum=100).rule
    'must be a number from 0 to 100, and not missing'
    >>> Column("depot", "String", "where it was sent from", minimum=0)
    Traceback (most recent call last):
    ml_ready.errors.ContractError: schema.py, column depot: minimum and maximum are for numbers.
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
        if limits and self.dtype not in _TYPE_LIMITS:
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
        text = f"must be {_KIND_NAMES[PYTHON_TYPES[self.dtype]]}"
        if self.minimum is not None or self.maximum is not None:
            low, high = self.limits or ("", "")
            text += f" from {low:.10g} to {high:.10g}"
        if self.pattern is not None:
            text += f" matching {self.pattern}"
        if self.allowed:
            text += f", one of {', '.join(self.allowed)}"
        return text if self.nullable else f"{text}, and not missing"

    @property
    def named_rule(self) -> str:
        """The name of the column and its rule: what is said of a row that breaks it."""
        return f"{self.name} {self.rule}"

    @property
    def limits(self) -> tuple[float, float] | None:
        """Inclusive limits, from the declaration or the type; None where the type has none."""
        if self.dtype not in _TYPE_LIMITS:
            return None
        low, high = _TYPE_LIMITS[self.dtype]
        return (
            low if self.minimum is None else self.minimum,
            high if self.maximum is None else self.maximum,
        )


def version(columns: Sequence[Column]) -> str:
    """Return a version that changes with the contract, but not with a description.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    str
        Twelve hexadecimal digits.

    Examples
    --------
    >>> from ml_ready.contract import Column, version
    >>> first = version([Column("kg", "Float32", "weight")])
    >>> first == version([Column("kg", "Float32", "weight of the parcel")])
    True
    >>> first == version([Column("kg", "Float32", "weight", minimum=0)])
    False
    """
    text = json.dumps([asdict(column) | {"description": ""} for column in columns], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def inputs(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are known when a prediction is asked for.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    list of Column

    Examples
    --------
    >>> from ml_ready.contract import Column, inputs
    >>> weight = Column("kg", "Float32", "weight")
    >>> duration = Column("hours", "Float32", "on the way", known_at_prediction=False)
    >>> [column.name for column in inputs([weight, duration])]
    ['kg']
    """
    return [column for column in columns if column.known_at_prediction]


def polars_schema(columns: Sequence[Column]) -> pl.Schema:
    """Return name and polars type of each column.

    Parameters
    ----------
    columns : sequence of Column

    Returns
    -------
    polars.Schema
    """
    return pl.Schema((column.name, column.polars_type) for column in columns)
