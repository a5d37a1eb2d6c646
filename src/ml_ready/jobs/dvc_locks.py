"""What `poe pipeline` does first: remove what a killed run has left of DVC's files."""

import json
import sys
from pathlib import Path

import yaml


def repair_locks(root: Path) -> None:
    """Remove what a killed run leaves of DVC's files, so that the next run can start.

    It removes a `dvc.lock` that was cut off, since DVC's cache has the results, but keeps one with
    merge conflicts. It also removes `.dvc/tmp/rwlock` if that was cut off, or if no process that it
    lists still runs.

    Parameters
    ----------
    root : pathlib.Path
        The repository.
    """
    lock, busy = root / "dvc.lock", root / ".dvc" / "tmp" / "rwlock"
    if lock.exists() and not _whole(lock.read_text(encoding="utf-8")):
        lock.unlink()
        sys.stderr.write("dvc.lock was cut off while it was written: it is made again\n")
    if busy.exists() and not _held(busy.read_text(encoding="utf-8")):
        busy.unlink()


def _whole(text: str) -> bool:
    """Whether DVC can read it, or it is for people to merge."""
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
    processes = [*users.get("write", {}).values()]
    for readers in users.get("read", {}).values():
        processes += readers
    return any(_runs(each["pid"], each["cmd"]) for each in processes)


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


if __name__ == "__main__":
    repair_locks(Path.cwd())
