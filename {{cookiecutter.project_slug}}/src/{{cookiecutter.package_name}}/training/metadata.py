"""What anyone needs later to know where a model came from."""

import hashlib
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "polars", "narwhals", "numpy")


def digest(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the contents of files, in order of their names."""
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(path.read_bytes())
    return found.hexdigest()


def provenance(root: Path, data: Iterable[Path]) -> dict[str, Any]:
    """Describe code, data and environment of a training.

    Parameters
    ----------
    root : pathlib.Path
        The repository.
    data : iterable of pathlib.Path
        The files that were trained and validated on.

    Returns
    -------
    dict
        `git_commit` (None outside a repository), `git_clean`, `data_sha256`, `lock_sha256` and
        `libraries`.
    """
    lock = root / "poetry.lock"
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {
        "git_commit": commit,
        "git_clean": commit is not None and changes == "",
        "data_sha256": digest(data),
        "lock_sha256": digest([lock]) if lock.is_file() else None,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
