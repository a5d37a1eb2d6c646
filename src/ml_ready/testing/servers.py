"""Fixtures of end-to-end tests: images, servers as process and as container, and requests."""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from ..aws import images as recipe
from ..errors import ProjectError
from ..project import Project
from .subject import Subject

_RUN = "PYTEST_RUN"
_SECONDS = 60  # until a server listens


def pytest_configure() -> None:
    """Name this run, for all its workers: they inherit the environment."""
    os.environ.setdefault(_RUN, uuid.uuid4().hex)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the images that tests have built, once all workers are done with them."""
    if hasattr(session.config, "workerinput") or not shutil.which("docker"):
        return
    label = f"label={_RUN}={os.environ[_RUN]}"
    query = ["docker", "images", "--all", "--quiet", "--filter", label]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=10)
        if images := done.stdout.split():
            subprocess.run(["docker", "rmi", "--force", *images], capture_output=True, check=False)


class _Process(subprocess.Popen[bytes]):
    """The server as a process."""

    # Whether something else answers for a server that has ended.
    proxied = False

    def url(self, printed: str) -> str:
        """Return the address that reaches it: the one it has printed."""
        return printed


class _Container:
    """The server in a container, with the methods of a process.

    Parameters
    ----------
    command : sequence of str
        Arguments of `docker run`.
    log : pathlib.Path
        Gets what the server prints.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.name = uuid.uuid4().hex
        # Where a container has no address that this machine reaches, Docker's proxy answers.
        self.proxied = sys.platform != "linux" or "rootless" in _docker("info")
        with log.open("wb") as stream:
            self._client = subprocess.Popen(
                ["docker", "run", "--rm", "--name", self.name, *command], stderr=stream
            )

    def url(self, printed: str) -> str:
        """Return the address that reaches it from here."""
        if self.proxied:
            return f"http://{_docker('port', self.name, '8080').splitlines()[0]}"
        # The proxy would accept connections for a server that has stopped listening.
        (inspected,) = json.loads(_docker("inspect", self.name))
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
            _docker("kill", "--signal", str(int(number)), self.name)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


_Server = _Container | _Process


@pytest.fixture(scope="session")
def images(project: Project) -> Callable[[str], str]:
    """A function that builds the image of a target, once, and returns its identity."""
    try:
        recipe.require_docker()
    except ProjectError as error:
        pytest.skip(f"no container engine answers: {error}; then run poe test-e2e")
    os.environ |= recipe.PLATFORM
    # Without the names that `poe image` gives; they are removed after the run.
    options = ["--label", f"{_RUN}={os.environ[_RUN]}"]
    return functools.cache(lambda target: recipe.build(project.root, target, options, named=False))


@pytest.fixture(scope="session")
def known(subject: Subject) -> pl.DataFrame:
    """Real records, as known when a prediction is asked for."""
    return subject.known


@pytest.fixture(scope="session")
def bodies(known: pl.DataFrame) -> list[bytes]:
    """A JSON request with one record for each of `known`."""
    return [msgspec.json.encode({"instances": [row]}) for row in known.to_dicts()]


@pytest.fixture(scope="session")
def expected(subject: Subject, known: pl.DataFrame) -> list[Any]:
    """The prediction for each of `known`, but for the last bits, which depend on the batch."""
    predictor = subject.predictor
    predictions = predictor.outputs.predictions(predictor.frame(known).tolist())
    return [pytest.approx(each, rel=1e-6, abs=1e-6) for each in predictions]


@pytest.fixture(scope="session")
def serve_command() -> Sequence[str]:
    """The command that serves a model; the tests add its options."""
    command = shutil.which("serve", path=str(Path(sys.executable).parent))
    assert command, "there is no command `serve` in this environment: python3 bootstrap.py"
    return [command]


@pytest.fixture(params=["process", "container"])
def start(
    request: pytest.FixtureRequest,
    serve_command: Sequence[str],
    model_folder: Path,
    tmp_path: Path,
) -> Iterator[Callable[..., tuple[_Server, str]]]:
    """A function that starts a server, waits until it listens, and returns it with its address.

    It takes the port, by default a free one. All servers are stopped at the end of the test.
    """
    servers: list[_Server] = []

    def launch(log: Path, port: int) -> _Server:
        if request.param == "process":
            options = ["--model", str(model_folder), "--port", str(port)]
            with log.open("wb") as stream:
                return _Process([*serve_command, *options], stderr=stream)
        # As SageMaker runs it, on a file system that it cannot write to.
        options = ["--publish", "127.0.0.1::8080", "--read-only"]
        options += ["--volume", f"{model_folder}:/opt/ml/model:ro"]
        return _Container([*options, request.getfixturevalue("images")("serve"), "serve"], log)

    def started(port: int = 0) -> tuple[_Server, str]:
        log = tmp_path / f"server-{len(servers)}.log"
        servers.append(launch(log, port))
        end = time.monotonic() + _SECONDS
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


def _docker(*arguments: str) -> str:
    return subprocess.check_output(["docker", *arguments], text=True).strip()
