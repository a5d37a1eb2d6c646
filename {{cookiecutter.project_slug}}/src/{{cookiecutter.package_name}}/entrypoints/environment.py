"""Where things lie, and how a command line run begins and ends."""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ProjectError


@dataclass(frozen=True)
class Paths:
    """The folders of one run, all below `root`."""

    root: Path

    @property
    def conf(self) -> Path:
        """The Hydra configuration."""
        return self.root / "conf"

    @property
    def raw(self) -> Path:
        """Joined and checked records, and those set aside."""
        return self.root / "data" / "raw"

    @property
    def processed(self) -> Path:
        """Features and target of each window."""
        return self.root / "data" / "processed"

    @property
    def models(self) -> Path:
        """The exported model and its metadata."""
        return self.root / "models"

    @property
    def reports(self) -> Path:
        """Metrics, plots and the page that shows them."""
        return self.root / "reports"


def paths() -> Paths:
    """Return the folders of the repository that holds this package, or of the working folder."""
    repository = Path(__file__).parents[3]
    return Paths(repository if (repository / "conf").is_dir() else Path.cwd())


def mend_lock() -> None:
    """Remove a `dvc.lock` that was cut off while DVC wrote it: what has run is in DVC's cache.

    One with the marks of a merge is left to whoever merges.
    """
    lock = paths().root / "dvc.lock"
    text = lock.read_text(encoding="utf-8") if lock.exists() else "schema:\n"
    whole = text.startswith("schema:") and text.endswith("\n")
    if not whole and "<<<<<<<" not in text:
        lock.unlink()
        sys.stderr.write("dvc.lock was cut off while it was written: it is made anew\n")


def run(work: Callable[[Paths, Sequence[str]], None]) -> None:
    """Run `work` with the command line's arguments; a user's mistake ends in one line."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for name in ("alembic", "matplotlib", "mlflow", "skl2onnx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        work(paths(), sys.argv[1:])
    except ProjectError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
