"""Where things lie, and how a command line run begins and ends."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

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


def mend_locks() -> None:
    """Remove what a killed run leaves of DVC's files, and the next one would stop at.

    That is a `dvc.lock` that was cut off: what has run is in DVC's cache. One with the marks of a
    merge is left to whoever merges. And a list of who reads and writes what that was cut off too,
    or on which nobody is left, also where another process has the number of one.
    """
    root = paths().root
    lock, busy = root / "dvc.lock", root / ".dvc" / "tmp" / "rwlock"
    if lock.exists() and not _whole(lock.read_text(encoding="utf-8")):
        lock.unlink()
        sys.stderr.write("dvc.lock was cut off while it was written: it is made anew\n")
    if busy.exists() and not _held(busy.read_text(encoding="utf-8")):
        busy.unlink()


def _whole(text: str) -> bool:
    """Whether DVC can read it, or it is for people to mend."""
    if "<<<<<<<" in text:
        return True
    try:
        for stage in yaml.safe_load(text)["stages"].values():
            if None in [*stage.values(), *stage.get("params", {}).values()]:
                return False
    except (AttributeError, KeyError, TypeError, yaml.YAMLError):
        return False
    return text.endswith("\n")


def _held(listed: str) -> bool:
    try:
        users = json.loads(listed)
    except json.JSONDecodeError:
        return False
    found = [*users.get("write", {}).values()]
    for readers in users.get("read", {}).values():
        found += readers
    return any(_runs(each["pid"], each["cmd"]) for each in found)


def _runs(pid: int, command: str) -> bool:
    processes = Path("/proc")
    if not (processes / "self").exists():
        return True  # DVC asks the system itself, for the number alone.
    try:
        words = (processes / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    # The first word may be a link, or Python with the name of a module.
    return b" ".join(words).decode(errors="replace").strip().endswith(command.partition(" ")[2])


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
