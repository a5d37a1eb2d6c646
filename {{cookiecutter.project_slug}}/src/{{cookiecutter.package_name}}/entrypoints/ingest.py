"""Stage `ingest`: source tables → `data/raw`, with the rows that break the contract set aside."""

import json
import logging
from collections.abc import Sequence

from .. import contract
from ..preprocessing import ingest
from ..schema import COLUMNS
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Join the tables and check the contract."""
    config = configuration(where, overrides)
    source = where.root / config.source
    others = [(join, ingest.read(source / join.table)) for join in config.data.joins]
    joined = ingest.join(ingest.read(source / config.data.table), others)
    checked = contract.check(joined, COLUMNS, config.data.tolerance)
    where.raw.mkdir(parents=True, exist_ok=True)
    checked.valid.write_parquet(where.raw / "records.parquet")
    checked.quarantined.write_parquet(where.raw / "quarantine.parquet")
    summary = {
        "valid": checked.valid.height,
        "quarantined": checked.quarantined.height,
        "rules": checked.counts,
    }
    (where.raw / "contract.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    log.info("%d records valid, %d set aside", checked.valid.height, checked.quarantined.height)
    for rule, count in checked.counts.items():
        log.warning("%s: broken by %d records, see %s", rule, count, "data/raw/quarantine.parquet")


if __name__ == "__main__":
    run(main)
