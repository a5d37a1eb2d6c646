"""Stage `preprocess`: `data/raw` → features and target of each window in `data/processed`."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from .. import contract
from ..config import Split
from ..errors import ContractError
from ..preprocessing import ingest
from ..preprocessing.features import CATEGORICAL, NUMERIC, features, target
from ..preprocessing.split import extent, require_variety, split
from ..schema import COLUMNS, TARGET
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Make features and cut the windows.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    ContractError
        When there are no records, or as `windows` does, or when a window holds only one outcome.
    """
    config = configuration(where, overrides)
    records = ingest.read(where.raw / "records.parquet", "Run the stages before it: poe pipeline")
    cut = windows(records, config.data.split)
    require_variety({name: extent(window, TARGET) for name, window in cut.items()}, TARGET)
    dropped = records.height - sum(window.height for window in cut.values())
    if dropped:
        log.info("%d records dropped: their outcome is unknown", dropped)
    columns = kept(config.data.split)
    for name, window in cut.items():
        folder = where.window(name)
        if where.host == (0, 1):  # parts of an earlier run on more hosts, or on Spark
            emptied(folder)
        folder.mkdir(parents=True, exist_ok=True)
        window.select(columns).write_parquet(folder / f"part-{where.host[0]}.parquet")
        mean = window[TARGET].to_numpy().mean()
        log.info("%s: %d rows, %s is %.3f on average", name, window.height, TARGET, mean)


def emptied(folder: Path) -> Path:
    """Have a folder that is empty; SageMaker may have mounted it, so it stays itself."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return folder


def kept(boundaries: Split) -> list[str]:
    """List the columns of a window."""
    return list(dict.fromkeys([boundaries.column, *NUMERIC, *CATEGORICAL, TARGET]))


def windows(records: pl.DataFrame, boundaries: Split) -> dict[str, pl.DataFrame]:
    """Make features and target of checked records, and cut them into windows.

    Parameters
    ----------
    records : polars.DataFrame of shape (rows, columns)
    boundaries : Split

    Returns
    -------
    dict of str to polars.DataFrame
        By the name of the window.

    Raises
    ------
    ContractError
        When a feature needs what is known only later, or the records cannot be split so.
    """
    require_no_leakage()
    return split(target(features(records.lazy())).collect(engine="streaming"), boundaries)


def require_no_leakage() -> None:
    """Stop when the features need more than is known when a prediction is asked for.

    Raises
    ------
    ContractError
        Naming the column.
    """
    known = {column.name: column.polars_type for column in contract.inputs(COLUMNS)}
    try:
        features(pl.LazyFrame(schema=known)).collect_schema()
    except pl.exceptions.ColumnNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            f"preprocessing/features.py uses what schema.py does not know at prediction time: "
            f"{reason}. Drop that feature."
        ) from error


if __name__ == "__main__":
    run(main)
