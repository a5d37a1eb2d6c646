"""Make features of the records in a parquet file; print the seconds and the peak memory it took.

Runs in the environment of the engine: features.py PACKAGE polars|pandas RECORDS [OUTPUT]
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

NUMERIC = [
    "departure_hour",
    "weekday",
    "scheduled_minutes",
    "distance",
    "seats",
    "plane_age",
    "scheduled_departures",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
    "origin_late_share",
    "carrier_late_share",
]
CATEGORICAL = ["carrier", "origin"]
COMPUTED = ["departure_hour", "weekday", "scheduled_minutes", "plane_age"]
READ = ["time_hour", "sched_dep_time", "sched_arr_time", "plane_year"]
AIRLINES = ["9E", "AA", "B6", "DL", "EV", "MQ", "UA", "US", "VX", "WN"]


def with_polars(package: str) -> Any:
    """Return the project's own features as a function of a file."""
    import polars as pl

    module = importlib.import_module(f"{package}.preprocessing.features")
    kept = [*module.NUMERIC, *module.CATEGORICAL]
    return lambda records: (
        module.features(pl.scan_parquet(records)).select(kept).collect(engine="streaming")
    )


def with_pandas(_: str) -> Any:
    """Return the same features in pandas, reading only the columns that they need."""
    import pandas as pd  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-not-found]  # noqa: F401 - not to be timed

    columns = [*READ, *CATEGORICAL, *(name for name in NUMERIC if name not in COMPUTED)]

    def minutes(time_of_day: Any) -> Any:
        return time_of_day // 100 * 60 + time_of_day % 100

    def features(records: Path) -> Any:
        frame = pd.read_parquet(records, columns=columns)
        departure, airline = frame["time_hour"].dt, frame["carrier"]
        flown = minutes(frame["sched_arr_time"]) - minutes(frame["sched_dep_time"])
        frame = frame.assign(
            departure_hour=departure.hour,
            weekday=departure.day_of_week + 1,
            scheduled_minutes=(flown + 24 * 60) % (24 * 60),
            plane_age=departure.year - frame["plane_year"],
            carrier=airline.where(airline.isin(AIRLINES), "rare"),
        )
        return frame[[*NUMERIC, *CATEGORICAL]].astype(dict.fromkeys(NUMERIC, "float32"))

    return features


def peak_megabytes() -> float:
    """Return the largest resident memory of this process so far."""
    # Not getrusage: its peak is that of the parent where that was larger.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def main() -> None:
    """Run the command line."""
    package, engine, records, *output = sys.argv[1:]
    features = {"polars": with_polars, "pandas": with_pandas}[engine](package)
    started = time.perf_counter()
    table = features(records)
    seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))
    if output:
        table.write_parquet(*output) if engine == "polars" else table.to_parquet(
            *output, index=False
        )


if __name__ == "__main__":
    main()
