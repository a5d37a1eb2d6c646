"""How a command ends: a user's mistake in one line, anything else with its traceback."""

import sys
from collections.abc import Callable

from .errors import ProjectError


def run(work: Callable[[], None], tell: Callable[[str], None] = lambda _: None) -> None:
    """Run a command; a `ProjectError` ends it with one line and exit status 1.

    Parameters
    ----------
    work : callable
    tell : callable
        Is given the reason in one text when the command fails, such as to show it to SageMaker.
    """
    try:
        work()
    except ProjectError as error:
        tell(str(error))
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        tell("stopped by SIGINT")
        sys.exit(130)
    except SystemExit as error:
        if error.code:
            tell(f"exit status {error.code}: see the log")
        raise
    except BaseException as error:  # polars raises some that are no Exception
        tell(f"{type(error).__name__}: {error}")
        raise
