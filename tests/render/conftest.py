"""How the tests run the command `cookiecutter`, as a user does."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests.conftest import as_cloned


def command(*arguments: str) -> list[str]:
    """Return the command line that bakes."""
    return [sys.executable, "-m", "cookiecutter", str(as_cloned()), *arguments]


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment of somebody at home in a folder of its own."""
    folders = {"HOME": str(home), "USERPROFILE": str(home), "TMPDIR": str(home)}
    return {**os.environ, **folders, "PWD": str(home / "work" / "here")}


def cookiecutter(
    home: Path,
    *arguments: str,
    typed: str | None = None,
    before: Callable[[], None] | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter in `work/here` of a home."""
    return subprocess.run(
        command(*arguments),
        cwd=home / "work" / "here",
        env=surroundings(home) | environment,
        input=typed,
        capture_output=True,
        text=True,
        preexec_fn=before,
    )


def at_a_terminal(home: Path, typed: Iterable[str]) -> tuple[int, str]:
    """Run cookiecutter at a real terminal, and type a line at each question when it is asked.

    Returns
    -------
    tuple of int and str
        The exit status, and all that the terminal has shown.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command(),
        cwd=home / "work" / "here",
        env=surroundings(home) | {"COLUMNS": "200", "TERM": "dumb"},
        preexec_fn=lambda: os.login_tty(theirs),
    )
    os.close(theirs)
    shown = b""
    for number, line in enumerate(typed, start=1):
        while f"[{number}/".encode() not in shown and (more := read(ours)):
            shown += more
        os.write(ours, f"{line}\r".encode())
    while more := read(ours):
        shown += more
    os.close(ours)
    return process.wait(60), shown.decode()


def read(terminal: int) -> bytes:
    """Read what a terminal shows next: nothing once its program has ended."""
    assert select.select([terminal], [], [], 60)[0], "the terminal shows nothing new for 60 s"
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder, with a folder to work in."""
    (tmp_path / "work" / "here").mkdir(parents=True)
    return tmp_path
