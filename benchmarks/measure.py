"""Running commands and servers so that they can be timed, and ended whatever happens."""

import contextlib
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
SLUG, PACKAGE = "flight-delays", "flight_delays"
PROGRAMS = Path(__file__).parent / "programs"
SECONDS_LIMIT = 900.0

Command = Sequence[str | Path]
Contender = Callable[[], dict[str, float]]


class MeasureError(Exception):
    """What could not be measured and why, in one line."""


@dataclass(frozen=True)
class Quantity:
    """One line of the table.

    Parameters
    ----------
    name : str
        What is measured; the contenders give their figures under this name.
    unit : str
    target : float, optional
        What ml-ready has to reach.
    more_is_better : bool
    """

    name: str
    unit: str
    target: float | None = None
    more_is_better: bool = False


@dataclass
class Bench:
    """What the parts of one run share.

    Parameters
    ----------
    folder : pathlib.Path
        Temporary; everything made for the run lies in it.
    """

    folder: Path
    versions: dict[str, str] = field(default_factory=dict)
    projects: list[Path] = field(default_factory=list)

    def new_folder(self, name: str) -> Path:
        """Return a new, empty folder."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def project(self) -> Path:
        """Return a default project that has been through bake, installation and pipeline."""
        if not self.projects:
            folder = self.folder / "project"
            folder.mkdir(exist_ok=True)
            self.golden_path(folder)
        return self.projects[-1]

    def golden_path(self, folder: Path, **variables: str) -> dict[str, float]:
        """Do what `make demo` does, from bake to prediction; return the seconds of each step."""
        marks = [("start", time.perf_counter())]
        printed = ""
        command: Command = [sys.executable, TEMPLATE / "scripts" / "demo.py", folder]
        with running(command, folder, subprocess.PIPE, **variables) as process:
            for raw in process.stdout or ():
                printed += raw.decode(errors="replace")
                if raw.startswith(b"== "):
                    marks.append((raw.decode()[3:].strip(), time.perf_counter()))
            if code := process.wait():
                raise MeasureError(failure(command, code, printed))
        self.projects.append(folder / SLUG)
        steps = {title: end - start for (title, start), (_, end) in itertools.pairwise(marks)}
        return steps | {"total": marks[-1][1] - marks[0][1]}

    def environment(self, name: str, *packages: str) -> Path:
        """Return the `bin` folder of an environment with a peer, made on first use."""
        folder = self.folder / "environments" / name
        if not (folder / "complete").exists():
            python = folder / "bin" / "python"
            timed([sys.executable, "-m", "venv", "--clear", folder], self.folder)
            timed([python, "-m", "pip", "install", "--quiet", *packages], self.folder)
            (folder / "complete").touch()
        if name not in self.versions:
            asked = f"import importlib.metadata as m; print(m.version({packages[0]!r}))"
            done = subprocess.run(
                [folder / "bin" / "python", "-c", asked], check=True, capture_output=True, text=True
            )
            self.versions[name] = done.stdout.strip()
        return folder / "bin"


def in_turn(
    contenders: dict[str, Contender], rounds: int
) -> dict[str, dict[str, list[float]] | str]:
    """Measure the contenders one after the other, again and again.

    Returns
    -------
    dict of str to figures
        Per contender, figures under the name of each quantity; or why there are none.
    """
    results: dict[str, dict[str, list[float]] | str] = {name: {} for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            figures = results[name]
            if isinstance(figures, str):
                continue
            try:
                for quantity, figure in measure().items():
                    figures.setdefault(quantity, []).append(figure)
            except Exception as error:  # whatever it was, the others are measured
                results[name] = " ".join(str(error).split())
    return results


@contextlib.contextmanager
def running(
    command: Command, folder: Path, output: int | None = None, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a process group of its own, which ends with the block or at the limit."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    # `wait` with a limit looks every 50 ms only: too coarse for what takes half a second.
    limit = threading.Timer(SECONDS_LIMIT, os.killpg, (process.pid, signal.SIGKILL))
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def timed(command: Command, folder: Path, **variables: str) -> float:
    """Return the seconds a command takes; one that fails is not measured."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        with running(command, folder, output.fileno(), **variables) as process:
            code = process.wait()
            seconds = time.perf_counter() - started
        if code:
            output.seek(0)
            printed = output.read().decode(errors="replace")
            raise MeasureError(failure(command, code, printed))
    return seconds


def failure(command: Command, code: int, output: str) -> str:
    """Say in a line that a command failed, with the last thing that it printed."""
    name = Path(command[0]).name
    if code == -signal.SIGKILL:
        return f"`{name}` was killed: out of memory, or it ran for more than {SECONDS_LIMIT:.0f} s"
    last = (output.strip().splitlines() or ["nothing"])[-1]
    return f"`{shlex.join([name, *map(str, command[1:])])}` ended with {code}: {last}"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
