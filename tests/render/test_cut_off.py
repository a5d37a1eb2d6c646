"""A bake that is stopped at any moment is no hindrance to the next one."""

import os
import shutil
import signal
import subprocess
import time
from itertools import cycle
from pathlib import Path

import pytest

from tests.conftest import cut_off, heed_ctrl_c, moments
from tests.render import gates
from tests.render.conftest import at_a_terminal, command, cookiecutter, surroundings

MARKER = "UNFINISHED-BAKE-AGAIN"
SIGNALS = cycle([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])


def contents(project: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in gates.files(project).items()}


def test_a_bake_stopped_at_any_moment_is_put_right_by_the_next(home: Path) -> None:
    here = home / "work" / "here"
    assert cookiecutter(home, "--no-input", "--output-dir", "whole").returncode == 0
    whole = contents(here / "whole" / "flight-delays")
    project = here / "cut" / "flight-delays"
    bake = ("--no-input", "--output-dir", "cut")
    where = {"cwd": here, "env": surroundings(home)}
    stops = 0
    # It takes some 0.3 s from the folder of the project to the first commit.
    for after, sent in zip(moments(0.4, 9), SIGNALS, strict=False):
        stops += cut_off(command(*bake), after, sent, begun=project.exists, **where)
        left = {path.name for path in project.glob("*")}
        moment = f"{sent.name} after {after:.2f} s left {left or 'nothing'}"
        if MARKER in left or not left:
            done = cookiecutter(home, *bake)
            assert (done.returncode, done.stderr) == (0, ""), moment
        # What is not marked has to be whole.
        assert contents(project) == whole, moment
        status = ["git", "status", "--porcelain"]
        assert subprocess.check_output(status, cwd=project, text=True) == "", moment
        shutil.rmtree(project)
    assert stops, "no bake was stopped before it ended"


def stop_while_it_writes(home: Path, sent: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Send a signal to a bake that has written its first files; return how it has ended."""
    project = home / "work" / "here" / "flight-delays"
    running = subprocess.Popen(
        command("--no-input", *arguments),
        cwd=project.parent,
        env=surroundings(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    while not (project / "README.md").exists():
        assert running.poll() is None, "the bake has ended without README.md"
    os.killpg(running.pid, sent)
    said, _ = running.communicate(timeout=60)
    return running.returncode, said.strip()


@pytest.fixture
def half(home: Path) -> Path:
    """What a bake leaves that is killed while it writes."""
    stop_while_it_writes(home, signal.SIGKILL)
    return home / "work" / "here" / "flight-delays"


def test_half_a_project_says_what_it_is(half: Path) -> None:
    assert (half / "README.md").exists()
    assert (half / MARKER).exists()
    assert not (half / ".git").exists()


def test_the_next_bake_takes_the_place_of_half_a_project(half: Path, home: Path) -> None:
    (half / "stale").touch()
    done = cookiecutter(home, "--no-input")
    assert (done.returncode, done.stderr) == (0, "")
    assert not {"stale", MARKER} & {path.name for path in half.iterdir()}


def test_work_that_was_committed_is_never_taken_for_half_a_project(home: Path) -> None:
    assert cookiecutter(home, "--no-input").returncode == 0
    project = home / "work" / "here" / "flight-delays"
    (project / MARKER).touch()
    (project / "mine").touch()
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for arguments in (["add", "mine"], ["commit", "--quiet", "--message", "feat: mine"]):
        subprocess.run(["git", *author, *arguments], cwd=project, check=True)
    done = cookiecutter(home, "--no-input")
    assert done.stdout == 'Error: "flight-delays" directory already exists\n'
    assert (project / "mine").exists()


def test_ctrl_c_while_it_writes_leaves_nothing_and_one_line(home: Path) -> None:
    assert stop_while_it_writes(home, signal.SIGINT) == (1, "Aborted!")
    assert not any((home / "work" / "here").iterdir())


def test_ctrl_c_at_a_question_leaves_nothing(home: Path) -> None:
    status, shown = at_a_terminal(home, ["Harbour Cranes", "\x03"])
    assert status == 1
    assert shown.split()[-1] == "Aborted!"
    assert "Traceback" not in shown
    assert not any((home / "work" / "here").iterdir())


def test_a_project_that_is_overwritten_is_never_taken_for_half_a_one(home: Path) -> None:
    project = home / "work" / "here" / "flight-delays"
    project.mkdir()
    (project / "mine").touch()
    stop_while_it_writes(home, signal.SIGKILL, "--overwrite-if-exists")
    assert not (project / MARKER).exists()
    done = cookiecutter(home, "--no-input")
    assert done.stdout == 'Error: "flight-delays" directory already exists\n'
    assert (project / "mine").exists()


@pytest.mark.parametrize("folder", [".", "new"])
def test_of_two_bakes_at_once_one_wins_whole_and_the_other_is_refused(
    folder: str, home: Path
) -> None:
    for delay in (0, 0.3, 0.6):
        running = [begun(home, folder)]
        time.sleep(delay)
        running.append(begun(home, folder))
        ends = sorted((each.communicate(timeout=60)[0], each.returncode) for each in running)
        (refusal, refused), (_, won) = ends
        assert (refused, won) == (1, 0), ends
        project = home / "work" / "here" / folder / "flight-delays"
        shown = "flight-delays" if folder == "." else f"{folder}/flight-delays"
        assert refusal == f'Error: "{shown}" directory already exists\n'
        assert not (project / MARKER).exists()
        changes = subprocess.check_output(["git", "status", "--porcelain"], cwd=project, text=True)
        assert changes == ""
        shutil.rmtree(home / "work" / "here")
        (home / "work" / "here").mkdir()


def begun(home: Path, folder: str) -> "subprocess.Popen[str]":
    """Start a bake."""
    return subprocess.Popen(
        command("--no-input", "--output-dir", folder),
        cwd=home / "work" / "here",
        env=surroundings(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("words", ["No space left on device", "write error. Out of diskspace"])
def test_a_disk_that_is_full_at_the_first_commit_leaves_nothing(words: str, home: Path) -> None:
    git = home / "bin" / "git"
    git.parent.mkdir()
    git.write_text(
        f"#!/bin/sh\n[ \"$1\" = -c ] || exit 1\necho 'fatal: sha1 file: {words}' >&2\nexit 128\n"
    )
    git.chmod(0o755)
    done = cookiecutter(home, "--no-input", PATH=f"{git.parent}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert f"{words}. Free some space and bake again\n" in done.stderr
    assert not any((home / "work" / "here").iterdir())
