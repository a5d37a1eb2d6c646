"""The chosen CI, and no other, is rendered; the workflow and the pipeline run the same jobs."""

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TEMPLATE, Bake, bake_into
from tests.render import gates

FILES = {
    "github-actions": ".github/workflows/ci.yml",
    "gitlab-ci": ".gitlab-ci.yml",
    "none": None,
}
# What a text says of a host, or of CI, that the project does not have.
FOREIGN = {
    "github-actions": "GitLab|[Mm]erge request",
    "gitlab-ci": r"GitHub|\.github/|[Pp]ull request",
    "none": r"GitHub|GitLab|\.github/|\.gitlab|([Pp]ull|[Mm]erge) request|\bCI\b",
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A bake of each choice."""
    folder = tmp_path_factory.mktemp("ci")
    return {ci: bake_into(folder / ci, ci=ci, python_version="3.11") for ci in FILES}


@pytest.fixture(scope="module")
def workflow(projects: dict[str, Path]) -> dict[str, Any]:
    return read(projects["github-actions"] / ".github/workflows/ci.yml")


@pytest.fixture(scope="module")
def pipeline(projects: dict[str, Path]) -> dict[str, Any]:
    return read(projects["gitlab-ci"] / ".gitlab-ci.yml")


def read(file: Path) -> dict[str, Any]:
    (content,) = gates.READERS[".yml"](file.read_text())
    assert isinstance(content, dict)
    return content


def step(workflow: dict[str, Any], action: str) -> dict[str, Any]:
    """The inputs of the one step that uses an action."""
    (found,) = (
        each["with"]
        for each in workflow["jobs"]["task"]["steps"]
        if each.get("uses", "").startswith(f"actions/{action}@")
    )
    assert isinstance(found, dict)
    return found


def test_only_the_chosen_ci_is_rendered(projects: dict[str, Path]) -> None:
    assert [*FILES] == json.loads((TEMPLATE / "cookiecutter.json").read_text())["ci"]
    for ci, project in projects.items():
        found = {name for name in gates.files(project) if re.match(r"\.git(hub/|lab)", name)}
        assert found == {FILES[ci]} - {None}
        assert (project / ".github").exists() is (ci == "github-actions")
        assert (project / "CODEOWNERS").is_file()


@pytest.mark.parametrize("ci", FILES)
def test_no_text_speaks_of_a_ci_that_is_not_there(ci: str, projects: dict[str, Path]) -> None:
    texts = gates.texts(projects[ci])
    found = [
        f"{name}: {line}"
        for name, text in texts.items()
        for line in text.splitlines()
        if re.search(FOREIGN[ci], line) and name != "poetry.lock"
    ]
    assert found == []
    if file := FILES[ci]:
        owned = texts["CODEOWNERS"], texts["README.md"], texts["docs/responsibilities.md"]
        assert all(re.split("(?<=/)", file)[0] in text for text in owned), owned


def test_both_run_the_same_tasks_of_poe(
    workflow: dict[str, Any], pipeline: dict[str, Any], projects: dict[str, Path]
) -> None:
    on_github = workflow["jobs"]["task"]["strategy"]["matrix"]["task"]
    (matrix,) = pipeline["task"]["parallel"]["matrix"]
    alone = [*pipeline.keys() - {"workflow", "default", "task"}]
    assert matrix["TASK"] + alone == on_github
    for task in alone:
        assert pipeline[task]["script"] == [f".venv/bin/poe {task}"]
    settings = tomllib.loads((projects["none"] / "pyproject.toml").read_text())
    assert {*on_github} <= settings["tool"]["poe"]["tasks"].keys()


def test_both_are_set_up_alike(workflow: dict[str, Any], pipeline: dict[str, Any]) -> None:
    default, cache = pipeline["default"], step(workflow, "cache")
    assert step(workflow, "setup-python")["python-version"] == "3.11"
    assert default["image"] == "python:3.11"
    assert default["timeout"] == f"{workflow['jobs']['task']['timeout-minutes']} minutes"
    assert default["interruptible"] is workflow["concurrency"]["cancel-in-progress"] is True
    assert default["cache"]["paths"] == cache["path"].split()
    assert default["cache"]["key"]["files"] == re.findall(r"'(.*?)'", cache["key"])
    report = step(workflow, "upload-artifact")
    assert pipeline["pipeline"]["artifacts"] == {
        "name": report["name"],
        "paths": [report["path"]],
        "when": "always",
    }
    runs = [each["run"] for each in workflow["jobs"]["task"]["steps"] if "run" in each]
    assert default["before_script"] + pipeline["task"]["script"] == runs


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("    matrix:", "    matrices:", "$.task.parallel"),
        ("paths: [reports]", "path: [reports]", "$.pipeline.artifacts"),
        ("  script:", "  scripts:", "$.task"),
        ("when: always", "when: allways", "'allways' is not one of"),
    ],
)
def test_a_broken_pipeline_is_caught(
    before: str, after: str, said: str, projects: dict[str, Path], tmp_path: Path
) -> None:
    broken = shutil.copytree(projects["gitlab-ci"], tmp_path / "broken")
    text = (broken / ".gitlab-ci.yml").read_text()
    assert before in text
    (broken / ".gitlab-ci.yml").write_text(text.replace(before, after))
    assert said in "\n".join(gates.invalid_ci(broken))


def test_a_workflow_of_the_old_place_is_missed(bake: Bake) -> None:
    project = bake()
    (project / ".github/workflows/ci.yml").rename(project / ".github/ci.yml")
    assert gates.invalid_ci(project) == ["flight-delays: no workflow in .github/workflows"]
