"""Where things lie, in the repository and in a SageMaker job, and how a run begins and ends."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ProjectError
from . import sagemaker


@dataclass(frozen=True)
class Paths:
    """The folders of one run.

    Parameters
    ----------
    root : pathlib.Path
        The repository, or what an image holds of it.
    job : sagemaker.Job, optional
        The job that gives the data and takes the results.
    """

    root: Path
    job: sagemaker.Job | None = None

    @property
    def conf(self) -> Path:
        """The Hydra configuration."""
        return self.root / "conf"

    @property
    def work(self) -> Path:
        """Where data are read and results are written."""
        return self.job.work if self.job else self.root

    @property
    def host(self) -> tuple[int, int]:
        """Which of the machines that share the work this is, from 0, and how many there are."""
        return self.job.host() if self.job else (0, 1)

    @property
    def raw(self) -> Path:
        """Joined and checked records, and those set aside; of each machine its own."""
        position, hosts = self.host
        folder = self.work / "data" / "raw"
        return folder if hosts == 1 else folder / f"part-{position}"

    @property
    def models(self) -> Path:
        """The exported model and its metadata."""
        return self.job.model if self.job and self.job.training else self.work / "models"

    @property
    def reports(self) -> Path:
        """Metrics, plots and the page that shows them."""
        return self.work / "reports"

    def source(self, name: str) -> Path:
        """Return the folder of the source tables, which the configuration names."""
        return self.work / "source" if self.job else self.root / name

    def window(self, name: str) -> Path:
        """Return the folder with features and target of `train`, `validation` or `test`."""
        if self.job and self.job.training:
            return self.job.channel(name)
        return self.work / "data" / "processed" / name

    def remedy(self, name: str) -> str:
        """Say what to do where a window is missing."""
        return f"Give the job an input `{name}`." if self.job else "Make it first: poe pipeline"


def paths() -> Paths:
    """Return the folders of the repository that holds this package, or of the working folder."""
    repository = Path(__file__).parents[3]
    root = repository if (repository / "conf").is_dir() else Path.cwd()
    return Paths(root, sagemaker.current())


Work = Callable[[Paths, Sequence[str]], None]


def run(work: Work) -> None:
    """Run `work` with the command line's arguments; a user's mistake ends in one line.

    In a job, whatever stops it is written where SageMaker looks for the reason.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for name in ("alembic", "matplotlib", "mlflow", "py4j", "skl2onnx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    where = paths()
    tell: Callable[[str], None] = where.job.failed if where.job else lambda _: None
    if where.job:
        where.job.forget_failure()
        signal.signal(signal.SIGTERM, lambda *_: _terminated(tell))
    try:
        work(where, sys.argv[1:])
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


def _terminated(tell: Callable[[str], None]) -> None:
    tell("stopped by SIGTERM; run again, it goes on from its last checkpoint if it has one")
    # An exception could be lost in a callback of a library.
    os._exit(128 + signal.SIGTERM)


def _named(name: str) -> None:
    # What fails while the module is imported is a failure of the job as well.
    def work(where: Paths, arguments: Sequence[str]) -> None:
        importlib.import_module(f".{name}", __package__).main(where, arguments)

    run(work)


def process() -> None:
    """Run the console script `process`."""
    _named("process")


def process_spark() -> None:
    """Run the console script `process-spark`."""
    _named("spark")


def train() -> None:
    """Run the console script `train`."""
    _named("train")


def evaluate() -> None:
    """Run the console script `evaluate`."""
    _named("evaluate")


def serve() -> None:
    """Run the console script `serve`."""
    # As the first process of a container, it would not hear the signal without this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _named("serve")
