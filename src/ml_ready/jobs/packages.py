"""Packages whose code decides the result of a stage: a new version of one runs the stage again."""

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from ..errors import ConfigError
from ..training.provenance import digest, libraries

_LIBRARY = "ml-ready"
_INGEST = (_LIBRARY, "msgspec", "pandera", "polars")
_PREPROCESS = (*_INGEST, "narwhals", "numpy")
_TRAIN = (*_PREPROCESS, "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")
_EVALUATE = ("jinja2", "matplotlib")  # which make the report
_LOCKED = re.compile(r'^name = "(.+)"\nversion = "(.+)"$', re.MULTILINE)
_NO_CODE = (".md", ".pyc")
_FOLDER = Path(__file__).parents[1]


def by_stage(root: Path) -> dict[str, dict[str, str]]:
    """Return the versions of the packages that decide the result of each DVC stage.

    Parameters
    ----------
    root : pathlib.Path
        The repository, whose `pyproject.toml` names the packages that a model may use.

    Returns
    -------
    dict of str to dict of str to str
        By stage and package; a package that is not installed is left out.
    """
    train = {**libraries(root / "pyproject.toml"), **_versions(_TRAIN)}
    return {
        "ingest": _versions(_INGEST),
        "preprocess": _versions(_PREPROCESS),
        "train": train,
        "evaluate": {**train, **_versions(_EVALUATE)},
    }


def require_locked(root: Path, stages: Mapping[str, Mapping[str, str]]) -> None:
    """Raise if a stage would run with another version of a package than `poetry.lock` names.

    Parameters
    ----------
    root : pathlib.Path
        The repository; without a `poetry.lock` every version will do.
    stages : mapping
        As `by_stage` returns it.

    Raises
    ------
    ConfigError
        Naming the first package.
    """
    lock = root / "poetry.lock"
    if not lock.is_file():
        return
    # A regular expression, since to parse all of a lock takes a second.
    locked: dict[str, set[str]] = {}
    for name, version in _LOCKED.findall(lock.read_text(encoding="utf-8")):
        locked.setdefault(name, set()).add(version)
    installed = {
        name: version for packages in stages.values() for name, version in packages.items()
    }
    for name, version in installed.items():
        # `ml-ready with-checkout` runs another version of the library on purpose.
        if name != _LIBRARY and version not in (expected := locked.get(name, {version})):
            raise ConfigError(
                f"{name} {version} is installed, poetry.lock has {' or '.join(sorted(expected))}.",
                "Run `python3 bootstrap.py`",
            )


def library() -> str:
    """Return the version of ml-ready, and a hash: versions of the same name can differ in content.

    Returns
    -------
    str
        Such as `0.2.0 sha256:4f53…`: the hash of its code, which is the same from a wheel, an
        index and a checkout.
    """
    package = _installed(_LIBRARY)
    files = (path for path in _FOLDER.rglob("*") if path.is_file() and path.suffix not in _NO_CODE)
    return f"{package.version if package else 'unknown'} sha256:{digest(files)}"


def _versions(names: Sequence[str]) -> dict[str, str]:
    packages = {name: _installed(name) for name in names if name != _LIBRARY}
    versions = {name: package.version for name, package in packages.items() if package}
    return {_LIBRARY: library(), **versions}


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
