"""Spark: on a real cluster, the same windows and the same refusals as from polars."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import narwhals as nw
import polars as pl
import pytest
import synthetic
from ml_ready.artifact import WINDOWS
from ml_ready.errors import ConfigError, ContractError
from ml_ready.jobs import cluster, process, spark
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.project import Project
from ml_ready.tables import files, read

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyspark") is None,
    reason="Spark is missing: these tests run where the extra `spark` of ml-ready is installed",
)
HOSTS = ["127.0.0.1", "localhost"]
ENVIRONMENT = {
    "JAVA_HOME": "",
    "PYSPARK_PYTHON": "",
    "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    "SPARK_LOCAL_IP": HOSTS[0],
    "SPARK_WORKER_CORES": "1",
    "TZ": "America/New_York",
    # Code that runs once is not worth a second compilation.
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1",
}
# At an hour at which the zone of the clock shows.
HOUR = "data.split.train_until='2024-08-01T13:00:00'"


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
            cluster.session(f"spark://{HOSTS[0]}:{cluster.PORT}", HOSTS[0]) as driver,
        ):
            yield driver
    time.tzset()


Change = Callable[[pl.DataFrame], pl.DataFrame]


def repository(
    root: Path, suffix: str = ".folder", by: Change = pl.DataFrame.clone, task: str = "binary"
) -> tuple[Project, Paths, list[str]]:
    """Make a project whose tables are CSV files or folders of parquet files; what names them.

    The first table is changed.
    """
    project = synthetic.make(root / "project", task)
    where = Paths(project.root)
    for name in ("parcels", "staff"):
        rows = read(where.root / "data" / "sample" / f"{name}.parquet")
        rows = by(rows) if name == "parcels" else rows
        path = (where.root / "source" / name).with_suffix(suffix)
        if suffix == ".csv":
            path.parent.mkdir(exist_ok=True)
            rows.write_csv(path, null_value='""')
            continue
        for part in range(3):
            (path / f"part={part}").mkdir(parents=True)
            rows.gather_every(3, part).write_parquet(path / f"part={part}" / "rows [of].parquet")
    overrides = [
        "source=source",
        f"data.table=parcels{suffix}",
        f"data.joins=[{{table: staff{suffix}, keys: [depot, day]}}]",
    ]
    return project, where, overrides


def table(where: Paths) -> Path:
    """Return where the first table is."""
    return where.root / "source" / "parcels.folder"


def with_spark(session: Any, project: Project, where: Paths, overrides: list[str]) -> None:
    """Do what `process-spark` does, in this session."""
    config = configuration(project, where, overrides)
    with spark.in_a_line():
        spark.process(project, session, where, where.source(config.source), config.data)


def windows(where: Paths) -> dict[str, pl.DataFrame]:
    """Read the windows, in an order of their own."""
    return {name: read(where.window(name)).sort(pl.all()) for name in WINDOWS}


def broken(rows: pl.DataFrame) -> pl.DataFrame:
    """Break a limit in six rows, and in six more each text, in a way that CSV has to quote."""
    odd = {"stops": pl.lit(51, pl.Int32)}
    odd |= {name: pl.lit('a "b"\nc, d') for name, kind in rows.schema.items() if kind == pl.String}
    row = pl.int_range(pl.len())
    return rows.with_columns(
        pl.when(row.is_between(6 * k, 6 * k + 5)).then(value).otherwise(name).alias(name)
        for k, (name, value) in enumerate(odd.items())
    )


@pytest.mark.parametrize(
    ("suffix", "task"), [(".folder", "binary"), (".csv", "binary"), (".folder", "mean")]
)
def test_every_column_of_every_window_and_every_broken_row_is_as_from_polars(
    session: Any, tmp_path: Path, suffix: str, task: str
) -> None:
    project, where, overrides = repository(tmp_path, suffix, broken, task)
    overrides += ["data.tolerance=0.1", HOUR]
    process.main(project, where, overrides)
    expected = windows(where)
    rules = (where.raw / "contract.json").read_text(encoding="utf-8")
    set_aside = read(where.raw / "quarantine.parquet").drop("row").sort(pl.all())
    assert set_aside.height >= 6

    with_spark(session, project, where, overrides)
    assert session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() == 3
    for name, window in windows(where).items():
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
    read(second).rename({"stops": "other"}).write_parquet(second)


BREAKS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no such file": (shutil.rmtree, []),
    "not a readable parquet file": (damaged, []),
    "has the columns": (of_other_columns, []),
    "Columns missing": (change(lambda rows: rows.drop("stops")), []),
    "has type String": (change(lambda rows: rows.cast({"stops": pl.String})), []),
    "The batch is empty": (change(pl.DataFrame.clear), []),
    "break the contract": (change(broken), ["data.tolerance=0"]),
    "the train window is empty": (lambda path: None, ["data.split.train_until=1800-01-01"]),
}


@pytest.mark.parametrize("reason", BREAKS)
def test_bad_tables_are_refused_in_the_words_of_polars(
    session: Any, tmp_path: Path, reason: str
) -> None:
    project, where, overrides = repository(tmp_path)
    breaks, further = BREAKS[reason]
    breaks(table(where))
    refused(session, project, where, [*overrides, *further], reason)


def refused(
    session: Any, project: Project, where: Paths, overrides: list[str], reason: str
) -> None:
    """Have polars and Spark refuse in the same line."""
    errors = []
    for work in (process.main, partial(with_spark, session)):
        with pytest.raises(ContractError, match=reason) as caught:
            work(project, where, overrides)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]
    assert "\n" not in errors[0]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("worker: ContractError: stops is 51\n  at a.java", "stops is 51"),
        (
            "task: [FAILED_READ_FILE.NO_HINT] a.parquet ends\n  at a.java",
            r"Spark cannot read the tables of the source: .*\.parquet ends\. .*",
        ),
    ],
)
def test_what_stops_spark_within_the_data_is_one_line(error: str, line: str) -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(ContractError, match=f"^{line}$"), spark.in_a_line():
        raise PySparkException(error)


def test_what_is_wrong_with_spark_itself_keeps_its_traceback() -> None:
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match="out of memory"), spark.in_a_line():
        raise PySparkException("out of memory")


def test_a_file_that_spark_would_pass_over_is_named(session: Any, tmp_path: Path) -> None:
    project, where, overrides = repository(tmp_path)
    path = table(where)
    files(path)[1].rename(path / "_rows.parquet")
    with pytest.raises(ContractError, match=r"_rows\.parquet: Spark skips files whose name starts"):
        with_spark(session, project, where, overrides)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1, "The train window holds only {target}=1 in "),
        (float("nan"), "The train window has no {target} in "),
        ("late", r"target\(\) gives {target} the type String, expected a number"),
    ],
)
def test_outcomes_that_cannot_be_learnt_are_refused_as_by_polars(
    session: Any, tmp_path: Path, value: Any, line: str
) -> None:
    project, where, overrides = repository(tmp_path)

    def constant(records: Any) -> Any:
        frame = nw.from_native(project.add_target(records))
        return frame.with_columns(nw.lit(value).alias(project.target)).to_native()

    own = replace(project, add_target=constant)
    refused(session, own, where, overrides, line.format(target=project.target))


def test_a_cluster_is_given_by_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, where, overrides = repository(tmp_path)
    masters: list[str] = []

    def session(master: str) -> Any:
        masters.append(master)
        return nullcontext()

    monkeypatch.setattr(cluster, "session", session)
    monkeypatch.setattr(spark, "process", lambda *_: None)
    spark.main(project, where, ["--master", "spark://host:7077", *overrides])
    assert masters == ["spark://host:7077"]


HOST = """\
import sys
from pathlib import Path
import synthetic
from ml_ready.jobs import run, spark

project = synthetic.make(Path(sys.argv.pop(1)))
run.run(lambda where, arguments: spark.main(project, where, arguments), project.root)
"""


def host(base: Path, name: str, port: int, *arguments: str) -> subprocess.Popen[str]:
    """Start one of two hosts of a processing job."""
    (base / "config").mkdir(parents=True)
    resources = json.dumps({"current_host": name, "hosts": HOSTS[::-1]})
    (base / "config" / "resourceconfig.json").write_text(resources, encoding="utf-8")
    project = synthetic.make(base / "sample")
    shutil.copytree(project.root / "data" / "sample", base / "processing" / "source")
    job = {"SAGEMAKER_BASE_DIR": str(base), "SPARK_MASTER_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, "-c", HOST, str(base / "project"), *arguments],
        env=os.environ | ENVIRONMENT | job,
        stderr=subprocess.PIPE,
        text=True,
    )


# Hosts that work together: tests/project/test_spark_hosts.py.
def test_all_hosts_fail_with_the_driver(tmp_path: Path) -> None:
    port, arguments = free_ports(), ["data.table=nothing.parquet"]
    jobs = [host(tmp_path / name, name, port, *arguments) for name in HOSTS]
    for job in jobs:
        job.communicate(timeout=180)
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
        pytest.raises(ConfigError, match=r"1 of 2 hosts reached 127\.0\.0\.1 within 1 s, exp"),
        cluster.lead(HOSTS),
    ):
        pass


@pytest.mark.usefixtures("alone")
def test_a_host_whose_driver_is_gone_does_not_wait_for_it() -> None:
    with socket.create_server((HOSTS[0], cluster.PORT + 1)) as meeting:
        driver = threading.Thread(target=lambda: meeting.accept()[0].close())
        driver.start()
        with pytest.raises(ConfigError, match=r"connection to the driver on 127.0.0.1 was lost"):
            cluster.follow(*HOSTS)
        driver.join()
