"""Replaces the example of a project by another problem, by what its README says to change."""

import re
import shutil
from pathlib import Path

from tests.project.conftest import Project

PROBLEMS = Path(__file__).with_name("swap")
SURFACE = (
    "conf/",
    "data/sample/",
    # What the README says to delete.
    "data/draw.py",
    "pyproject.toml",
    "src/{package}/schema.py",
    "src/{package}/preprocessing/features.py",
    "src/{package}/training/model.py",
    "tests/unit/test_features.py",
    "tests/module/test_training.py",
)


def swap(project: Project, problem: str) -> None:
    """Put the files of a folder of `swap/` in place of the example's, and draw its data.

    Parameters
    ----------
    project : Project
        Its `conf/` and `data/sample/` are replaced, `conf/deploy` apart.
    problem : str
        Name of the folder; `PACKAGE` in it stands for the package of the project.
    """
    for name in ("conf/data", "conf/model", "data/sample"):
        shutil.rmtree(project.root / name)
    (project.root / "data/sample").mkdir()
    for file in (PROBLEMS / problem).rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            name = str(file.relative_to(PROBLEMS / problem))
            target = project.root / name.replace("PACKAGE", project.package.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.read_text().replace("PACKAGE", project.package.name))
    project.does("python draw.py && rm draw.py data/draw.py")
    settings = project.root / "pyproject.toml"
    text = settings.read_text().replace(', "data/draw.py"', "")
    settings.write_text(re.sub(r"\[tool\.poe\.tasks\.full-data\]\n(.+\n)+\n", "", text))
    project.does("ruff check --fix --quiet tests && ruff format --quiet tests")


def assert_only_the_surface_was_touched(project: Project) -> None:
    """Hold what git sees as changed against what the README names."""
    changed = project.does("git status --porcelain --untracked-files=all --no-renames")
    surface = tuple(each.format(package=project.package.name) for each in SURFACE)
    assert changed
    assert all(line[3:].startswith(surface) for line in changed.splitlines()), changed
