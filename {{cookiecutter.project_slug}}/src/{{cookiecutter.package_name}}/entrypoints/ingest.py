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
    """Join the tables, check the contract, and stop where too many rows break it."""
    config = configuration(where, overrides)
    if where.job:
        where.job.require_whole_inputs()
    checked = records(where.source(config.source), config.data, where.host)
    where.raw.mkdir(parents=True, exist_ok=True)
    checked.quarantined.write_parquet(where.raw / "quarantine.parquet")
    for rule, count in checked.counts.items():
        log.warning("%s: broken by %d records, see data/raw/quarantine.parquet", rule, count)
    contract.require_tolerated(checked, config.data.tolerance)
    checked.valid.write_parquet(where.raw / "records.parquet")
    summary = {
        "valid": checked.valid.height,
        "quarantined": checked.quarantined.height,
        "rules": checked.counts,
    }
    (where.raw / "contract.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    log.info("%d records valid, %d set aside", checked.valid.height, checked.quarantined.height)


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
    """
    others = [(join, ingest.read(source / join.table)) for join in config.joins]
    position, parts = part
    joined = ingest.join(ingest.read(source / config.table).gather_every(parts, position), others)
    tables = [config.table, *(join.table for join in config.joins)]
    return contract.check(joined, COLUMNS, text=any(name.endswith(".csv") for name in tables))


if __name__ == "__main__":
    run(main)
