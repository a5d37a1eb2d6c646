"""Another version of the library, an index in place of `vendor/`, and back, in a small project."""

import shutil
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.packer import pack
from tests.conftest import TEMPLATE, cut_off, moments
from tests.project.test_bootstrap import PYPROJECT, Clone, Index, Run, poetry_folder, wheels

__all__ = ["poetry_folder", "wheels"]

VERSION = str(tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]["version"])
NEXT = "9.0.0"
WHEEL = f"ml_ready-{VERSION}-py3-none-any.whl"
SETTINGS = (
    PYPROJECT.replace('">=3.11"', '">=3.11,<3.14"')
    .replace('["pre-commit>=4"]', f'["poethepoet>=0.49"]\nserve = ["ml-ready=={VERSION}"]')
    .replace('"timetable>=1"', f'"timetable>=1", "ml-ready=={VERSION}"')
    + f"""
[tool.poetry.dependencies]
ml-ready = {{ path = "vendor/{WHEEL}" }}

[tool.poetry.group.serve.dependencies]
ml-ready = {{ path = "vendor/{WHEEL}" }}

[tool.poe.tasks]
check = "python -c 'import ml_ready.errors as library; library.ProjectError'"
"""
)
# Followed by bootstrap.py.
BACK = """\
git checkout pyproject.toml poetry.lock vendor
git clean --force -d vendor
"""
INSTALLED = "from importlib.metadata import version; print(version('ml-ready'))"


def library(folder: Path, version: str, **changes: str) -> Path:
    """Pack the library as another version, with some of its files replaced."""
    root = folder / "source"
    shutil.copytree(TEMPLATE / "src", root / "src")
    shutil.copy(TEMPLATE / "LICENSE", root)
    settings = (TEMPLATE / "pyproject.toml").read_text()
    (root / "pyproject.toml").write_text(settings.replace(f'"{VERSION}"', f'"{version}"', 1))
    for name, text in changes.items():
        (root / "src" / "ml_ready" / f"{name}.py").write_text(text)
    return pack(folder, root)


@pytest.fixture(scope="module")
def index(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The index of a company, with this version of the library and the next."""
    folder = tmp_path_factory.mktemp("company")
    shutil.copytree(wheels, folder / "index")
    for version in (VERSION, NEXT):
        wheel = library(folder / version, version)
        shutil.copy(wheel, folder / "index")
    served = Index(folder / "index")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def made(index: Index, poetry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project with the library in `vendor/`, locked and committed."""
    clone = Clone(tmp_path_factory.mktemp("made"), index)
    (clone.folder / ".poetry").symlink_to(poetry_folder)
    clone.write("pyproject.toml", SETTINGS)
    pack(clone.folder / "vendor")
    clone.write(".gitignore", ".poetry\n.venv\n__pycache__\n")
    locked = clone.bootstrap("poetry", "lock")
    assert locked.status == 0, locked
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        assert clone.run(*git, *arguments).status == 0
    return clone


@pytest.fixture
def clone(made: Clone, index: Index, poetry_folder: Path, tmp_path: Path) -> Clone:
    """A clone of it, installed."""
    clone = Clone(tmp_path, index)
    shutil.rmtree(clone.folder)
    assert made.run("git", "clone", "-q", str(made.folder), str(clone.folder)).status == 0
    (clone.folder / ".poetry").symlink_to(poetry_folder)
    assert clone.bootstrap().status == 0
    return clone


def ml_ready(clone: Clone, *arguments: str | Path) -> Run:
    return clone.run(clone.folder / ".venv/bin/ml-ready", *arguments)


def changed(clone: Clone) -> str:
    return clone.run("git", "status", "--porcelain").output


def installed(clone: Clone) -> str:
    return clone.python(INSTALLED).output.strip()


def content(clone: Clone) -> dict[str, bytes]:
    """What a change replaces."""
    names = [clone.folder / "pyproject.toml", clone.folder / "poetry.lock"]
    return {path.name: path.read_bytes() for path in (*names, *clone.folder.glob("vendor/*"))}


def commit(clone: Clone) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    assert clone.run(*git, "commit", "-q", "-a", "-m", "change").status == 0


def test_the_next_version_replaces_wheel_pin_lock_and_what_is_installed(
    clone: Clone, tmp_path: Path
) -> None:
    done = ml_ready(clone, "upgrade", library(tmp_path / "next", NEXT))
    assert done.status == 0, done
    assert f"ml-ready {NEXT} from vendor/ml_ready-{NEXT}-py3-none-any.whl, before" in done.output
    assert content(clone).keys() == {
        "pyproject.toml",
        "poetry.lock",
        f"ml_ready-{NEXT}-py3-none-any.whl",
    }
    assert VERSION not in (clone.folder / "pyproject.toml").read_text()
    assert installed(clone) == NEXT
    assert "All is in place" in clone.bootstrap().output
    (wheel,) = (tmp_path / "next").glob("*.whl")
    assert ml_ready(clone, "upgrade", wheel).output.endswith("nothing to change\n")


def test_other_code_of_the_same_version_is_installed(clone: Clone, tmp_path: Path) -> None:
    changed_library = library(
        tmp_path / "same", VERSION, runner="WORD = 1\nrun = lambda work: work()\n"
    )
    assert ml_ready(clone, "upgrade", changed_library).status == 0
    assert clone.python("import ml_ready.runner; print(ml_ready.runner.WORD)").output == "1\n"
    assert "All is in place" in clone.bootstrap().output


def test_a_project_moves_to_an_index_and_back(clone: Clone, index: Index) -> None:
    before = content(clone)
    wheel = shutil.copy(clone.folder / "vendor" / WHEEL, clone.root)
    done = ml_ready(clone, "use-index", "company", "--url", f"{index.url}/")
    assert done.status == 0, done
    assert not (clone.folder / "vendor").exists()
    assert 'reference = "company"' in (clone.folder / "poetry.lock").read_text()
    assert installed(clone) == VERSION
    commit(clone)
    # From there another version is a number.
    done = ml_ready(clone, "upgrade", NEXT)
    assert done.status == 0, done
    assert installed(clone) == NEXT
    commit(clone)
    assert (
        "Poetry cannot lock it, see the error above. The"
        in ml_ready(clone, "upgrade", "9.9.9").error
    )
    assert installed(clone) == NEXT
    done = ml_ready(clone, "upgrade", wheel)
    assert done.status == 0, done
    assert installed(clone) == VERSION
    assert content(clone) == before


def test_the_index_of_pip_needs_no_address(clone: Clone) -> None:
    done = ml_ready(clone, "use-index", "pypi")
    assert done.status == 0, done
    assert "tool.poetry.source" not in (clone.folder / "pyproject.toml").read_text()
    assert installed(clone) == VERSION
    commit(clone)
    assert ml_ready(clone, "upgrade", NEXT).status == 0
    assert installed(clone) == NEXT


def test_a_kill_at_any_moment_is_undone_by_git_and_bootstrap(clone: Clone, tmp_path: Path) -> None:
    before = content(clone)
    wheel = library(tmp_path / "next", NEXT)
    command = [str(clone.folder / ".venv/bin/ml-ready"), "upgrade", str(wheel)]
    seconds = 8
    for moment in moments(seconds, 3):
        cut_off(command, moment, signal.SIGKILL, cwd=clone.folder, env=clone.env)
        assert BACK in (TEMPLATE / "docs/versions.md").read_text()
        for line in BACK.splitlines():
            assert clone.run(*line.split()).status == 0
        assert clone.bootstrap().status == 0
        assert (content(clone), changed(clone), installed(clone)) == (before, "", VERSION)


def test_ctrl_c_puts_back_what_was(clone: Clone, tmp_path: Path) -> None:
    before = content(clone)
    wheel = library(tmp_path / "next", NEXT)
    command = [str(clone.folder / ".venv/bin/ml-ready"), "upgrade", str(wheel)]
    begun = clone.folder / "vendor" / wheel.name
    cut_off(command, 0.5, signal.SIGINT, begun.exists, cwd=clone.folder, env=clone.env)
    assert (content(clone), changed(clone), installed(clone)) == (before, "", VERSION)
