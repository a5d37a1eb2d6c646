"""Curves of held-out windows: tables for DVC, and lines in the report."""

from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"validation": "#4c6ef5", "test": "#f76707"}
GREY = "#adb5bd"


class Curves:
    """Tables that grow window by window."""

    def __init__(self) -> None:
        self._parts: dict[str, list[pl.DataFrame]] = {}

    def add(self, name: str, window: str, **columns: Any) -> None:
        """Add the rows of a window to a table.

        Parameters
        ----------
        name, window : str
        **columns : array-like of shape (points,)
        """
        table = pl.DataFrame(columns).select(pl.lit(window).alias("window"), pl.all())
        self._parts.setdefault(name, []).append(table)

    def tables(self) -> dict[str, pl.DataFrame]:
        """Return the tables by name, each with a `window` column.

        Returns
        -------
        dict of str to polars.DataFrame
        """
        return {name: pl.concat(parts) for name, parts in self._parts.items()}


def lines(axes: "Axes", table: pl.DataFrame, x: str, y: str, **style: Any) -> None:
    """Draw a line per window.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    table : polars.DataFrame
        With the columns `window`, `x` and `y`.
    x, y : str
        Names of columns, and labels of the axes.
    **style
        As `Axes.plot` takes it.
    """
    for (window,), part in table.group_by("window", maintain_order=True):
        axes.plot(part[x], part[y], label=str(window), color=COLOURS[str(window)], **style)
    axes.set_xlabel(x.replace("_", " "))
    axes.set_ylabel(y.replace("_", " "))
