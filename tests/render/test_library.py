"""The library as a wheel: the same bytes from a bake, from pip and from a release."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest

from scripts import packer, refresh_lock, release
from tests.conftest import TEMPLATE, Bake, as_cloned

SETTINGS: dict[str, Any] = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = SETTINGS["project"]["optional-dependencies"]
VERSION = SETTINGS["project"]["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return packer.pack(tmp_path_factory.mktemp("wheel"), as_cloned())


def test_the_same_source_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(as_cloned(), tmp_path / "copy", copy_function=shutil.copyfile)
    for file in (copy / "src").rglob("*.py"):
        file.chmod(0o600)
        os.utime(file, (0, 0))
    (copy / "src/ml_ready/__pycache__").mkdir()
    (copy / "src/ml_ready/__pycache__/cli.pyc").touch()
    for left in (".DS_Store", "pin.py.orig"):
        (copy / "src/ml_ready" / left).touch()
    assert packer.pack(tmp_path / "other", copy).read_bytes() == wheel.read_bytes()
    assert wheel.name == f"ml_ready-{VERSION}-py3-none-any.whl"


def test_pip_builds_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip, str(tmp_path), str(as_cloned())], check=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_a_folder_without_the_package_is_refused(tmp_path: Path) -> None:
    shutil.copy(TEMPLATE / "pyproject.toml", tmp_path)
    with pytest.raises(FileNotFoundError, match="ml_ready: no package, expected __init__"):
        packer.pack(tmp_path / "dist", tmp_path)
    assert not (tmp_path / "dist").exists()


def test_a_wheel_holds_the_source_the_pages_the_licence_and_its_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
        assert archive.testzip() is None
    source = as_cloned() / "src"
    files = {each.relative_to(source).as_posix(): each for each in source.rglob("*.*")}
    pages = (as_cloned() / "docs").glob("*.md")
    files |= {f"ml_ready/pages/{each.name}": each for each in pages}
    assert {"ml_ready/pages/library.md", "ml_ready/pages/versions.md"} <= files.keys()
    assert {name for name in contents if name.startswith("ml_ready/")} == files.keys()
    assert all(contents[name] == file.read_bytes() for name, file in files.items())
    assert "ml_ready/py.typed" in contents
    information = f"ml_ready-{VERSION}.dist-info"
    assert contents[f"{information}/licenses/LICENSE"] == (TEMPLATE / "LICENSE").read_bytes()
    metadata = message_from_bytes(contents[f"{information}/METADATA"])
    assert metadata.get_all("Provides-Extra") == list(EXTRAS)
    assert metadata["Requires-Python"] == SETTINGS["project"]["requires-python"]
    required = metadata.get_all("Requires-Dist", [])
    # Alone, it needs nothing.
    assert all("extra ==" in each for each in required)
    assert len(required) == sum(map(len, EXTRAS.values()))


def test_a_bake_holds_the_wheel_of_its_source_and_its_hash(wheel: Path, bake: Bake) -> None:
    project = bake()
    (vendored,) = (project / "vendor").iterdir()
    assert vendored.name == wheel.name
    assert vendored.read_bytes() == wheel.read_bytes()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    locked = tomllib.loads((project / "poetry.lock").read_text("utf-8"))["package"]
    (package,) = (each for each in locked if each["name"] == "ml-ready")
    assert package["files"] == [{"file": wheel.name, "hash": f"sha256:{digest}"}]
    settings = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    assert f"ml-ready[train]=={VERSION}" in settings["project"]["dependencies"]


@pytest.mark.parametrize("lock", refresh_lock.locks(TEMPLATE), ids=lambda lock: lock.name)
def test_a_lock_names_the_requirements_of_this_version(lock: Path) -> None:
    assert list(release.compare_lock(lock, SETTINGS["project"])) == []


def test_a_lock_of_another_version_stops_the_bake(tmp_path: Path) -> None:
    template = shutil.copytree(as_cloned(), tmp_path / "template")
    for lock in refresh_lock.locks(template):
        lock.write_bytes(lock.read_bytes().replace(b"ml_ready-", b"ml_ready-9"))
    command = [sys.executable, "-m", "cookiecutter", str(template), "--no-input", "-o"]
    command.append(str(tmp_path / "out"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    line = f"poetry.lock names ml_ready-{VERSION}-py3-none-any.whl 0 times, expected once"
    assert line in done.stderr
    assert not (tmp_path / "out" / "flight-delays").exists()


def test_without_extras_a_command_says_what_to_install(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    tools = tmp_path / "venv" / "bin"
    pip = [str(tools / "python"), "-m", "pip", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    ours = tools / "ml-ready"
    assert subprocess.check_output([ours, "--version"], text=True) == f"ml-ready {VERSION}\n"
    assert "\n  endpoint " in subprocess.check_output([ours], text=True)
    for command, extra in (("predict", "train"), ("endpoint", "aws"), ("image", "aws")):
        done = subprocess.run([ours, command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: ml-ready {command} needs ")
        assert line.endswith(f": install ml-ready[{extra}], in a project by `python3 bootstrap.py`")
