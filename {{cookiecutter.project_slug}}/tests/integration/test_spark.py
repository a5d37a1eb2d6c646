"""Spark: on a real cluster, the same windows and the same refusals as from polars."""

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import pytest

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.config import WINDOWS
from {{ cookiecutter.package_name }}.entrypoints import (
    cluster,
    preprocess,
    process,
    spark,
)
from {{ cookiecutter.package_name }}.entrypoints.configure import (
    Configuration,
    configuration,
)
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths
from {{ cookiecutter.package_name }}.errors import ConfigError, ContractError
from {{ cookiecutter.package_name }}.preprocessing.features import target
from {{ cookiecutter.package_name }}.preprocessing.ingest import files, read
from {{ cookiecutter.package_name }}.schema import COLUMNS, TARGET

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None,
    reason="Spark is missing: python3 bootstrap.py poetry install --with spark",
)
HOSTS = ["127.0.0.1", "localhost"]
ENVIRONMENT = {
    "JAVA_HOME": "",
    "PYSPARK_PYTHON": "",
    "SPARK_LOCAL_IP": HOSTS[0],
    "SPARK_WORKER_CORES": "1",
    "TZ": "America/New_York",
    # Code that runs once is not worth a second compilation.
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
}


def free_ports() -> int:
    """Return a port that is free, as is the next one."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind((HOSTS[0], 0))
            port = int(one.getsockname()[1])
            try:
                other.bind((HOSTS[0], port + 1))
            except OSError:
                continue
            return port


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """A driver on a cluster of a master and two workers, where the clocks of New York count."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        time.tzset()
        patch.setattr(cluster, "PORT", free_ports())
        with (
            cluster.java(),
            cluster.started("Master", "--host", HOSTS[0], "--port", str(cluster.PORT)),
            cluster.worker(HOSTS[0], HOSTS[0]),
            cluster.worker(HOSTS[0], HOSTS[0]),
            cluster.session(f"spark://{HOSTS[0]}:{cluster.PORT}", HOSTS[0]) as made,
        ):
            yield made
    time.tzset()


Change = Callable[[pl.DataFrame], pl.DataFrame]


def repository(
    root: Path, config: Configuration, suffix: str = ".folder", by: Change = pl.DataFrame.clone
) -> tuple[Paths, list[str]]:
    """A repository whose tables are CSV files or folders of parquet files; what names them.

    The first table is changed.
    """
    shutil.copytree(paths().root / "conf", root / "conf")
    data = config.data
    for name in [data.table, *(join.table for join in data.joins)]:
        rows = typed(read(paths().root / config.source / name))
        rows = by(rows) if name == data.table else rows
        path = (root / "source" / name).with_suffix(suffix)
        if suffix == ".csv":
            path.parent.mkdir(exist_ok=True)
            rows.write_csv(path, null_value='""')
            continue
        for part in range(3):
            (path / f"part={part}").mkdir(parents=True)
            rows.gather_every(3, part).write_parquet(path / f"part={part}" / "rows [of].parquet")
    joins = ",".join(
        f"{'{'}table: {Path(join.table).with_suffix(suffix)}, keys: [{', '.join(join.keys)}]{'}'}"
        for join in data.joins
    )
    first = Path(data.table).with_suffix(suffix)
    return Paths(root), ["source=source", f"data.table={first}", f"data.joins=[{joins}]"]


def typed(rows: pl.DataFrame) -> pl.DataFrame:
    """Give a table, which may have been text in CSV, the types of the contract."""
    types = {column.name: column.polars_type for column in COLUMNS}
    return rows.with_columns(
        pl.col(name).str.to_datetime()
        if types[name] == pl.Datetime
        else pl.col(name).cast(types[name])
        for name, found in rows.schema.items()
        if found == pl.String and name in types
    )


def table(where: Paths, overrides: list[str]) -> Path:
    """Where its first table lies."""
    return where.root / "source" / overrides[1].partition("=")[2]


def with_spark(session: Any, where: Paths, overrides: list[str]) -> None:
    """Do what `process-spark` does, in this session."""
    config = configuration(where, overrides)
    with spark.in_a_line():
        spark.process(session, where, where.source(config.source), config.data)


def made(where: Paths) -> dict[str, pl.DataFrame]:
    """What lies in the windows, in an order of its own."""
    return {name: read(where.window(name)).sort(pl.all()) for name in WINDOWS}


def limited(rows: pl.DataFrame) -> contract.Column:
    """A number of a table that has a limit."""
    return next(each for each in COLUMNS if each.maximum is not None and each.name in rows.columns)


def broken(rows: pl.DataFrame) -> pl.DataFrame:
    """Break a limit in six rows, and in six more each text, in a way that CSV has to quote."""
    number = limited(rows)
    odd = {number.name: pl.lit((number.maximum or 0) + 1, rows.schema[number.name])}
    odd |= {name: pl.lit('a "b"\nc, d') for name, kind in rows.schema.items() if kind == pl.String}
    row = pl.int_range(pl.len())
    return rows.with_columns(
        pl.when(row.is_between(6 * k, 6 * k + 5)).then(value).otherwise(name).alias(name)
        for k, (name, value) in enumerate(odd.items())
    )


@pytest.mark.parametrize("suffix", [".folder", ".csv"])
def test_every_column_of_every_window_and_every_broken_row_is_as_from_polars(
    session: Any, tmp_path: Path, config: Configuration, suffix: str
) -> None:
    where, overrides = repository(tmp_path, config, suffix, broken)
    overrides.append("data.tolerance=0.1")
    first = config.data.split.train_until
    if isinstance(first, datetime):  # at an hour at which the zone of the clock shows
        overrides.append(f"data.split.train_until='{first + timedelta(hours=13)}'")
    process.main(where, overrides)
    expected = made(where)
    rules = (where.raw / "contract.json").read_text(encoding="utf-8")
    set_aside = read(where.raw / "quarantine.parquet").drop("row").sort(pl.all())
    assert set_aside.height >= 6

    with_spark(session, where, overrides)
    assert session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() == 3
    for name, window in made(where).items():
        assert window.schema == expected[name].schema
        assert window.height > 0
        for column in window.columns:
            assert window[column].equals(expected[name][column]), f"{name}: {column}"
    assert (where.raw / "contract.json").read_text(encoding="utf-8") == rules
    assert read(where.raw / "quarantine").sort(pl.all()).equals(set_aside)


def change(by: Change) -> Callable[[Path], None]:
    """Return what changes each file of a table."""

    def changed(path: Path) -> None:
        for each in files(path):
            by(read(each)).write_parquet(each)

    return changed


def damaged(path: Path) -> None:
    files(path)[1].write_bytes(b"no parquet at all")


def of_other_columns(path: Path) -> None:
    second = files(path)[1]
    rows = read(second)
    rows.rename({limited(rows).name: "other"}).write_parquet(second)


BREAKS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no such file": (shutil.rmtree, []),
    "not a readable parquet file": (damaged, []),
    "has the columns": (of_other_columns, []),
    "Columns missing": (change(lambda rows: rows.drop(limited(rows).name)), []),
    "has type String": (change(lambda rows: rows.cast({limited(rows).name: pl.String})), []),
    "The batch is empty": (change(pl.DataFrame.clear), []),
    "break the contract": (change(broken), ["data.tolerance=0"]),
    "the train window is empty": (lambda path: None, ["data.split.train_until={}"]),
}


@pytest.mark.parametrize("said", BREAKS)
def test_bad_tables_are_refused_in_the_words_of_polars(
    session: Any, tmp_path: Path, config: Configuration, said: str
) -> None:
    where, overrides = repository(tmp_path, config)
    breaks, further = BREAKS[said]
    breaks(table(where, overrides))
    first = config.data.split.train_until
    early = -(2**31) if isinstance(first, int) else "1800-01-01"
    refused(session, where, [*overrides, *(each.format(early) for each in further)], said)


def refused(session: Any, where: Paths, overrides: list[str], said: str) -> None:
    """Have polars and Spark refuse in the same line."""
    errors = []
    for work in (process.main, partial(with_spark, session)):
        with pytest.raises(ContractError, match=said) as caught:
            work(where, overrides)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert "\n" not in errors[0]


def test_a_file_that_spark_would_pass_over_is_named(
    session: Any, tmp_path: Path, config: Configuration
) -> None:
    where, overrides = repository(tmp_path, config)
    path = table(where, overrides)
    files(path)[1].rename(path / "_rows.parquet")
    with pytest.raises(ContractError, match=r"_rows\.parquet: Spark passes over a file of such a"):
        with_spark(session, where, overrides)


def test_a_window_with_one_outcome_is_refused_as_by_polars(
    session: Any, tmp_path: Path, config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(records: Any) -> Any:
        return nw.from_native(target(records)).with_columns(nw.lit(1).alias(TARGET)).to_native()

    for module in (preprocess, spark):
        monkeypatch.setattr(module, "target", constant)
    where, overrides = repository(tmp_path, config)
    refused(session, where, overrides, f"The train window holds only {TARGET}=1 in ")


def test_a_cluster_is_given_by_command(
    tmp_path: Path, config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, overrides = repository(tmp_path, config)
    given: list[str] = []

    def session(master: str) -> Any:
        given.append(master)
        return nullcontext()

    monkeypatch.setattr(cluster, "session", session)
    monkeypatch.setattr(spark, "process", lambda *_: None)
    spark.main(where, ["--master", "spark://host:7077", *overrides])
    assert given == ["spark://host:7077"]


def host(
    base: Path, config: Configuration, name: str, port: int, *arguments: str
) -> subprocess.Popen[str]:
    """Start one of two hosts of a processing job."""
    (base / "config").mkdir(parents=True)
    resources = json.dumps({"current_host": name, "hosts": HOSTS[::-1]})
    (base / "config" / "resourceconfig.json").write_text(resources, encoding="utf-8")
    shutil.copytree(paths().root / config.source, base / "processing" / "source")
    given = {"SAGEMAKER_BASE_DIR": str(base), "SPARK_MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-m", spark.__name__, *arguments],
        env=os.environ | ENVIRONMENT | given,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_hosts_of_a_job_work_together(
    tmp_path: Path, config: Configuration, windows: dict[str, pl.DataFrame]
) -> None:
    port = free_ports()
    jobs = [host(tmp_path / name, config, name, port) for name in HOSTS]
    seen = ""
    while jobs[1].poll() is None:
        seen += subprocess.check_output(["ps", "-axww", "-o", "command"], text=True)
        time.sleep(1)
    said = [job.communicate(timeout=60)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    for name in HOSTS:
        assert re.search(rf"CoarseGrainedExecutorBackend .*--hostname {name}", seen)
    folder = tmp_path / HOSTS[0] / "processing" / "data" / "processed"
    for name, window in windows.items():
        found = read(folder / name)
        assert found.sort(pl.all()).equals(window.select(found.columns).sort(pl.all()))


def test_all_hosts_fail_with_the_driver(tmp_path: Path, config: Configuration) -> None:
    port, arguments = free_ports(), ["data.table=nothing.parquet"]
    jobs = [host(tmp_path / name, config, name, port, *arguments) for name in HOSTS]
    for job in jobs:
        job.communicate(timeout=60)
        assert job.returncode == 1
    reasons = [
        (tmp_path / name / "output" / "failure").read_text(encoding="utf-8") for name in HOSTS
    ]
    assert "nothing.parquet: no such file" in reasons[0]
    assert reasons[1] == f"the driver on {HOSTS[0]} has failed, see its log: {reasons[0]}"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not wait long for others."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cluster, "PORT", free_ports())
    monkeypatch.setattr(cluster, "PATIENCE", 1.0)


@pytest.mark.usefixtures("alone")
def test_a_host_that_no_other_meets_says_so() -> None:
    with pytest.raises(ConfigError, match=r"localhost: 127.0.0.1 has not answered on port \d+ wit"):
        cluster.follow(*HOSTS)
    with (
        pytest.raises(ConfigError, match=r"1 of 2 hosts have come to 127\.0\.0\.1 within 1 s, exp"),
        cluster.lead(HOSTS),
    ):
        pass


@pytest.mark.usefixtures("alone")
def test_a_host_whose_driver_is_gone_does_not_wait_for_it() -> None:
    with socket.create_server((HOSTS[0], cluster.PORT + 1)) as meeting:
        driver = threading.Thread(target=lambda: meeting.accept()[0].close())
        driver.start()
        with pytest.raises(ConfigError, match="the driver on 127.0.0.1 has gone without a w"):
            cluster.follow(*HOSTS)
        driver.join()
