"""Projects made with cruft follow the template: create, check, update."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import local_extensions
from tests.conftest import as_cloned
from tests.render.test_answers import ANSWERED, mangled


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A copy of the template with a history of its own."""
    copy = shutil.copytree(as_cloned(), tmp_path / "template")
    commit(copy)
    return copy


def commit(folder: Path, *options: str) -> None:
    settings = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "feat: a state", "--no-gpg-sign", *options],
    ):
        subprocess.run(["git", *settings, *arguments], cwd=folder, check=True)


def cruft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "cruft", *arguments],
        cwd=folder,
        env=os.environ | home,
        capture_output=True,
        text=True,
    )


def test_a_project_takes_over_what_changes_in_the_template(template: Path, tmp_path: Path) -> None:
    made = cruft(tmp_path, "create", str(template), "--no-input")
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    project = tmp_path / "flight-delays"
    assert not (project / ".git").exists()
    commit(project)

    extensions = template / "local_extensions.py"
    newer = extensions.read_text().replace('"slug": slug,', '"slug": slug, "shout": str.upper,')
    extensions.write_text(newer)
    page = template / "{{cookiecutter.project_slug}}" / "docs" / "responsibilities.md"
    page.write_text(page.read_text() + "\n{{ cookiecutter.project_name | shout }}\n")
    commit(template)

    assert cruft(project, "check").returncode == 1
    updated = cruft(project, "update", "--skip-apply-ask")
    assert updated.returncode == 0, updated.stderr
    assert (project / "docs" / "responsibilities.md").read_text().endswith("\nFLIGHT DELAYS\n")
    assert not list(project.rglob("*.rej"))
    assert cruft(project, "check").returncode == 0


def test_bad_answers_are_refused_without_a_traceback(template: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = cruft(
        tmp_path,
        "create",
        str(template),
        "--no-input",
        "--extra-context",
        '{"project_slug": "../x"}',
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("project_slug: '../x' is not valid. ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_project_in_a_monorepo_keeps_its_folder_when_it_is_updated(
    template: Path, tmp_path: Path
) -> None:
    monorepo = tmp_path / "monorepo"
    (monorepo / "models").mkdir(parents=True)
    commit(monorepo, "--allow-empty")
    answers = ("--no-input", "--output-dir", str(monorepo / "models"))
    made = cruft(monorepo, "create", str(template), *answers)
    assert made.stdout.splitlines()[-1].endswith(".github/workflows/model-models-flight-delays.yml")
    project = monorepo / "models" / "flight-delays"
    commit(monorepo)

    (workflow,) = (template / "{{cookiecutter.project_slug}}/.github/workflows").iterdir()
    workflow.write_text(workflow.read_text().replace("minutes: 30", "minutes: 31"))
    commit(template)

    updated = cruft(project, "update", "--skip-apply-ask")
    assert updated.returncode == 0, updated.stderr
    text = (project / ".github/workflows/ci.yml").read_text()
    assert "timeout-minutes: 31" in text
    assert "working-directory: models/flight-delays\n" in text
    assert not list(monorepo.rglob("*.rej"))


def test_no_empty_folder_stays_of_a_ci_that_was_not_chosen(template: Path, tmp_path: Path) -> None:
    made = cruft(
        tmp_path, "create", str(template), "--no-input", "--extra-context", '{"ci": "gitlab-ci"}'
    )
    assert made.returncode == 0, made.stderr
    assert not (tmp_path / "flight-delays" / ".github").exists()


def test_hostile_text_survives_create_check_and_update(template: Path, tmp_path: Path) -> None:
    answers = ("--extra-context", json.dumps(ANSWERED))
    made = cruft(tmp_path, "create", str(template), "--no-input", *answers)
    assert (made.returncode, made.stderr) == (0, "")
    project = tmp_path / ANSWERED["project_slug"]
    commit(project)
    assert mangled(project, ANSWERED) == [".cruft.json: too much"]
    assert cruft(project, "check").returncode == 0

    page = template / "{{cookiecutter.project_slug}}" / "docs" / "responsibilities.md"
    page.write_text(page.read_text() + "\n{{ cookiecutter.description | markdown }}\n")
    commit(template)
    updated = cruft(project, "update", "--skip-apply-ask")
    assert updated.returncode == 0, updated.stderr
    shown = (project / "docs" / "responsibilities.md").read_text("utf-8").splitlines()
    assert shown[-1] == local_extensions.markdown(ANSWERED["description"])
    assert mangled(project, ANSWERED) == ["docs/responsibilities.md", ".cruft.json: too much"]
    assert cruft(project, "check").returncode == 0


def test_an_existing_folder_is_left_alone_and_one_line_says_so(
    template: Path, tmp_path: Path
) -> None:
    (tmp_path / "flight-delays").mkdir()
    (tmp_path / "flight-delays" / "mine").touch()
    done = cruft(tmp_path, "create", str(template), "--no-input")
    assert done.returncode == 1
    assert done.stdout + done.stderr == 'Error: "flight-delays" directory already exists\n'
    assert [path.name for path in (tmp_path / "flight-delays").iterdir()] == ["mine"]
