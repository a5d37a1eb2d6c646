"""Ten million rows through the project's features, and through the same features in pandas."""

import json
import subprocess
from pathlib import Path

import polars as pl
from measure import PACKAGE, PROGRAMS, SECONDS_LIMIT, Bench, Contender, MeasureError, Quantity

ROWS = 10_000_000
TIME, MEMORY = "preprocessing of 10⁷ rows", "– its peak memory"
PREPROCESSING = [Quantity(TIME, "s", 1.5), Quantity(MEMORY, "MB", 1100)]


def preprocessing(bench: Bench) -> dict[str, Contender]:
    """Parquet file to features in memory, each time in a new process, on all cores.

    The rows repeat the raw records of the sample; imports are not counted. Both give the same
    features: on the sample this is checked before anything is timed.
    """

    def ours() -> dict[str, float]:
        return _measured(bench, "polars", bench.project() / ".venv" / "bin" / "python")

    def pandas() -> dict[str, float]:
        python = bench.environment("pandas", "pandas", "pyarrow") / "python"
        return _measured(bench, "pandas", python)

    return {"ml-ready": ours, "pandas": pandas}


def _measured(bench: Bench, engine: str, python: Path) -> dict[str, float]:
    records = bench.folder / "records.parquet"
    if not records.exists():
        sample = pl.read_parquet(bench.project() / "data" / "raw" / "records.parquet")
        many = pl.concat([sample] * (ROWS // sample.height + 1)).head(ROWS)
        many.write_parquet(records, row_group_size=500_000)
    expected, result = (bench.folder / f"{name}-sample.parquet" for name in ("polars", engine))
    if not result.exists():
        _run(python, engine, bench.project() / "data" / "raw" / "records.parquet", result)
        if not pl.read_parquet(result).equals(pl.read_parquet(expected)):
            raise MeasureError(f"{engine} gives other features of the sample: fix {PROGRAMS.name}")
    figures: dict[str, float] = json.loads(_run(python, engine, records))
    return {TIME: figures["seconds"], MEMORY: figures["megabytes"]}


def _run(python: Path, *arguments: str | Path) -> str:
    command = [python, PROGRAMS / "features.py", PACKAGE, *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=SECONDS_LIMIT
    )
    if done.returncode:
        raise MeasureError(f"features.py ended with {done.returncode}: {done.stderr[-300:]}")
    return done.stdout
