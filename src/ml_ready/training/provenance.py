"""Where a model comes from: code, data, environment, and the distribution of its features."""

import hashlib
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from ..project import Project


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
    hashed = hashlib.sha256()
    for path in sorted(paths):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()


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
        `git_commit` (None outside a repository and its images), `git_clean`, `data_sha256`,
        `lock_sha256` and `libraries`, the version of each dependency that `pyproject.toml` names.
    """
    lock = root / "poetry.lock"
    commit = _git(root, "rev-parse", "HEAD")
    # What the pipeline writes itself is no change of the code that ran.
    own = [":!dvc.lock", ":!reports"]
    changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    new = _git(root, "ls-files", "--others", "--exclude-standard", "--", "src", "conf")
    clean = commit is not None and changes == new == ""
    if commit is None and (image := os.environ.get("GIT_COMMIT")):
        # An image says what it was built from, with `-dirty` where no commit holds all of it.
        commit, _, dirty = image.partition("-")
        clean = not dirty
    return {
        "git_commit": commit,
        "git_clean": clean,
        "data_sha256": digest(data),
        "lock_sha256": digest([lock]) if lock.is_file() else None,
        "libraries": libraries(root / "pyproject.toml"),
    }


def reference(project: "Project", frame: pl.DataFrame, bins: int = 10) -> dict[str, Any]:
    """Describe the distribution of each feature, for drift to be measured against.

    Parameters
    ----------
    project : Project
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
    for name in project.numeric:
        values = frame[name].drop_nulls().to_numpy()
        entry: dict[str, Any] = {"missing": frame[name].null_count() / frame.height}
        if values.size:
            cuts = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
            counts, edges = np.histogram(values, cuts if cuts.size > 1 else 1)
            entry |= {"edges": edges.tolist(), "shares": (counts / values.size).tolist()}
        described[name] = entry
    for name in project.categorical:
        shares = frame[name].value_counts(normalize=True).sort(name)
        described[name] = dict(shares.iter_rows())
    return described


def libraries(settings: Path) -> dict[str, str]:
    """Return the installed version of each dependency that a `pyproject.toml` names.

    Parameters
    ----------
    settings : pathlib.Path
        Where there is no such file, there are none.

    Returns
    -------
    dict of str to str
    """
    if not settings.is_file():
        return {}
    project = tomllib.loads(settings.read_text(encoding="utf-8"))["project"]
    versions = {}
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w.-]", requirement)[0]
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # one for another system
            continue
    return versions


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
