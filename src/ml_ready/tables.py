"""Source tables: their files, how they are read and joined into one record per row."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from .errors import ContractError

if TYPE_CHECKING:
    from .config import Join

_SUFFIXES = (".parquet", ".csv")
_CHECK = "Check `source` and `data` in conf/."


def files(path: Path, remedy: str = _CHECK) -> list[Path]:
    """Find the files of a table.

    Parameters
    ----------
    path : pathlib.Path
        A parquet or CSV file, or a folder with such files, also in folders of its own.
    remedy : str
        What to do where there is none.

    Returns
    -------
    list of pathlib.Path
        In the order of their names.

    Raises
    ------
    ContractError
        When there is no file.

    Examples
    --------
    In an empty `folder`:

    >>> import polars as pl
    >>> from ml_ready.tables import files
    >>> for month in ("2024-02", "2024-01"):
    ...     pl.DataFrame({"kg": [2]}).write_csv(folder / f"{month}.csv")
    >>> [path.name for path in files(folder)]
    ['2024-01.csv', '2024-02.csv']
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ContractError(f"{path}: no such file.", remedy)
    paths = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES and each.is_file())
    if not paths:
        raise ContractError(f"{path}: no {' or '.join(_SUFFIXES)} file in this folder.", remedy)
    return paths


def read(path: Path, remedy: str = _CHECK) -> pl.DataFrame:
    """Read a table from all its files.

    Parameters
    ----------
    path : pathlib.Path
        As `files` takes it.
    remedy : str
        What to do where there is no such file.

    Returns
    -------
    polars.DataFrame of shape (rows, columns)
        Cells of a CSV file are text, and empty cells are missing: `contract.check` converts them.

    Raises
    ------
    ContractError
        When a file is missing, cannot be read, or has other columns than the one before it.

    Examples
    --------
    In an empty `folder`:

    >>> import polars as pl
    >>> from ml_ready.tables import read
    >>> pl.DataFrame({"depot": ["north", None], "kg": [2, 3]}).write_csv(folder / "parcels.csv")
    >>> read(folder / "parcels.csv").to_dicts()
    [{'depot': 'north', 'kg': '2'}, {'depot': None, 'kg': '3'}]
    """
    schema(path, remedy)
    return pl.concat(_read(each) for each in files(path, remedy))


def read_window(
    path: Path, numbers: Sequence[str], others: Sequence[str], target: str, remedy: str
) -> pl.DataFrame:
    """Read features and target of a window, as `preprocess` writes them.

    Parameters
    ----------
    path : pathlib.Path
        As `files` takes it.
    numbers, others : sequence of str
        The features that are numbers, and those that are not.
    target : str
    remedy : str
        What to do where it is not there.

    Returns
    -------
    polars.DataFrame of shape (rows, columns)

    Raises
    ------
    ContractError
        When it cannot be read, has no row, lacks a column, or has a target that is missing or
        texts in place of numbers.
    """
    frame = read(path, remedy)
    if missing := [name for name in [*numbers, *others, target] if name not in frame.columns]:
        raise ContractError(f"{path}: columns missing: {', '.join(missing)}. {remedy}")
    if texts := [name for name in [*numbers, target] if frame.schema[name] == pl.String]:
        raise ContractError(f"{path}: texts in {', '.join(texts)}: expected numbers, in parquet")
    if frame.is_empty():
        raise ContractError(f"{path}: no row, expected at least one. {remedy}")
    if unknown := frame[target].null_count():
        raise ContractError(f"{path}: {unknown} rows without {target}. {remedy}")
    return frame


def read_named(folder: Path, name: str) -> pl.DataFrame:
    """Read a table of a folder: the default `source` of a project.

    Parameters
    ----------
    folder : pathlib.Path
        Holds the source tables.
    name : str
        Of a file or a folder in it.

    Returns
    -------
    polars.DataFrame of shape (rows, columns)

    Raises
    ------
    ContractError
        As `read` does.
    """
    return read(folder / name)


def schema(path: Path, remedy: str = _CHECK) -> pl.Schema:
    """Return the column names and types of a table; refuse a table whose files differ in them.

    Parameters
    ----------
    path : pathlib.Path
        As `files` takes it.
    remedy : str

    Returns
    -------
    polars.Schema
        From CSV, of texts.

    Raises
    ------
    ContractError
        As `read` does.
    """
    first, *others = files(path, remedy)
    expected = _schema(first)
    for each in others:
        got = _schema(each)
        if got != expected:
            raise ContractError(
                f"{each}: has the columns {_listed(got)}, expected those of {first.name}: "
                f"{_listed(expected)}.",
                "Write all files of a table alike.",
            )
    return expected


def _listed(columns: pl.Schema) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def _schema(path: Path) -> pl.Schema:
    with _readable(path) as table:
        return table.collect_schema()


def _read(path: Path) -> pl.DataFrame:
    with _readable(path) as table:
        return table.collect()


@contextmanager
def _readable(path: Path) -> Iterator[pl.LazyFrame]:
    try:
        yield (
            pl.scan_csv(path, infer_schema=False, null_values="", glob=False)
            if path.suffix == ".csv"
            else pl.scan_parquet(path, glob=False)
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ContractError(f"{path}: not a readable {path.suffix[1:]} file: {reason}") from error


def join(table: pl.DataFrame, others: Sequence[tuple["Join", pl.DataFrame]]) -> pl.DataFrame:
    """Join tables on the left, keeping every row of `table` exactly once.

    Parameters
    ----------
    table : polars.DataFrame of shape (rows, columns)
    others : sequence of (Join, polars.DataFrame)
        In the order in which they are joined.

    Returns
    -------
    polars.DataFrame of shape (rows, columns and those of the others)

    Raises
    ------
    ContractError
        When a table is empty, when a key is missing on either side, has another type, or is not
        unique on the right, or when another column is on both sides.

    Examples
    --------
    >>> import polars as pl
    >>> from ml_ready.config import Join
    >>> from ml_ready.tables import join
    >>> parcels = pl.DataFrame({"depot": ["north", "west"], "kg": [2, 3]})
    >>> staff = pl.DataFrame({"depot": ["north"], "people": [12]})
    >>> join(parcels, [(Join(table="staff.parquet", keys=["depot"]), staff)]).to_dicts()
    [{'depot': 'north', 'kg': 2, 'people': 12}, {'depot': 'west', 'kg': 3, 'people': None}]
    """
    for declared, other in others:
        joined_schema(table.schema, other.schema, declared)
        require_one_row_per_key(declared, other.height, other.n_unique(declared.keys))
        table = table.join(other, on=declared.keys, how="left", maintain_order="left")
    return table


def joined_schema(table: pl.Schema, other: pl.Schema, declared: "Join") -> pl.Schema:
    """Return the columns that a join leads to, or refuse it.

    Parameters
    ----------
    table, other : polars.Schema
        Of the records, and of what is joined to them.
    declared : Join

    Returns
    -------
    polars.Schema

    Raises
    ------
    ContractError
        When a key is missing on either side or has another type, or when another column is on
        both sides.
    """
    for side, name in ((table, "the records"), (other, declared.table)):
        missing = [key for key in declared.keys if key not in side]
        if missing:
            raise ContractError(
                f"{declared.table}: key {', '.join(missing)} is not in {name}, which has "
                f"{', '.join(side)}.",
                "Fix data.joins in conf/.",
            )
    both = sorted(set(table) & set(other) - set(declared.keys))
    if both:
        raise ContractError(
            f"{declared.table}: {', '.join(both)} is in the records already.",
            "Rename or drop it in one of the tables, or make it a key.",
        )
    try:
        left, right = pl.LazyFrame(schema=table), pl.LazyFrame(schema=other)
        return left.join(right, on=declared.keys, how="left").collect_schema()
    except pl.exceptions.SchemaError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            f"{declared.table}: keys of different types: {reason}.", "Convert one of them."
        ) from error


def require_one_row_per_key(declared: "Join", rows: int, keys: int) -> None:
    """Raise if a joined table is empty or has more than one row per key.

    Parameters
    ----------
    declared : Join
    rows, keys : int
        How many it has.

    Raises
    ------
    ContractError
        Naming the table.
    """
    if not rows:
        raise ContractError(f"{declared.table} is empty: expected at least one row.")
    if rows > keys:
        raise ContractError(
            f"{declared.table}: {rows - keys} rows repeat a key of {', '.join(declared.keys)}, "
            "expected one row per key.",
            "Remove the duplicates.",
        )
