"""The server, as a process and in its container, what it is asked, and what it has to answer."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from ml_ready.aws import images as recipe
from ml_ready.errors import ProjectError
from ml_ready.serving.predictor import Predictor

from {{ cookiecutter.package_name }}.entrypoints import serve
from {{ cookiecutter.package_name }}.project import PROJECT

LABEL = "PYTEST_RUN"


class Container:
    """The server in a container, handled as a process is.

    Parameters
    ----------
    command : list of str
        What `docker run` is given.
    log : pathlib.Path
        Gets what the server says.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self.name = uuid.uuid4().hex
        # Where its own address is not reached from here, a proxy of Docker's is.
        self.proxied = sys.platform != "linux" or "rootless" in docker("info")
        with log.open("wb") as stream:
            self._client = subprocess.Popen(
                ["docker", "run", "--rm", "--name", self.name, *command], stderr=stream
            )

    def url(self, said: str) -> str:
        """Return where it is reached from here."""
        if self.proxied:
            return f"http://{docker('port', self.name, '8080').splitlines()[0]}"
        # The proxy would accept connections for a server that listens no longer.
        (inspected,) = json.loads(docker("inspect", self.name))
        (network,) = inspected["NetworkSettings"]["Networks"].values()
        return f"http://{network['IPAddress']}:8080"

    def poll(self) -> int | None:
        """Return the exit status once it has ended."""
        return self._client.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit status."""
        return self._client.wait(timeout)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            docker("kill", "--signal", str(int(number)), self.name)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class Process(subprocess.Popen[bytes]):
    """The server as a process."""

    proxied = False

    def url(self, said: str) -> str:
        """Return where it is reached, which it says itself."""
        return said


Started = tuple[Container | Process, str]


def docker(*arguments: str) -> str:
    """Ask the container engine for something, and return what it printed."""
    return subprocess.check_output(["docker", *arguments], text=True).strip()


@pytest.fixture(scope="session")
def images() -> Callable[[str], str]:
    """Build the image of a target from this repository, once, and return its identity."""
    try:
        recipe.require_docker()
    except ProjectError as error:
        pytest.skip(f"no container engine answers: {error}; then run poe test-e2e")
    os.environ |= recipe.PLATFORM
    # Without the names that `poe image` gives; tests/conftest.py removes them.
    label = f"{LABEL}={os.environ[LABEL]}"
    options = ["--label", label]
    return functools.cache(lambda target: recipe.build(PROJECT.root, target, options, named=False))


@pytest.fixture(scope="session")
def known(records: pl.DataFrame) -> pl.DataFrame:
    """Real records, as known when a prediction is asked for."""
    names = [column.name for column in PROJECT.inputs]
    return records.select(names).sample(min(2000, records.height), seed=0)


@pytest.fixture(scope="session")
def bodies(known: pl.DataFrame) -> list[bytes]:
    """A JSON request with one record for each of them."""
    return [msgspec.json.encode({"instances": [row]}) for row in known.to_dicts()]


@pytest.fixture(scope="session")
def expected(folder: Path, known: pl.DataFrame) -> list[Any]:
    """The prediction for each of them, whatever else is in its batch: not equal to the last bit."""
    predictor = Predictor(PROJECT, folder)
    predictions = predictor.outputs.predictions(predictor.frame(known).tolist())
    return [pytest.approx(each, rel=1e-6, abs=1e-6) for each in predictions]


@pytest.fixture(params=["process", "container"])
def start(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> Iterator[Callable[..., Started]]:
    """Start servers, wait until each listens, and stop them at the end."""
    servers: list[Container | Process] = []

    def launched(log: Path, port: int) -> Container | Process:
        if request.param == "process":
            command = [sys.executable, "-m", serve.__name__, "--model", str(folder)]
            with log.open("wb") as stream:
                return Process([*command, "--port", str(port)], stderr=stream)
        # As SageMaker runs it, and with nothing to write to.
        options = ["--publish", "127.0.0.1::8080", "--read-only"]
        options += ["--volume", f"{folder}:/opt/ml/model:ro"]
        return Container([*options, request.getfixturevalue("images")("serve"), "serve"], log)

    def started(port: int = 0) -> Started:
        log = tmp_path / f"server-{len(servers)}.log"
        servers.append(launched(log, port))
        end = time.monotonic() + 60
        while time.monotonic() < end and servers[-1].poll() is None:
            address = re.search(r"http://\S+", log.read_text(encoding="utf-8"))
            if address:
                return servers[-1], servers[-1].url(address[0])
            time.sleep(0.02)
        raise AssertionError(f"The server did not start: {log.read_text(encoding='utf-8')}")

    yield started
    for server in servers:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
