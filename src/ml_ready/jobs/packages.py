"""Packages whose code decides the result of a stage: a new version of one runs the stage again."""

import json
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from ..training.provenance import digest, libraries

_LIBRARY = "ml-ready"
_INGEST = (_LIBRARY, "msgspec", "pandera", "polars")
_PREPROCESS = (*_INGEST, "narwhals", "numpy")
_TRAIN = (*_PREPROCESS, "onnx", "onnxruntime", "scikit-learn", "scipy", "skl2onnx")
_FOLDER = Path(__file__).resolve().parents[1]


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
        "evaluate": dict(train),
    }


def library() -> str:
    """Return the version of ml-ready, and a hash: versions of the same name can differ in content.

    Returns
    -------
    str
        Such as `0.2.0 sha256:4f53…`: of the wheel that was installed, else of the files of the
        package, such as those of a checkout.
    """
    package = _installed(_LIBRARY)
    version = package.version if package else "unknown"
    return f"{version} sha256:{_wheel(package) or _files()}"


def _wheel(package: Distribution | None) -> str:
    """Return the hash of the wheel that was installed, where that is known."""
    # The package that is imported may be another one, such as of a checkout.
    if package is None or Path(str(package.locate_file(_FOLDER.name))).resolve() != _FOLDER:
        return ""
    origin = json.loads(package.read_text("direct_url.json") or "{}").get("archive_info", {})
    algorithm, _, legacy = origin.get("hash", "").partition("=")
    return str(origin.get("hashes", {}).get("sha256") or (legacy if algorithm == "sha256" else ""))


def _files() -> str:
    return digest(path for path in _FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _versions(names: Sequence[str]) -> dict[str, str]:
    packages = {name: _installed(name) for name in names if name != _LIBRARY}
    versions = {name: package.version for name, package in packages.items() if package}
    return {_LIBRARY: library(), **versions}


def _installed(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None
