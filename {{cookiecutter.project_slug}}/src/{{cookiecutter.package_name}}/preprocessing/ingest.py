"""Ingest: the source tables, joined into one raw record a row."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..config import Join
from ..errors import ContractError

SUFFIXES = (".parquet", ".csv")
CHECK = "Check `source` and `data` in conf/."


def files(path: Path, remedy: str = CHECK) -> list[Path]:
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
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ContractError(f"{path}: no such file. {remedy}")
    found = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES and each.is_file())
    if not found:
        raise ContractError(f"{path}: no {' or '.join(SUFFIXES)} file in this folder. {remedy}")
    return found


def read(path: Path, remedy: str = CHECK) -> pl.DataFrame:
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
        From CSV every cell is text, an empty one missing: the contract reads it.

    Raises
    ------
    ContractError
        When a file is missing, cannot be read, or has other columns than the one before it.
    """
    first, *others = files(path, remedy)
    table = _read(first)
    for each in others:
        part = _read(each)
        if part.schema != table.schema:
            raise ContractError(
                f"{each}: has the columns {_listed(part)}, expected those of {first.name}: "
                f"{_listed(table)}. Write all files of a table alike."
            )
        table = table.vstack(part)
    return table


def _listed(table: pl.DataFrame) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in table.schema.items())


def _read(path: Path) -> pl.DataFrame:
    try:
        return (
            pl.read_csv(path, infer_schema=False)
            if path.suffix == ".csv"
            else pl.read_parquet(path)
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ContractError(f"{path}: not a readable {path.suffix[1:]} file: {reason}") from error


def join(table: pl.DataFrame, others: Sequence[tuple[Join, pl.DataFrame]]) -> pl.DataFrame:
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
    """
    for declared, other in others:
        if other.is_empty():
            raise ContractError(f"{declared.table} is empty: expected at least one row.")
        for side, name in ((table, "the records"), (other, declared.table)):
            missing = [key for key in declared.keys if key not in side.columns]
            if missing:
                raise ContractError(
                    f"{declared.table}: key {', '.join(missing)} is not in {name}, which has "
                    f"{', '.join(side.columns)}. Mend data.joins in conf/."
                )
        both = sorted(set(table.columns) & set(other.columns) - set(declared.keys))
        if both:
            raise ContractError(
                f"{declared.table}: {', '.join(both)} is in the records already. Rename or drop "
                "it in one of the tables, or make it a key."
            )
        repeated = other.height - other.n_unique(declared.keys)
        if repeated:
            raise ContractError(
                f"{declared.table}: {repeated} rows repeat a key of {', '.join(declared.keys)}, "
                "expected one row a key. Remove the duplicates."
            )
        try:
            table = table.join(other, on=declared.keys, how="left", maintain_order="left")
        except pl.exceptions.SchemaError as error:
            reason = str(error).splitlines()[0]
            raise ContractError(
                f"{declared.table}: keys of different types: {reason}. Convert one of them."
            ) from error
    return table
