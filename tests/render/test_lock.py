"""One lock serves every project name; a pyproject.toml that has moved away from it is caught."""

import shutil
from pathlib import Path

from tests.conftest import Bake
from tests.render import gates


def test_the_lock_fits_whatever_the_answers(bake: Bake) -> None:
    answers = {"project_name": "Other", "license": "MIT", "python_version": "3.11"}
    assert gates.drifted_lock(bake(**answers)) == []


def test_a_dependency_that_is_not_locked_is_caught(project: Path, tmp_path: Path) -> None:
    drifted = shutil.copytree(project, tmp_path / "drifted")
    settings = drifted / "pyproject.toml"
    before = settings.read_text()
    settings.write_text(
        before.replace("dependencies = [\n", 'dependencies = [\n  "anyio>=4,<5",\n', 1)
    )
    assert settings.read_text() != before
    assert "pyproject.toml changed significantly since poetry.lock" in "\n".join(
        gates.drifted_lock(drifted)
    )


def test_a_missing_lock_is_caught(project: Path, tmp_path: Path) -> None:
    unlocked = shutil.copytree(project, tmp_path / "unlocked")
    (unlocked / "poetry.lock").unlink()
    assert gates.drifted_lock(unlocked) == ["Error: poetry.lock was not found."]
