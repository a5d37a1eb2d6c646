"""A bake inside another repository fits into it: what counts from the top names the folder."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bake
from tests.render import gates

FOLDER = "team.a/models/flight-delays"
WORKFLOW = ".github/workflows/model-team.a-models-flight-delays.yml"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Zoë", "-c", "user.email=zoe@harbour.example")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


@pytest.fixture
def monorepo(tmp_path: Path) -> Path:
    """A repository that has owners and a pipeline, without a line break at the end."""
    folder = tmp_path / "mono repo"
    folder.mkdir()
    (folder / "README.md").write_text("# All our models\n")
    (folder / "CODEOWNERS").write_text("/README.md @example/platform")
    (folder / ".gitlab-ci.yml").write_text("lint: {script: [make lint]}")
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def place(bake: Bake, monorepo: Path, ci: str, capfd: pytest.CaptureFixture[str]) -> Path:
    """Bake three folders down, and type the last line that the bake prints."""
    project = bake((monorepo / FOLDER).parent, ci=ci)
    line = capfd.readouterr().out.splitlines()[-1]
    subprocess.run(["bash", "-e", "-c", line], cwd=project, check=True)
    return project


def read(file: Path) -> Any:
    (content,) = gates.READERS[".yml"](file.read_text())
    return content


def below(*names: str) -> list[str]:
    return [f"{FOLDER}/{name}" for name in names]


def test_the_workflow_works_at_the_top(
    bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = place(bake, monorepo, "github-actions", capfd)
    assert gates.invalid_workflows(monorepo) == []
    assert gates.invalid_ci(project) == []
    workflow = read(monorepo / WORKFLOW)
    # YAML 1.1 takes the key `on` for a boolean.
    changes = {"paths": [f"{FOLDER}/**", WORKFLOW]}
    assert workflow[True] == {"push": {"branches": ["main"], **changes}, "pull_request": changes}
    # Each workflow cancels its own runs only.
    assert workflow["name"] == f"CI of {FOLDER}"
    assert workflow["defaults"]["run"]["working-directory"] == FOLDER
    *_, cache, bootstrap, _, report = workflow["jobs"]["task"]["steps"]
    assert cache["with"]["path"].split() == below(".poetry", ".venv")
    assert re.findall("'(.*?)'", cache["with"]["key"]) == below("bootstrap.py", "poetry.lock")
    assert bootstrap["run"] == "python3 bootstrap.py"
    assert report["with"]["path"] == f"{FOLDER}/reports"


def test_the_pipeline_is_a_child_of_the_one_at_the_top(
    bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = place(bake, monorepo, "gitlab-ci", capfd)
    assert gates.invalid_ci(monorepo) == gates.invalid_ci(project) == []
    assert read(monorepo / ".gitlab-ci.yml") == {
        "lint": {"script": ["make lint"]},
        "model-team.a-models-flight-delays": {
            "trigger": {"include": f"{FOLDER}/.gitlab-ci.yml", "strategy": "depend"},
            "rules": [
                {"if": "$CI_MERGE_REQUEST_ID", "changes": [f"{FOLDER}/**/*"]},
                {
                    "if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH",
                    "changes": [f"{FOLDER}/**/*"],
                },
            ],
        },
    }
    child = read(project / ".gitlab-ci.yml")
    assert child["default"]["before_script"] == [f"cd {FOLDER}", "python3 bootstrap.py"]
    assert child["default"]["cache"]["paths"] == below(".poetry", ".venv")
    assert child["default"]["cache"]["key"]["files"] == below("bootstrap.py", "poetry.lock")
    assert child["pipeline"]["artifacts"]["paths"] == below("reports")


@pytest.mark.parametrize("ci", ["github-actions", "gitlab-ci"])
def test_projects_of_one_name_in_two_folders_leave_the_ci_of_others_alone(
    ci: str, bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    own = monorepo / ".github" / "workflows" / "ci.yml"
    own.parent.mkdir(parents=True)
    own.write_text("name: CI of all\n")
    for folder in ("a", "b"):
        project = bake(monorepo / folder, ci=ci, project_slug="ci", package_name="wear")
        line = capfd.readouterr().out.splitlines()[-1]
        subprocess.run(["bash", "-e", "-c", line], cwd=project, check=True)
    assert own.read_text() == "name: CI of all\n"
    if ci == "github-actions":
        folders = {
            read(own.with_name(f"model-{folder}-ci.yml"))["defaults"]["run"]["working-directory"]
            for folder in ("a", "b")
        }
        assert folders == {"a/ci", "b/ci"}
    else:
        assert {"model-a-ci", "model-b-ci"} <= read(monorepo / ".gitlab-ci.yml").keys()


@pytest.mark.parametrize(
    ("commands", "branch"),
    [
        (["branch -m trunk"], "trunk"),
        (["commit --quiet --allow-empty -m one", "checkout --quiet -b topic"], "main"),
        (
            [
                "symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/release/next",
                "checkout --quiet -b topic",
            ],
            "release/next",
        ),
    ],
    ids=["unborn", "main", "remote"],
)
def test_the_workflow_runs_on_the_branch_that_changes_go_to(
    commands: list[str], branch: str, bake: Bake, monorepo: Path
) -> None:
    for command in commands:
        git(monorepo, *command.split())
    project = bake(monorepo / "models", ci="github-actions")
    workflow = read(project / ".github/workflows/ci.yml")
    assert workflow[True]["push"]["branches"] == [branch]


@pytest.mark.parametrize("ci", ["github-actions", "gitlab-ci", "none"])
def test_the_owners_are_added_to_those_at_the_top(
    ci: str, bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place(bake, monorepo, ci, capfd)
    assert gates.unowned(monorepo) == []
    first, *lines = (monorepo / "CODEOWNERS").read_text().splitlines()
    assert first == "/README.md @example/platform"
    assert f"/{FOLDER}/ @example/data-science @example/deployment" in lines
    assert (f"/{WORKFLOW} @example/deployment" in lines) is (ci == "github-actions")
    ours = [line for line in lines if line and not line.startswith(("#", f"/{WORKFLOW} "))]
    assert all(line.startswith(f"/{FOLDER}/") for line in ours)


def test_the_owners_go_where_the_repository_has_its_own(
    bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (monorepo / ".gitlab").mkdir()
    (monorepo / "CODEOWNERS").rename(monorepo / ".gitlab" / "CODEOWNERS")
    place(bake, monorepo, "none", capfd)
    assert f"/{FOLDER}/conf/ " in (monorepo / ".gitlab" / "CODEOWNERS").read_text()
    assert not (monorepo / "CODEOWNERS").exists()


@pytest.mark.parametrize("bucket", ["", "models-1"])
def test_data_are_stored_in_the_bucket_or_beside_the_repository(
    bucket: str, bake: Bake, monorepo: Path
) -> None:
    project = bake(monorepo / "models", artifact_bucket=bucket)
    url = re.findall("url = (.*)", (project / ".dvc" / "config").read_text())[0]
    if bucket:
        assert url == "s3://models-1/flight-delays"
    else:
        beside = monorepo.with_name("flight-delays-storage")
        assert (project / ".dvc" / url).resolve() == beside.resolve()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("README.md", "into `.venv`; the repository around it decides about git hooks."),
        ("README.md", "If the repository runs them, the git hooks format, lint,"),
        (
            "README.md",
            "secrets before a commit, and before a push run the unit tests. To run the checks of a",
        ),
        ("docs/responsibilities.md", "before each push if the repository runs the git hooks,"),
        ("docs/responsibilities.md", "Two teams share this folder."),
    ],
)
def test_the_documents_know_whose_the_git_hooks_are(
    name: str, said: str, bake: Bake, monorepo: Path
) -> None:
    assert said in " ".join((bake(monorepo / "models") / name).read_text().split())
    assert said not in " ".join((bake() / name).read_text().split())


def test_a_folder_that_ci_could_not_name_is_said_in_one_line(
    bake: Bake, monorepo: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    project = bake(monorepo / "all models")
    *_, line = capfd.readouterr().out.splitlines()
    assert line == (
        "CI, CODEOWNERS, git hooks and storage are not made for 'all models/flight-delays': bake"
        " again where the names of the folders have letters, digits, '.', '_' and '-' only"
    )
    assert (project / "CODEOWNERS").read_text() == (bake() / "CODEOWNERS").read_text()
