"""Stage `preprocess`: `data/raw` → features and target of each window in `data/processed`."""

import logging
from collections.abc import Sequence

from ..preprocessing import ingest
from ..preprocessing.features import CATEGORICAL, NUMERIC, features, target
from ..preprocessing.split import require_two_classes, split
from ..schema import TARGET
from .configure import configuration
from .environment import Paths, run

log = logging.getLogger(__name__)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Make features and cut the windows."""
    config = configuration(where, overrides)
    records = ingest.read(where.raw / "records.parquet")
    table = target(features(records.lazy())).collect(engine="streaming")
    if table.height < records.height:
        log.info("%d records dropped: their outcome is unknown", records.height - table.height)
    windows = split(table, config.data.split)
    require_two_classes(windows, TARGET)
    kept = list(dict.fromkeys([config.data.split.column, *NUMERIC, *CATEGORICAL, TARGET]))
    where.processed.mkdir(parents=True, exist_ok=True)
    for name, window in windows.items():
        window.select(kept).write_parquet(where.processed / f"{name}.parquet")
        share = window[TARGET].to_numpy().mean()
        log.info("%s: %d rows, %.1f %% positive", name, window.height, 100 * share)


if __name__ == "__main__":
    run(main)
