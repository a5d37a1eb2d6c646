"""The page on the move from 0.1.0, word for word, with a project that a team has edited."""

import json
from pathlib import Path

import filelock
import pytest

from tests.conftest import TEMPLATE, bake_into
from tests.project import readme
from tests.project.conftest import ANSWERS, Project

PAGE = TEMPLATE / "docs" / "from-0.1.0.md"
# From a project that was baked with 0.1.0 and the same answers: files of the bake and what a team
# has edited, as patches; the model in production; how 0.1.0 has compared the next model with it.
TEAM = Path(__file__).with_name("from_0_1_0")
# All but the files that 0.2.0 has as they were. Nothing else of poetry.lock changes but a hash.
HISTORY = """set -e
git checkout --quiet --orphan team
rm -r .dvc .github README.md conf/*.yaml conf/data conf/model data/draw.py dvc.yaml \
  pyproject.toml src tests vendor
git apply {0}/baked.patch
sed -i 's/^content-hash = .*/content-hash = "of 0.1.0"/' poetry.lock
git add --all && git commit --quiet --no-verify --message 'feat: start from the template'
rm data/sample/*
git apply {0}/edited.patch && python data/draw.py
sed -i 's/^content-hash = .*/content-hash = "of the team"/' poetry.lock
git add --all && git commit --quiet --no-verify --message 'feat: predict malignant masses'
cp -R {0}/models models"""
ELSEWHERE = {
    "make bake ARGS='--output-dir ~/move/bake'": "asks: `moved` bakes with the answers",
    "cruft update --skip-apply-ask": "needs 0.1.0 in the history of the template",
    "python3 bootstrap.py": "`installed` has done it",
    "python3 bootstrap.py poetry add NAME": "test_readme.py: asks the index for every package",
}


@pytest.fixture(scope="module")
def move(user: dict[str, str]) -> Path:
    """The folder that the page uses in the home of the user."""
    return Path(user["HOME"], "move")


@pytest.fixture(scope="module")
def moved(
    installed: Project,
    move: Path,
    turn: filelock.BaseFileLock,
    tmp_path_factory: pytest.TempPathFactory,
) -> Project:
    """The edited project, moved as the page says."""
    folder = tmp_path_factory.mktemp("moved")
    project = installed.copy(folder / "harbour-crane-s-wear")
    project.does(HISTORY.format(TEAM))
    bake_into(move / "bake", **ANSWERS)
    shell = readme.Shell(project.root, project.environment, folder)
    assert list(readme.run(PAGE.read_text(), shell, {}, {}, ELSEWHERE, turn))
    return project


def test_the_history_is_kept_and_nothing_is_left_to_commit(moved: Project) -> None:
    subjects = moved.does("git log --format=%s").splitlines()
    assert {"feat: start from the template", "feat: predict malignant masses"} < {*subjects}
    assert moved.does("git status --porcelain") == ""


def test_only_what_the_team_has_edited_differs_from_a_bake(moved: Project) -> None:
    package = f"src/{moved.package.name}"
    different = moved.does("git diff --name-only --no-renames baked HEAD -- . ':!data/sample'")
    assert different.split() == [
        ".dvc/config",
        ".github/workflows/ci.yml",
        "README.md",
        "conf/config.yaml",
        "conf/data/flights.yaml",
        "conf/data/masses.yaml",
        "conf/model/hist_gradient_boosting.yaml",
        "conf/model/logistic_regression.yaml",
        "data/draw.py",
        "dvc.lock",
        "pyproject.toml",
        "reports/metrics.json",
        f"{package}/preprocessing/features.py",
        f"{package}/schema.py",
        f"{package}/training/model.py",
        "tests/module/test_masses.py",
        "tests/module/test_training.py",
        "tests/unit/test_features.py",
    ]


def test_edits_of_managed_files_are_merged(moved: Project) -> None:
    edits = moved.does("git diff -U0 baked HEAD -- .dvc .github README.md pyproject.toml")
    for line in (
        "+    url = s3://harbour-models/masses",
        "+    timeout-minutes: 45",
        "-## The example",
        '+cmd = "python data/draw.py"',
    ):
        assert f"\n{line}\n" in edits


def test_the_model_in_production_is_compared_as_0_1_0_did(moved: Project, move: Path) -> None:
    before, after = (
        json.loads((folder / "metrics.json").read_text())
        for folder in (TEAM, move / "job" / "processing" / "reports")
    )
    assert after["gate"] == before["gate"]
    for window in ("validation", "test"):
        gain = before[window]["gain"]["production"]
        assert gain["value"] > 0.001
        assert after[window]["gain"]["production"] == pytest.approx(gain, abs=1e-3)
