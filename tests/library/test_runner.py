"""How a command ends: by an error that passed a file of the project, or by a signal."""

import importlib.util
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_ready.errors import ProjectError
from ml_ready.runner import interruptible, run

FEATURES = """\
def call(work):
    return work()


def entrypoint(work):
    return call(work)
"""


@pytest.fixture
def through(tmp_path: Path) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A function that calls another one from a file of a project."""
    file = tmp_path / "src" / "own" / "features.py"
    file.parent.mkdir(parents=True)
    file.write_text(FEATURES)
    spec = importlib.util.spec_from_file_location("own_features", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda work: lambda: module.entrypoint(work)


def wrong() -> None:
    raise ProjectError("hour=25: expected 0 to 23.", "Change the data")


def broken() -> None:
    raise KeyError("hour")


Through = Callable[[Callable[[], None]], Callable[[], None]]


def test_the_line_names_the_file_of_the_project_that_led_to_it(
    through: Through, tmp_path: Path
) -> None:
    reasons: list[str] = []
    line = "hour=25: expected 0 to 23. Change the data (src/own/features.py:2)"
    with pytest.raises(SystemExit) as caught:
        run(through(wrong), reasons.append, tmp_path)
    assert caught.value.code == f"error: {line}"
    assert reasons == [line]


@pytest.mark.parametrize("within", [True, False], ids=["another project", "no project"])
def test_an_error_that_passed_no_file_of_the_project_names_none(
    through: Through, tmp_path: Path, within: bool
) -> None:
    with pytest.raises(SystemExit, match="Change the data$"):
        run(through(wrong), root=tmp_path / "other" if within else None)


def test_a_traceback_begins_at_the_first_file_of_the_project(
    through: Through, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons: list[str] = []
    with pytest.raises(SystemExit, match="1"):
        run(through(broken), reasons.append, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == f'  File "{tmp_path}/src/own/features.py", line 6, in entrypoint'
    assert lines[-1] == "KeyError: 'hour'"
    assert reasons == ["KeyError: 'hour'"]


def test_without_a_file_of_the_project_an_exception_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="hour"):
        run(broken, root=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_takes_it_for_done(number: int) -> None:
    tidied = []

    def taken_for_done() -> None:
        with interruptible():
            try:
                signal.raise_signal(number)
            except KeyboardInterrupt:
                signal.raise_signal(number)
                tidied.append(True)

    with pytest.raises(KeyboardInterrupt):
        taken_for_done()
    assert tidied


def test_a_signal_ends_what_makes_an_error_of_it() -> None:
    def turned_into_an_error() -> None:
        with interruptible():
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as error:
                raise ProjectError("the container has ended") from error

    with pytest.raises(KeyboardInterrupt):
        turned_into_an_error()
    with pytest.raises(ProjectError, match="so it is"), interruptible():
        raise ProjectError("so it is")
