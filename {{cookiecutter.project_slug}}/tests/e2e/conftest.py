"""The server as a process of its own, what it is asked, and what it has to answer."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.entrypoints import serve
from {{ cookiecutter.package_name }}.inference.predictor import Predictor
from {{ cookiecutter.package_name }}.schema import COLUMNS

Started = tuple[subprocess.Popen[bytes], str]


@pytest.fixture(scope="session")
def known(records: pl.DataFrame) -> pl.DataFrame:
    """Real records, as known when a prediction is asked for."""
    names = [column.name for column in contract.inputs(COLUMNS)]
    return records.select(names).sample(min(2000, records.height), seed=0)


@pytest.fixture(scope="session")
def bodies(known: pl.DataFrame) -> list[bytes]:
    """A JSON request with one record for each of them."""
    return [msgspec.json.encode({"instances": [row]}) for row in known.to_dicts()]


@pytest.fixture(scope="session")
def expected(folder: Path, known: pl.DataFrame) -> list[Any]:
    """The prediction for each of them, whatever else is in its batch: not equal to the last bit."""
    predictor = Predictor(folder)
    predictions = predictor.outputs.predictions(predictor.frame(known).tolist())
    return [pytest.approx(each, rel=1e-6, abs=1e-6) for each in predictions]


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Start servers, wait until each listens, and stop them at the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def started(port: int = 0) -> Started:
        log = tmp_path / f"server-{len(processes)}.log"
        command = [sys.executable, "-m", serve.__name__, "--model", str(folder)]
        command += ["--port", str(port)]
        with log.open("wb") as stream:
            processes.append(subprocess.Popen(command, stderr=stream))
        end = time.monotonic() + 60
        while time.monotonic() < end and processes[-1].poll() is None:
            found = re.search(r"http://\S+", log.read_text(encoding="utf-8"))
            if found:
                return processes[-1], found[0]
            time.sleep(0.02)
        raise AssertionError(f"The server did not start: {log.read_text(encoding='utf-8')}")

    yield started
    for process in processes:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
