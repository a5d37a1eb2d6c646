"""Pack the library as a wheel, with the standard library alone: the same source, the same bytes.

The hook of the template calls `pack` at each bake, pip calls `build_wheel` for `pip install .`, and
a release calls `python scripts/packer.py FOLDER`. Files are stored, not compressed: zlib's output
differs from build to build.
"""

import base64
import hashlib
import io
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "ml_ready"
EPOCH = (1980, 1, 1, 0, 0, 0)
TAG = "py3-none-any"


def pack(folder: Path, root: Path = ROOT) -> Path:
    """Write the wheel of the library into a folder.

    Parameters
    ----------
    folder : pathlib.Path
        Is made where it is missing.
    root : pathlib.Path
        The repository that holds `pyproject.toml` and `src/ml_ready`.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    FileNotFoundError
        When there is no source.
    """
    source = root / "src"
    modules = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in (source / PACKAGE).rglob("*")
        # Nothing that an editor or a tool has left beside them.
        if path.suffix in {".py", ".json", ".jinja"} or path.name == "py.typed"
    }
    # `ml-ready docs` opens them.
    pages = (root / "docs").glob("*.md")
    modules |= {f"{PACKAGE}/pages/{page.name}": page.read_bytes() for page in pages}
    if f"{PACKAGE}/__init__.py" not in modules:
        raise FileNotFoundError(f"{source / PACKAGE}: no package, expected __init__.py")
    return _write(folder, root, modules)


def build_wheel(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel for pip, as PEP 517 says."""
    return pack(Path(wheel_directory)).name


def build_editable(
    wheel_directory: str,
    config_settings: Mapping[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build a wheel that refers to this checkout, as PEP 660 says."""
    link = {f"{PACKAGE}.pth": f"{ROOT / 'src'}\n".encode()}
    return _write(Path(wheel_directory), ROOT, link).name


def build_sdist(sdist_directory: str, config_settings: Mapping[str, Any] | None = None) -> str:
    """Build a source archive for pip, as PEP 517 says."""
    project = _project(ROOT)
    name = f"{PACKAGE}-{project['version']}"
    names = ["LICENSE", "pyproject.toml", "scripts/packer.py"]
    folders = ((ROOT / "src").rglob("*"), (ROOT / "docs").glob("*.md"))
    names += [path.relative_to(ROOT).as_posix() for paths in folders for path in paths]
    with tarfile.open(Path(sdist_directory, f"{name}.tar.gz"), "w:gz") as archive:
        contents = {each: (ROOT / each).read_bytes() for each in names if (ROOT / each).is_file()}
        contents["PKG-INFO"] = _metadata(project)
        for each in sorted(contents):
            if "__pycache__" not in each:
                entry = tarfile.TarInfo(f"{name}/{each}")
                entry.size = len(contents[each])
                archive.addfile(entry, io.BytesIO(contents[each]))
    return f"{name}.tar.gz"


def _project(root: Path) -> dict[str, Any]:
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = settings["project"]
    return project


def _write(folder: Path, root: Path, files: Mapping[str, bytes]) -> Path:
    project = _project(root)
    name = f"{PACKAGE}-{project['version']}"
    information = f"{name}.dist-info"
    scripts = "".join(f"{key} = {value}\n" for key, value in project["scripts"].items())
    contents = dict(files) | {
        f"{information}/METADATA": _metadata(project),
        f"{information}/WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: {PACKAGE}\nRoot-Is-Purelib: true\nTag: {TAG}\n"
        ).encode(),
        f"{information}/entry_points.txt": f"[console_scripts]\n{scripts}".encode(),
        f"{information}/licenses/LICENSE": (root / "LICENSE").read_bytes(),
    }
    record = "".join(
        f"{path},sha256={_digest(content)},{len(content)}\n"
        for path, content in sorted(contents.items())
    )
    contents[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{TAG}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system = 3  # the same bytes on Windows
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return wheel


def _metadata(project: Mapping[str, Any]) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {each}" for each in project.get("dependencies", [])),
    ]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        for each in requirements:
            requirement, _, marker = each.partition("; ")
            condition = f'({marker}) and extra == "{extra}"' if marker else f'extra == "{extra}"'
            lines.append(f"Requires-Dist: {requirement}; {condition}")
    return "\n".join([*lines, ""]).encode()


def _digest(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


if __name__ == "__main__":
    print(pack(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")))
