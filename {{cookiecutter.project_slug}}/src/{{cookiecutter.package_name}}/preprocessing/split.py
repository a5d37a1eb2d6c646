"""Split by an ordered column: train on earlier rows, validate and test on later ones."""

from typing import Any

import polars as pl

from ..config import Split
from ..errors import ContractError


def split(frame: pl.DataFrame, boundaries: Split) -> dict[str, pl.DataFrame]:
    """Cut a table into training, validation and test window.

    Parameters
    ----------
    frame : polars.DataFrame of shape (rows, columns)
    boundaries : Split
        The column and the first value that no longer belongs to the window.

    Returns
    -------
    dict of str to polars.DataFrame
        `train`, `validation` and `test`, sorted by the column.

    Raises
    ------
    ContractError
        When the column is missing or has missing values, does not compare with the boundaries, or
        a window is empty.
    """
    if boundaries.column not in frame.columns:
        raise ContractError(
            f"data.split.column={boundaries.column}: no such column; "
            f"there are {', '.join(frame.columns)}"
        )
    unplaced = frame[boundaries.column].null_count()
    if unplaced or frame.is_empty():
        raise ContractError(
            f"data.split.column={boundaries.column}: missing in {unplaced} of {frame.height} rows "
            "whose outcome is known, expected at least one row and none without it. Mend the "
            "source, or split by another column."
        )
    column = pl.col(boundaries.column)
    start: Any = boundaries.train_until
    end: Any = boundaries.validation_until
    frame = frame.sort(boundaries.column, maintain_order=True)
    try:
        windows = {
            "train": frame.filter(column < start),
            "validation": frame.filter((column >= start) & (column < end)),
            "test": frame.filter(column >= end),
        }
    except pl.exceptions.PolarsError as error:
        raise ContractError(
            f"data.split: {boundaries.column} has type {frame.schema[boundaries.column]}, which "
            f"does not compare with {start}. Give boundaries of the column's type."
        ) from error
    for name, window in windows.items():
        if window.is_empty():
            first, last = frame[boundaries.column][0], frame[boundaries.column][-1]
            raise ContractError(
                f"data.split: the {name} window is empty; {boundaries.column} runs from {first} "
                f"to {last}, boundaries are {start} and {end}. Move them."
            )
    return windows


def require_variety(windows: dict[str, pl.DataFrame], target: str) -> None:
    """Stop when a window holds only one outcome, so that nothing can be learnt or measured.

    Parameters
    ----------
    windows : dict of str to polars.DataFrame
    target : str
        The column of outcomes.

    Raises
    ------
    ContractError
        Naming the window and the outcome.
    """
    for name, window in windows.items():
        outcomes = window[target].unique()
        if len(outcomes) < 2:
            raise ContractError(
                f"The {name} window holds only {target}={outcomes[0]} in {window.height} rows, "
                "expected several outcomes. Move data.split, or check the target in features.py."
            )
