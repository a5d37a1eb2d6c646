"""A bake ends in a repository with one commit, whatever git is set to, and in two commands."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.render import gates


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=folder, text=True).strip()


def test_the_author_of_the_answers_makes_the_first_commit(bake: Bake) -> None:
    project = bake(author_name='Zoë "Z" O\'Neil 🚀', author_email="zoe@example.com")
    said = git(project, "log", "--format=%an <%ae> %cn | %s")
    assert said == (
        'Zoë "Z" O\'Neil 🚀 <zoe@example.com> Zoë "Z" O\'Neil 🚀'
        " | feat: start from the ml-ready template"
    )
    assert git(project, "branch", "--show-current") == "main"
    assert git(project, "status", "--porcelain", "--ignored") == ""
    assert not re.search(
        "user|safe|excludes|attributes", git(project, "config", "--local", "--list")
    )


def test_the_users_git_settings_do_not_interfere(
    bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "git" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "commit-msg"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    (tmp_path / "git" / "ignore").write_text("*.parquet\n/conf\n")
    (tmp_path / ".gitconfig").write_text(
        "[commit]\n gpgSign = true\n[gpg]\n program = false\n[init]\n defaultBranch = old\n"
        f" templateDir = {tmp_path / 'git'}\n[core]\n hooksPath = {hooks}\n"
        f" excludesFile = {tmp_path / 'git' / 'ignore'}\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    project = bake()
    monkeypatch.delenv("GIT_DIR")
    assert len(git(project, "ls-files").splitlines()) == len(gates.files(project))
    assert git(project, "branch", "--show-current") == "main"
    assert not (tmp_path / "elsewhere").exists()


def test_inside_a_git_work_tree_no_repository_is_nested(bake: Bake, tmp_path: Path) -> None:
    monorepo = tmp_path / "mono repo"
    monorepo.mkdir()
    git(monorepo, "init", "--quiet")
    project = bake(monorepo / "models")
    assert not (project / ".git").exists()
    assert gates.files(project)


def test_without_git_the_project_stands_and_one_line_says_so(
    bake: Bake, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    project = bake()
    assert (project / "pyproject.toml").is_file()
    assert capfd.readouterr().out.splitlines()[0] == (
        "No first commit: git is not on the PATH. Then type: git init && git add . && git commit"
    )


def test_a_commit_that_fails_is_said_in_one_line(
    bake: Bake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho warming up >&2\necho disk full >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent), prepend=os.pathsep)
    bake()
    assert (
        capfd.readouterr()
        .out.splitlines()[0]
        .startswith("No first commit: `git init` said: disk full. ")
    )


def test_the_next_two_commands_are_all_that_is_said(
    bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stand = tmp_path / "where I stand"
    stand.mkdir()
    monkeypatch.setenv("PWD", str(stand))
    for into in (stand, stand / "it's here", tmp_path / "beside"):
        project = bake(into)
        out, err = capfd.readouterr()
        first, second = out.splitlines()
        assert err == ""
        assert second == ".venv/bin/poe pipeline"
        goto, bootstrap = first.split(" && ")
        assert bootstrap == "python3 bootstrap.py"
        assert (stand / shlex.split(goto)[1]).samefile(project)
    assert goto == "cd ../beside/flight-delays"


def test_the_rendered_hook_is_not_left_in_the_temporary_folder(
    bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "temporary"
    left.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(left))
    bake()
    assert list(left.iterdir()) == []
