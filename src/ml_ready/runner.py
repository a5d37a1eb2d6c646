"""How a command ends: a user's mistake in one line, anything else with its traceback."""

import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from .errors import ConfigError, ProjectError

_LIBRARY = Path(__file__).resolve().parent


def run(
    work: Callable[[], None],
    tell: Callable[[str], None] = lambda _: None,
    root: Path | None = None,
) -> None:
    """Run a command; a `ProjectError` ends it with one line and exit status 1.

    Parameters
    ----------
    work : callable
    tell : callable
        Is given the reason in one text when the command fails, such as to show it to SageMaker.
    root : pathlib.Path, optional
        `Project.root`. The line then names the file and the line of the project that led to the
        error, and a traceback begins at the first file of the project.
    """
    try:
        work()
    except ProjectError as error:
        line = str(error)
        for frame, file in _in_project(error, root)[-1:]:
            line += f" ({file.as_posix()}:{frame.tb_lineno})"
        tell(line)
        sys.exit(f"error: {line}")
    except KeyboardInterrupt:
        tell("stopped by SIGINT")
        sys.exit(130)
    except SystemExit as error:
        if error.code:
            tell(f"exit status {error.code}: see the log")
        raise
    except BaseException as error:  # polars raises some that are no Exception
        tell(f"{type(error).__name__}: {error}")
        for frame, _ in _in_project(error, root)[:1]:
            traceback.print_exception(type(error), error, frame)
            sys.exit(1)
        raise


def require_extras(command: str, extras: str) -> None:
    """Stop where a package of an extra is not installed: modules import some only late.

    Parameters
    ----------
    command : str
        What needs the extras.
    extras : str
        Names, separated by commas; empty for none.

    Raises
    ------
    ConfigError
        Naming the first missing package and the extras.
    """
    for extra in extras.split(","):
        # What only some systems need has a longer condition.
        pattern = re.compile(rf'([\w.-]+)[^;]*; extra == "{extra}"')
        for requirement in metadata.requires("ml-ready") or ():
            if match := pattern.fullmatch(requirement):
                try:
                    metadata.version(match[1])
                except metadata.PackageNotFoundError as error:
                    raise ConfigError(
                        f"{command} needs {match[1]}:",
                        f"install ml-ready[{extras}], in a project by `python3 bootstrap.py`",
                    ) from error


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Turn the first SIGHUP, SIGINT or SIGTERM into KeyboardInterrupt; ignore the later ones.

    The block ends with KeyboardInterrupt even if its code catches that, or raises another error.

    Yields
    ------
    list of int
        The signals that have come.
    """
    seen: list[int] = []

    def interrupt(number: int, _: object) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with handled(interrupt):
        try:
            yield seen
        finally:
            if seen:
                raise KeyboardInterrupt


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    """Have the signals that end a program handled in another way, until the block ends.

    Parameters
    ----------
    handler : callable or signal.Handlers
        For SIGHUP, SIGINT and SIGTERM, as `signal.signal` takes it.

    Yields
    ------
    None
        At the end, the signals are handled as before.
    """
    names = ("SIGHUP", "SIGINT", "SIGTERM")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _in_project(error: BaseException, root: Path | None) -> list[tuple[TracebackType, Path]]:
    """Return the frames that an error passed in the project and their files, outermost first."""
    passed = []
    frame = error.__traceback__
    while root and frame:
        file = Path(frame.tb_frame.f_code.co_filename).resolve()
        if file.is_relative_to(root.resolve() / "src") and not file.is_relative_to(_LIBRARY):
            passed.append((frame, file.relative_to(root.resolve())))
        frame = frame.tb_next
    return passed
