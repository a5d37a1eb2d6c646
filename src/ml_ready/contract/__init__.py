"""The data contract: one list of columns checks batches and types requests."""

from .batches import (
    Checked,
    Tally,
    check,
    require_columns,
    require_rows,
    require_tolerated,
)
from .columns import RESERVED, Column, Dtype, inputs, polars_schema, version
from .requests import Violation, record_type, violations

__all__ = [
    "RESERVED",
    "Checked",
    "Column",
    "Dtype",
    "Tally",
    "Violation",
    "check",
    "inputs",
    "polars_schema",
    "record_type",
    "require_columns",
    "require_rows",
    "require_tolerated",
    "version",
    "violations",
]
