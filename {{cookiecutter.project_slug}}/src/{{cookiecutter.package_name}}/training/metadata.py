"""What anyone needs later to know where a model came from."""

import hashlib
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..preprocessing.features import CATEGORICAL, NUMERIC

LIBRARIES = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "polars", "narwhals", "numpy")


def digest(paths: Iterable[Path]) -> str:
    """Hash the contents of files, in order of their names.

    Parameters
    ----------
    paths : iterable of pathlib.Path

    Returns
    -------
    str
        SHA-256, hexadecimal.
    """
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
    # What the pipeline writes itself is no change of the code that ran.
    own = [":!dvc.lock", ":!reports"]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    return {
        "git_commit": commit,
        "git_clean": commit is not None and changes == "",
        "data_sha256": digest(data),
        "lock_sha256": digest([lock]) if lock.is_file() else None,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def reference(frame: pl.DataFrame, bins: int = 10) -> dict[str, Any]:
    """Describe the distribution of each feature, for drift to be measured against.

    Parameters
    ----------
    frame : polars.DataFrame
        The training window.
    bins : int
        Bins of a number, cut at its quantiles.

    Returns
    -------
    dict
        For a number `missing` (share) and, where there is any value, `edges` and the `shares` of
        the bins between them; for a category the share of each level.
    """
    described: dict[str, Any] = {}
    for name in NUMERIC:
        values = frame[name].drop_nulls().to_numpy()
        entry: dict[str, Any] = {"missing": frame[name].null_count() / frame.height}
        if values.size:
            cuts = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
            counts, edges = np.histogram(values, cuts if cuts.size > 1 else 1)
            entry |= {"edges": edges.tolist(), "shares": (counts / values.size).tolist()}
        described[name] = entry
    for name in CATEGORICAL:
        shares = frame[name].value_counts(normalize=True).sort(name)
        described[name] = dict(shares.iter_rows())
    return described


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
