"""Stage `ingest`: source tables → `data/raw`, with the rows that break the contract set aside."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from .. import contract
from ..config import DataConfig
from ..preprocessing import ingest
from ..schema import COLUMNS
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Join the tables, check the contract, and stop where too many rows break it.

    Raises
    ------
    ConfigError
        When a setting is wrong, or SageMaker has dealt out the files of an input.
    ContractError
        When the tables cannot be joined, or too many rows break the contract.
    """
    config = configuration(where, overrides)
    if where.job:
        where.job.require_whole_inputs()
    checked = records(where.source(config.source), config.data, where.host)
    where.raw.mkdir(parents=True, exist_ok=True)
    checked.quarantined.write_parquet(where.raw / "quarantine.parquet")
    conclude(where.raw, checked.tally, config.data.tolerance)
    checked.valid.write_parquet(where.raw / "records.parquet")


def conclude(folder: Path, tally: contract.Tally, tolerance: float) -> None:
    """Say how many rows break which rule, stop where they are too many, and write it down.

    Parameters
    ----------
    folder : pathlib.Path
        Gets `contract.json`.
    tally : contract.Tally
    tolerance : float
        The share of rows that may break the contract, 0 to 1.

    Raises
    ------
    ContractError
        When more rows break it.
    """
    for rule, count in tally.rules.items():
        log.warning("%s: broken by %d records, see the quarantine in data/raw", rule, count)
    contract.require_tolerated(tally, tolerance)
    summary = json.dumps(tally._asdict(), indent=2)
    (folder / "contract.json").write_text(summary, encoding="utf-8")
    log.info("%d records valid, %d set aside", tally.valid, tally.quarantined)


def records(source: Path, config: DataConfig, part: tuple[int, int] = (0, 1)) -> contract.Checked:
    """Read the tables in a folder, join them and check every row.

    Parameters
    ----------
    source : pathlib.Path
    config : DataConfig
    part : tuple of int
        Which share of the rows is wanted, from 0, and of how many.

    Returns
    -------
    contract.Checked

    Raises
    ------
    ContractError
        When a table cannot be read or joined, or a column is missing or of another type.
    """
    others = [(join, ingest.read(source / join.table)) for join in config.joins]
    position, parts = part
    joined = ingest.join(ingest.read(source / config.table).gather_every(parts, position), others)
    return contract.check(joined, COLUMNS, text=as_text(source, config))


def as_text(source: Path, config: DataConfig) -> bool:
    """Tell whether cells come as text, which the contract reads: those of CSV do.

    Raises
    ------
    ContractError
        When a table is missing.
    """
    tables = [config.table, *(join.table for join in config.joins)]
    return any(file.suffix == ".csv" for name in tables for file in ingest.files(source / name))


if __name__ == "__main__":
    run(main)
