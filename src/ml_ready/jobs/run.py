"""How a job begins and ends: logging, signals, and the reason of a failure for SageMaker."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import runner
from .folders import Paths, paths

Work = Callable[[Paths, Sequence[str]], None]
_QUIET = ("alembic", "matplotlib", "mlflow", "py4j", "skl2onnx")


def run(work: Work, root: Path) -> None:
    """Run `work` with the arguments of the command line.

    A user's mistake ends it in one line. In a job, whatever stops it is written where SageMaker
    looks for the reason.

    Parameters
    ----------
    work : callable
        Takes the folders of the run, and the arguments.
    root : pathlib.Path
        `Project.root`.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    where = paths(root)
    if where.job is None:
        runner.run(lambda: work(where, sys.argv[1:]), root=root)
        return
    tell = where.job.report_failure
    where.job.forget_failure()
    signal.signal(signal.SIGTERM, lambda *_: _terminated(tell))
    runner.run(lambda: work(where, sys.argv[1:]), tell, root)


def console_script(module: str, root: Path, extras: str) -> Callable[[], None]:
    """Make the function of a console script from a module with `main(where, arguments)`.

    Parameters
    ----------
    module : str
        Dotted name. It is imported when the script runs, so that an import that fails is the
        failure of a job too.
    root : pathlib.Path
        `Project.root`.
    extras : str
        Those of ml-ready that it needs, separated by commas: an error names them where a package is
        missing, as in the image of another script.

    Returns
    -------
    callable
    """

    def work(where: Paths, arguments: Sequence[str]) -> None:
        try:
            importlib.import_module(module).main(where, arguments)
        except ModuleNotFoundError:
            runner.require_extras(module.rpartition(".")[2], extras)
            raise

    def script() -> None:
        # As the first process of a container, it would not receive SIGTERM without a handler.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        run(work, root)

    return script


def _terminated(tell: Callable[[str], None]) -> None:
    tell("stopped by SIGTERM; run again, it goes on from its last checkpoint if it has one")
    # An exception could be lost in a callback of a library.
    os._exit(128 + signal.SIGTERM)
