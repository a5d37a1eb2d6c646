"""Both kinds of CI, run as their servers would: from a fresh clone, and from inside a monorepo."""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import bake_into
from tests.project.conftest import ANSWERS
from tests.project.workflow import Runner, WorkflowError, matrix_of

SLUG = "harbour-crane-s-wear"
QUICK = '''\
"""The package."""

import {0}


def test_it_says_what_it_is_for() -> None:
    assert {0}.__doc__
'''


def git(folder: Path, *arguments: str) -> str:
    """Run git as the user of the answers."""
    who = ("-c", "user.name=Zoë", "-c", "user.email=zoe@harbour.example")
    return subprocess.check_output(["git", *who, *arguments], cwd=folder, text=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "test: a state")


def shorten(project: Path) -> None:
    """Leave one quick test in each tier: test_readme.py runs those of the project."""
    (package,) = (project / "src").iterdir()
    for tier in (project / "tests").glob("*/"):
        for file in tier.iterdir():
            file.unlink()
        (tier / "test_package.py").write_text(QUICK.format(package.name))
    settings = project / "pyproject.toml"
    for name in re.findall(r"tests/\S+\.py", settings.read_text()):
        (project / name).write_text(QUICK.format(package.name))
    # Its groups take 2 GB; the same task installs them in test_readme.py.
    text, groups = re.subn(
        ' poetry install --with sagemaker,spark(?=" })', "", settings.read_text()
    )
    text, gates = re.subn(r"(fail_under = |--fail-under=)\d+", r"\g<1>0", text)
    assert gates
    assert groups == 1
    settings.write_text(text)


@pytest.fixture(scope="module")
def runner(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A machine on which a project and its place in a monorepo have the same path."""
    folder = tmp_path_factory.mktemp("runner")
    known = {name: text for name, text in user.items() if not name.startswith("GIT_")}
    return Runner(
        workspace=folder / "work" / "models" / SLUG,
        cache=folder / "cache",
        artifacts=folder / "artifacts",
        environment=known,
    )


def pushed(folder: Path, ci: str) -> Path:
    """A project as its team pushed it."""
    project = bake_into(folder, **ANSWERS, ci=ci)
    shorten(project)
    commit(project)
    return project


def in_monorepo(folder: Path, ci: str, capfd: pytest.CaptureFixture[str]) -> Path:
    """A repository with a project in it, and what the bake says is to be put at the top."""
    monorepo = folder / "monorepo"
    monorepo.mkdir()
    git(monorepo, "init", "--quiet", "--initial-branch=main")
    (monorepo / "other.py").write_text("import os # what no hook of the project would accept\n")
    project = bake_into(monorepo / "models", **ANSWERS, ci=ci)
    line = capfd.readouterr().out.splitlines()[-1]
    subprocess.run(["bash", "-e", "-c", line], cwd=project, check=True)
    shorten(project)
    commit(monorepo)
    return monorepo


@pytest.fixture(scope="module")
def pushed_with(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that gives the project with one kind of CI."""
    return functools.cache(lambda ci: pushed(tmp_path_factory.mktemp(ci), ci))


@pytest.fixture(scope="module")
def on_github(pushed_with: Callable[[str], Path]) -> Path:
    return pushed_with("github-actions")


@pytest.fixture(scope="module")
def on_gitlab(pushed_with: Callable[[str], Path]) -> Path:
    return pushed_with("gitlab-ci")


def read(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text())
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def cached(runner: Runner, on_github: Path) -> Path:
    """What the first job of all leaves to the others: .poetry and .venv."""
    workflow = read(on_github / ".github/workflows/ci.yml")
    assert "Locked packages in .venv ... " in runner.run(
        on_github, workflow, "task", {"task": "lint"}
    )
    (folder,) = runner.cache.iterdir()
    return folder


@pytest.mark.parametrize("ci", ["github-actions"])
def test_every_job_of_the_workflow_passes(
    ci: str, runner: Runner, pushed_with: Callable[[str], Path], cached: Path
) -> None:
    on_github = pushed_with(ci)
    workflow = read(on_github / ".github/workflows/ci.yml")
    for job, definition in workflow["jobs"].items():
        for matrix in matrix_of(definition):
            said = runner.run(on_github, workflow, job, matrix)
            assert "Locked packages in .venv" not in said
    assert [path.name for path in runner.artifacts.iterdir()] == ["report"]
    assert (runner.artifacts / "report" / "index.html").is_file()


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("python3 bootstrap.py", "python3 bootstrapp.py", "python3 bootstrapp.py: exit status 2\n"),
        ('.venv/bin/poe "$TASK"', '.venv/bin/poe "$TASKS"', "exit status 1\n"),
        ("matrix.task }}\n      - uses", "matrix.tasks }}\n      - uses", "matrix.tasks: no such"),
        ("'bootstrap.py'", "'bootstrap.pi'", "actions/cache@.*: there is no 'bootstrap.pi'"),
        (
            "            .venv\n",
            "            .venv\n            .cash\n",
            "there is no .*/.cash to keep",
        ),
        (
            " && matrix.task == 'pipeline'",
            "",
            "actions/upload-.*: no files were found with .*/repor",
        ),
        ("actions/cache@", "actions/cash@", "actions/cash: no such action"),
    ],
)
def test_a_broken_step_of_the_workflow_is_found(
    before: str,
    after: str,
    said: str,
    runner: Runner,
    on_github: Path,
    cached: Path,
) -> None:
    text = (on_github / ".github/workflows/ci.yml").read_text()
    assert before in text
    workflow = yaml.safe_load(text.replace(before, after))
    with pytest.raises(WorkflowError, match=f"^lint: .*{said}"):
        runner.run(on_github, workflow, "task", {"task": "lint"})


def test_the_workflow_of_a_monorepo_runs_in_its_folder(
    runner: Runner, cached: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monorepo = in_monorepo(tmp_path, "github-actions", capfd)
    workflow = read(monorepo / f".github/workflows/model-models-{SLUG}.yml")
    at_top = replace(runner, workspace=runner.workspace.parents[1], artifacts=tmp_path)
    at_top.run(monorepo, workflow, "task", {"task": "hooks"})
    workflow["jobs"]["task"]["steps"].append({"run": ".venv/bin/dvc push && git status --short"})
    said = at_top.run(monorepo, workflow, "task", {"task": "pipeline"})
    assert said.endswith("\n?? dvc.lock\n?? reports/\n"), said
    assert (tmp_path / "report" / "index.html").is_file()
    assert any(at_top.workspace.with_name(f"{SLUG}-storage").iterdir())


@contextmanager
def clone_of(repository: Path, folder: Path, project: Path, cached: Path) -> Iterator[None]:
    """Clone as GitLab does, with what is cached."""
    shutil.rmtree(folder, ignore_errors=True)
    git(repository, "clone", "--quiet", ".", str(folder))
    places = {kept: project / kept.name for kept in cached.iterdir()}
    for kept, place in places.items():
        kept.rename(place)
    try:
        yield
    finally:
        for kept, place in places.items():
            place.rename(kept)


def gitlab(folder: Path, runner: Runner, *options: str) -> str:
    """Run the pipeline of a clone with gitlab-ci-local in an empty home; return what it printed."""
    tools = Path(sys.prefix, "bin")
    program = (tools / "gitlab-ci-local").resolve()
    assert program.is_file(), f"{tools} has no gitlab-ci-local: `make proofs` installs it"
    home = runner.artifacts.with_name("home")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    done = subprocess.run(
        [
            tools / "node",
            program,
            "--force-shell-executor",
            "--concurrency=1",
            "--no-color",
            *options,
        ],
        cwd=folder,
        env={**runner.environment, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("ci", ["gitlab-ci"])
def test_every_job_of_the_pipeline_passes(
    ci: str, runner: Runner, pushed_with: Callable[[str], Path], cached: Path
) -> None:
    on_gitlab = pushed_with(ci)
    pipeline = read(on_gitlab / ".gitlab-ci.yml")
    tasks = [f"task: [{task}]" for task in pipeline["task"]["parallel"]["matrix"][0]["TASK"]]
    folder = runner.workspace
    with clone_of(on_gitlab, folder, folder, cached):
        said = gitlab(folder, runner)
        assert re.findall(" PASS  (.*?) *\n", said) == [*tasks, "pipeline"], said
        # It keeps nothing that is missing, as GitLab does, but does not mind.
        artifacts = folder / ".gitlab-ci-local" / "artifacts" / "pipeline"
        assert (artifacts / "reports" / "index.html").is_file()
        cache = pipeline["default"]["cache"]
        assert all((folder / name).exists() for name in cache["paths"] + cache["key"]["files"])


def test_a_broken_job_of_the_pipeline_is_found(
    runner: Runner, on_gitlab: Path, cached: Path
) -> None:
    folder = runner.workspace
    with clone_of(on_gitlab, folder, folder, cached):
        (folder / "wrong.py").write_text("import os\n")
        with pytest.raises(AssertionError) as failed:
            gitlab(folder, runner, "task: [lint]")
    assert "F401" in str(failed.value)
    assert " FAIL  task: [lint]" in str(failed.value)


def test_the_pipeline_of_a_monorepo_runs_in_its_folder(
    runner: Runner, cached: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monorepo = in_monorepo(tmp_path, "gitlab-ci", capfd)
    child = monorepo / "models" / SLUG / ".gitlab-ci.yml"
    # The other tasks ran above; here it counts where the jobs look for files.
    text = re.sub("TASK: .*", "TASK: [hooks]", child.read_text())
    report = "mkdir reports && .venv/bin/poe --help >reports/index.html"
    child.write_text(text.replace(".venv/bin/poe pipeline", report))
    commit(monorepo)
    folder = runner.workspace.parents[1]
    with clone_of(monorepo, folder, runner.workspace, cached):
        assert SLUG not in gitlab(folder, runner, "--list"), "nothing has changed in its folder"
        said = gitlab(folder, runner, "--no-evaluate-rule-changes")
        job = f"model-models-{SLUG}"
        passed = [f"[{job}] -> task: [hooks]", f"[{job}] -> pipeline", job]
        assert re.findall(" PASS  (.*?) *\n", said) == passed, said
        default = read(child)["default"]
        names = default["cache"]["paths"] + default["cache"]["key"]["files"]
        assert all((folder / name).exists() for name in names)
        (kept,) = (folder / ".gitlab-ci-local").rglob("index.html")
        assert kept.match(f"*/artifacts/*/models/{SLUG}/reports/index.html")
