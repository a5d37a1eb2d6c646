"""A trained model, and the server as a process of its own."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest

from {{ cookiecutter.package_name }} import contract
from {{ cookiecutter.package_name }}.entrypoints import serve
from {{ cookiecutter.package_name }}.entrypoints.configure import Configuration
from {{ cookiecutter.package_name }}.schema import COLUMNS
from {{ cookiecutter.package_name }}.training.export import to_onnx
from {{ cookiecutter.package_name }}.training.train import fit

Started = tuple[subprocess.Popen[bytes], str]


@pytest.fixture(scope="session")
def folder(
    config: Configuration,
    windows: dict[str, pl.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with a trained model."""
    folder = tmp_path_factory.mktemp("models")
    model = fit(windows["train"], config.model, config.seed)
    (folder / "model.onnx").write_bytes(to_onnx(model))
    metadata = {"contract_version": contract.version(COLUMNS), "threshold": 0.25}
    (folder / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def known(records: pl.DataFrame) -> pl.DataFrame:
    """Real records, as known when a prediction is asked for."""
    names = [column.name for column in contract.inputs(COLUMNS)]
    return records.select(names).sample(min(2000, records.height), seed=0)


@pytest.fixture(scope="session")
def bodies(known: pl.DataFrame) -> list[bytes]:
    """A JSON request with one record for each of them."""
    return [msgspec.json.encode({"instances": [row]}) for row in known.to_dicts()]


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
