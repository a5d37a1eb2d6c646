"""How the tests bake a project, and what a skipped test means in CI."""

import functools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from cookiecutter.main import cookiecutter

from tests import proofs
from tests.project import engine

TEMPLATE = Path(__file__).parents[1]
CLONES = tempfile.TemporaryDirectory()
NAMED = pytest.StashKey[bool]()
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@functools.cache
def as_cloned() -> Path:
    """Copy what a clone of the template would hold: no caches, and nothing that git ignores."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TEMPLATE
    )
    clone = Path(CLONES.name, TEMPLATE.name)
    for name in filter(None, listed.decode().split("\0")):
        if (TEMPLATE / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TEMPLATE / name, clone / name)
    return clone


class Bake(Protocol):
    """Bakes a project into a new folder, or the one given; answers not given are the defaults."""

    def __call__(self, into: Path | None = None, /, **answers: Any) -> Path:
        """Return the folder of the project."""


def bake_into(folder: Path, /, **answers: Any) -> Path:
    """Bake in this process, without a trace of it in the user's home."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.parent / "cookiecutter.yaml"
    config.write_text(f"replay_dir: {folder.parent}\ncookiecutters_dir: {folder.parent}\n")
    return Path(
        cookiecutter(
            str(as_cloned()),
            no_input=True,
            extra_context=answers,
            output_dir=str(folder),
            config_file=str(config),
        )
    )


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """A function that bakes."""
    count = iter(range(1000))

    def call(into: Path | None = None, /, **answers: Any) -> Path:
        return bake_into(into or tmp_path / f"bake-{next(count)}", **answers)

    return call


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project baked with the defaults: to look at, not to change."""
    return bake_into(tmp_path_factory.mktemp("default") / "bake")


def moments(seconds: float, count: int) -> list[float]:
    """Choose moments of a run, one at random in each `count`-th of it; a failure shows SEED."""
    seed = os.environ.get("SEED", str(random.randrange(10**6)))  # noqa: S311
    print(f"to repeat these moments: SEED={seed}")  # noqa: T201
    chance = random.Random(seed)  # noqa: S311
    return [seconds * (part + chance.random()) / count for part in range(count)]


def without_root_power() -> None:
    """Make root obey the permissions of files, as others must."""
    if os.geteuid() == 0:
        import ctypes

        drop_from_bounding_set, override_permissions = 24, 1
        ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions)


def heed_ctrl_c() -> None:
    """Undo what a shell does to a command in the background, which is to let it ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def cut_off(
    command: list[str],
    after: float,
    sent: signal.Signals,
    begun: Callable[[], object] = lambda: True,
    **settings: Any,
) -> bool:
    """Send a signal to a command and all that it starts, some time after something has begun.

    Returns
    -------
    bool
        Whether it was still running.
    """
    running = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
        **settings,
    )
    while running.poll() is None and not begun():
        time.sleep(0.005)
    try:
        running.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, sent)
        running.wait(300)
        return True
    return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test where CI is set: a check that did not run is not green."""
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a skipped file where CI is set."""
    return _no_skip((yield))


def pytest_configure(config: pytest.Config) -> None:
    """Name this run, unless it is a worker of another one or a test of it has started this one."""
    config.stash[NAMED] = engine.RUN not in os.environ
    os.environ.setdefault(engine.RUN, uuid.uuid4().hex)
    # Workers inherit the answer: they do not see whether somebody chose tests.
    if not hasattr(config, "workerinput"):
        chosen = config.args_source is pytest.Config.ArgsSource.ARGS
        os.environ[proofs.ASKED] = "yes" if chosen else "no"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave proofs out of a run of all tests, and begin with the file that takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/project/test_readme.py"))
    if os.environ[proofs.ASKED] == "no":
        left = [
            item
            for item in items
            if any(proof.covers(item.nodeid) for proof in proofs.PROOFS.values())
        ]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the image that others were built on, once all workers are done."""
    if session.config.stash[NAMED]:
        engine.remove_base()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line how many tests were skipped for a reason."""
    if os.environ[proofs.ASKED] == "no":
        names = ", ".join(proofs.PROOFS)
        terminalreporter.write_line(f"proofs, which `make proofs` runs: {names} ({proofs.PAGE})")
    reports = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in reports).items():
        terminalreporter.write_line(f"{count} {reason[0].lower()}{reason[1:]}")


def _no_skip(report: Report) -> Report:
    if os.environ.get("CI") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipped, which CI does not allow: {report.longrepr}"
    return report
