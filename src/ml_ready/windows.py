"""Windows: train on earlier rows, validate and test on later ones."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import narwhals as nw
import polars as pl
from narwhals.typing import IntoLazyFrameT

from .artifact import WINDOWS
from .errors import ContractError

if TYPE_CHECKING:
    from .config import Split


# From a lazy frame and `data.split` of the configuration, a lazy frame per window.
Splitter = Callable[[Any, "Split"], dict[str, Any]]


class Extent(NamedTuple):
    """The number of rows, the lowest and the highest value of a column, and how many are missing.

    A value that is missing, or not a number, is neither the lowest nor the highest.
    """

    rows: int
    low: Any
    high: Any
    missing: int = 0


def split(
    frame: pl.DataFrame, boundaries: "Split", divide: "Splitter | None" = None
) -> dict[str, pl.DataFrame]:
    """Cut a table into training, validation and test window.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, columns)
    boundaries : Split
        The column and the first value that no longer belongs to the window.
    divide : callable, optional
        Cuts in place of `cut`.

    Returns
    -------
    dict of str to polars.DataFrame
        By the name of the window, sorted by the column.

    Raises
    ------
    ContractError
        When the column is missing or has missing values, does not compare with the boundaries, or
        a window is empty.

    Examples
    --------
    >>> import polars as pl
    >>> from ml_ready.config import Split
    >>> from ml_ready.windows import split
    >>> boundaries = Split(column="day", train_until=4, validation_until=5)
    >>> windows = split(pl.DataFrame({"day": [5, 1, 3, 2, 4]}), boundaries)
    >>> {name: window["day"].to_list() for name, window in windows.items()}
    {'train': [1, 2, 3], 'validation': [4], 'test': [5]}
    """
    require_comparable(frame.schema, boundaries)
    frame = frame.sort(boundaries.column, maintain_order=True)
    windows = {
        name: part.collect() for name, part in (divide or cut)(frame.lazy(), boundaries).items()
    }
    rows = {name: window.height for name, window in windows.items()}
    if divide in (None, cut):
        require_filled(rows, extent(frame, boundaries.column), boundaries)
    elif [*rows] != [*WINDOWS] or not all(rows.values()):  # it may leave rows out
        raise ContractError(
            f"The split of project.py returns {rows or 'nothing'}, expected rows in each of "
            f"{', '.join(WINDOWS)}, in this order."
        )
    return windows


def cut(frame: IntoLazyFrameT, boundaries: "Split") -> dict[str, IntoLazyFrameT]:
    """Cut a lazy frame of any engine; a row without a value is in no window.

    Parameters
    ----------
    frame : lazy frame with the column
    boundaries : Split

    Returns
    -------
    dict of str to lazy frame
        By the name of the window.
    """
    whole, column = nw.from_native(frame), nw.col(boundaries.column)
    start, end = boundaries.train_until, boundaries.validation_until
    parts = (column < start, (column >= start) & (column < end), column >= end)
    return {name: whole.filter(part).to_native() for name, part in zip(WINDOWS, parts, strict=True)}


def extent(frame: pl.DataFrame, column: str) -> Extent:
    """Measure the extent of a column.

    Parameters
    ----------
    frame : polars.DataFrame with the column
    column : str

    Returns
    -------
    Extent

    Examples
    --------
    >>> import polars as pl
    >>> from ml_ready.windows import extent
    >>> extent(pl.DataFrame({"late": [0, 1, None]}), "late")
    Extent(rows=3, low=0, high=1, missing=1)
    """
    values = frame[column].fill_nan(None) if frame[column].dtype.is_float() else frame[column]
    return Extent(frame.height, values.min(), values.max(), values.null_count())


def require_comparable(schema: pl.Schema, boundaries: "Split") -> None:
    """Stop when the column of the windows is missing, or does not compare with the boundaries.

    Parameters
    ----------
    schema : polars.Schema
    boundaries : Split

    Raises
    ------
    ContractError
    """
    if boundaries.column not in schema:
        raise ContractError(
            f"data.split.column={boundaries.column}: no such column; there are {', '.join(schema)}"
        )
    start: Any = boundaries.train_until
    try:
        pl.DataFrame(schema=schema).filter(pl.col(boundaries.column) < start)
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"data.split: {boundaries.column} has type {schema[boundaries.column]}, which "
            f"does not compare with {start}. Give boundaries of the column's type."
        ) from error


def require_filled(rows: Mapping[str, int], whole: Extent, boundaries: "Split") -> None:
    """Stop when a window is empty, or a row is in none.

    Parameters
    ----------
    rows : mapping of str to int
        Of each window.
    whole : Extent
        Of the column, over all rows.
    boundaries : Split

    Raises
    ------
    ContractError
    """
    unplaced = whole.rows - sum(rows.values())
    if unplaced or not whole.rows:
        raise ContractError(
            f"data.split.column={boundaries.column}: missing in {unplaced} of {whole.rows} rows "
            "whose outcome is known, expected at least one row and none without it. Fix the "
            "source, or split by another column."
        )
    for name, count in rows.items():
        if not count:
            raise ContractError(
                f"data.split: the {name} window is empty; {boundaries.column} runs from "
                f"{whole.low} to {whole.high}, boundaries are {boundaries.train_until} and "
                f"{boundaries.validation_until}. Move them."
            )


def require_target(schema: pl.Schema, target: str) -> None:
    """Stop when the target is missing, or is not a number.

    Parameters
    ----------
    schema : polars.Schema
        Of the rows with features and target.
    target : str
        The column with the outcome, or with the number of its label.

    Raises
    ------
    ContractError
        Naming the target, and its type.
    """
    got = schema.get(target)
    if got is None or not (got.is_numeric() or got == pl.Boolean):
        raise ContractError(
            f"preprocessing/features.py: target() gives {target} "
            f"{'no column' if got is None else f'the type {got}'}, expected a number.",
            "Change target(): number labels from 0.",
        )


def require_outcomes(outcomes: Mapping[str, Extent], target: str) -> None:
    """Stop when an outcome is missing or infinite, or when a window holds only one outcome.

    Parameters
    ----------
    outcomes : mapping of str to Extent
        Of the target, in each window.
    target : str
        The column of outcomes.

    Raises
    ------
    ContractError
        Naming the window and the outcome.

    Examples
    --------
    >>> from ml_ready.windows import Extent, require_outcomes
    >>> require_outcomes({"train": Extent(rows=90, low=0, high=1)}, "late")
    >>> require_outcomes({"test": Extent(rows=12, low=0, high=0)}, "late")
    Traceback (most recent call last):
    ml_ready.errors.ContractError: The test window holds only late=0 in 12 rows, expected several...
    """
    for name, (rows, low, high, missing) in outcomes.items():
        if missing or not (isfinite(low) and isfinite(high)):
            got = f"no {target} in {missing} of" if missing else f"{target} from {low} to {high} in"
            raise ContractError(
                f"The {name} window has {got} {rows} rows, expected a finite number in each.",
                "Drop the other rows in target() of preprocessing/features.py.",
            )
        if low == high:
            raise ContractError(
                f"The {name} window holds only {target}={low} in {rows} rows, "
                "expected several outcomes. Move data.split, or check the target in features.py."
            )
