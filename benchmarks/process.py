"""The whole of `process` over more and more flights: with polars, and on Spark."""

import shutil
import sys
import time
import tomllib
from pathlib import Path

from measure import Bench, Contender, MeasureError, Quantity, failure, running, timed

FLIGHTS = 336_776
COPIES = (1, 10, 30)


def _names(copies: int) -> tuple[str, str]:
    millions = f"{copies * FLIGHTS / 1e6:.2g} million flights"
    return f"`process` of {millions}", f"– its peak memory, {millions}"


PROCESS = [
    Quantity(name, unit)
    for copies in COPIES
    for name, unit in zip(_names(copies), ("s", "MB"), strict=True)
]


def process(bench: Bench) -> dict[str, Contender]:
    """Join, check, make features, cut and write all flights of 2013, so many times over.

    A file a copy; a new process each time, on all cores. Spark is `process-spark` in `local[*]`,
    with a Java heap of a quarter of the machine. Memory is the largest sum over all processes.
    By hand, in the same way, what docs/sagemaker.md of a project says of 30 million flights, with
    `process-spark`, and of several hosts: `process` of 10 million flights, as one of the four or
    eight hosts that a resourceconfig.json names.
    """

    def polars() -> dict[str, float]:
        return _measured(bench, bench.project(), "process")

    def spark() -> dict[str, float]:
        return _measured(bench, _with_spark(bench), "process-spark")

    return {"ml-ready": polars, "Spark": spark}


def _with_spark(bench: Bench) -> Path:
    project = bench.folder / "with-spark"
    if not project.exists():
        shutil.copytree(bench.project(), project, ignore=shutil.ignore_patterns(".venv"))
        for arguments in ([], ["poetry", "install", "--with", "spark", "--no-interaction"]):
            timed([sys.executable, "bootstrap.py", *arguments], project)
    locked = tomllib.loads((project / "poetry.lock").read_text(encoding="utf-8"))["package"]
    bench.versions["Spark"] = next(each["version"] for each in locked if each["name"] == "pyspark")
    return project


def _source(bench: Bench, copies: int) -> Path:
    full = bench.folder / "full"
    if not full.exists():
        python = bench.project() / ".venv" / "bin" / "python"
        timed([python, "data/draw.py", "--all", "--out", full], bench.project())
    source = bench.folder / f"full-{copies}"
    if not source.exists():
        (source / "flights").mkdir(parents=True)
        for table in full.iterdir():
            if table.stem != "flights":
                shutil.copy(table, source)
        for copy in range(copies):
            shutil.copy(full / "flights.parquet", source / "flights" / f"{copy:03}.parquet")
    return source


def _measured(bench: Bench, project: Path, script: str) -> dict[str, float]:
    figures: dict[str, float] = {}
    for copies in COPIES:
        command: list[str | Path] = [project / ".venv" / "bin" / script]
        command += [f"source={_source(bench, copies)}", "data.table=flights"]
        peak, started = 0.0, time.perf_counter()
        with running(command, project) as job:
            while job.poll() is None:
                peak = max(peak, _megabytes(job.pid))
                time.sleep(0.1)
            seconds = time.perf_counter() - started
        if job.returncode:
            raise MeasureError(failure(command, job.returncode, "see above"))
        figures |= dict(zip(_names(copies), (seconds, peak), strict=True))
    return figures


def _megabytes(session: int) -> float:
    """Sum up the resident memory of a process and all that it has started."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[3]) == session:
                total += int(fields[21]) * 4096
        except OSError:  # it has ended meanwhile
            continue
    return total / 1e6
