"""`make release`: what it refuses, and what a release is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import local_extensions
from scripts import packer
from tests.conftest import TEMPLATE, as_cloned

PRESENT = local_extensions.library_version()
VERSION = "7.0.0"
TAG = f"v{VERSION}"
HEADING = f"## [{VERSION}] - 2026-11-30"
LOCKS = "{{cookiecutter.project_slug}}/*poetry.lock*"


def git(folder: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", "-C", str(folder), *arguments], text=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "chore: change", "--no-verify")


def release(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.release", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def refusals(folder: Path, *arguments: str) -> list[str]:
    """The lines of a refused release, which makes no wheel and no tag."""
    tags = git(folder, "tag")
    done = release(folder, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert git(folder, "tag") == tags
    assert not (folder / "dist").exists()
    return done.stderr.splitlines()


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")


def change_version(folder: Path, before: str, after: str) -> None:
    """Write another version into all that has to name it, and commit."""
    change(folder / "CHANGELOG.md", f"## [{before}] -", f"## [{after}] -")
    change(folder / "pyproject.toml", f'"{before}"', f'"{after}"')
    for lock in folder.glob(LOCKS):
        change(lock, f'"ml-ready"\nversion = "{before}"', f'"ml-ready"\nversion = "{after}"')
        change(lock, f"ml_ready-{before}-py3", f"ml_ready-{after}-py3")
    commit(folder)


def make_repository(folder: Path) -> Path:
    """Make a repository whose one commit is ready for a release."""
    shutil.copytree(as_cloned(), folder)
    text = (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = f"## [{PRESENT}] - 2026-11-30"
    (folder / "CHANGELOG.md").write_text(re.sub("^## .*$", heading, text, count=1, flags=re.M))
    git(folder, "init", "--quiet", "--initial-branch", "main")
    identify(folder)
    change_version(folder, PRESENT, VERSION)
    return folder


def identify(folder: Path) -> None:
    for name, text in {"user.name": "Ada", "user.email": "ada@example.com"}.items():
        git(folder, "config", name, text)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository to clone, or to be refused."""
    return make_repository(tmp_path_factory.mktemp("origin") / "template")


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    """A clone to release from."""
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(origin), str(folder))
    identify(folder)
    return folder


def test_a_release_is_the_wheel_of_the_commit_and_its_tag(
    origin: Path, clone: Path, tmp_path: Path
) -> None:
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (clone / ".venv/bin/python").chmod(0o755)
    (clone / ".venv/.installed-by-make").touch()
    make = ["make", "--silent", "release", f"VERSION={VERSION}"]
    printed = subprocess.check_output(make, cwd=clone, text=True)
    (wheel,) = (clone / "dist").iterdir()
    assert wheel.read_bytes() == packer.pack(tmp_path, origin).read_bytes()
    assert git(clone, "cat-file", "-t", TAG) == "tag\n"
    assert git(clone, "rev-parse", f"{TAG}^{{commit}}") == git(clone, "rev-parse", "HEAD")
    assert git(clone, "ls-remote", "--tags", "origin") == ""
    assert git(clone, "status", "--porcelain") == ""
    first, last = printed.splitlines()
    assert re.fullmatch(rf"dist/{re.escape(wheel.name)}  sha256:[0-9a-f]{{64}}", first)
    assert last == f"To publish it: git push origin {TAG}"
    shutil.rmtree(clone / "dist")
    assert refusals(clone, VERSION) == [
        f"the tag {TAG} exists, expected none: choose the next version,"
        f" or type `git tag --delete {TAG}` if nobody has it"
    ]
    del make[-1]
    done = subprocess.run(make, cwd=clone, capture_output=True, text=True)
    assert done.stderr.startswith("VERSION is '', expected three numbers: type `make release VERS")


@pytest.mark.parametrize("version", ["", "7.0", "v7.0.0", "07.0.0", "7.0.0-rc.1", "7.0.0\n"])
def test_what_is_no_version_is_refused(version: str, origin: Path) -> None:
    (line,) = refusals(origin, version)
    assert line.startswith(f"VERSION is {version!r}, expected three numbers: type `make release ")


def test_another_version_is_refused_by_all_that_name_one(origin: Path) -> None:
    project, changelog, *locks = refusals(origin, "9.8.0")
    assert project == (
        f"pyproject.toml: version is {VERSION}, expected 9.8.0: change it, then type `make lock`"
    )
    assert changelog == (
        f"CHANGELOG.md: the first section with entries is `{HEADING}`,"
        " expected `## [9.8.0] - YYYY-MM-DD`: rename it"
    )
    assert len(locks) == len(list(origin.glob(LOCKS)))
    assert all(
        f"ml-ready has ml_ready-{VERSION}-py3-none-any.whl, version {VERSION}, expected"
        " ml_ready-9.8.0-py3-none-any.whl, version 9.8.0: type `make lock`" in line
        for line in locks
    )


@pytest.mark.parametrize(
    "heading",
    [
        "## Unreleased",
        f"## [{VERSION}]",
        f"## {VERSION} - 2026-11-30",
        f"## [{VERSION}] - soon",
        f"## [{VERSION}] - 2026-99-99",
        "## [0.1.0] - 2026-11-30",
        f"## Unreleased\n\n### Added\n\n- Later.\n\n{HEADING}",
        f"## Unreleased\n\n* Later.\n\n{HEADING}",
        f"{HEADING}\n\n## Unreleased",
    ],
)
def test_a_changelog_without_entries_of_the_version_is_refused(heading: str, clone: Path) -> None:
    change(clone / "CHANGELOG.md", HEADING, heading)
    commit(clone)
    (line,) = refusals(clone, VERSION)
    assert line.startswith("CHANGELOG.md: the first section with entries is `## ")
    assert line.endswith(f"`, expected `## [{VERSION}] - YYYY-MM-DD`: rename it")


def test_an_empty_section_for_the_next_version_is_no_fault(clone: Path) -> None:
    change(clone / "CHANGELOG.md", HEADING, f"## Unreleased\n\n{HEADING}")
    commit(clone)
    assert release(clone, VERSION).returncode == 0


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (f'"ml-ready"\nversion = "{VERSION}"', '"ml-ready"\nversion = "0.1.9"', "version 0.1.9, "),
        (f"ml_ready-{VERSION}-py3", f"ml_ready-{VERSION}-py2", "has ml_ready-.*-py2-none-any.whl,"),
        (
            '"pandera[polars] (',
            '"pandera (',
            r"has train: pandera>=\S+, expected train: pandera\[polars\]>=",
        ),
        ('\nload = ["', '\nloads = ["', "has loads: locust>=.*, expected load: locust>="),
        ("\nlocust = {version", "\nanyio = {version", "has anyio, expected locust:"),
        ('name = "ml-ready"', 'name = "ml-other"', f"has nothing, .*, version {VERSION}"),
    ],
)
def test_a_lock_that_differs_is_refused(before: str, after: str, fault: str, clone: Path) -> None:
    lock = min(clone.glob(LOCKS))
    change(lock, before, after)
    commit(clone)
    (line,) = refusals(clone, VERSION)
    assert line.startswith(f"{lock.name}: ml-ready has ")
    assert re.search(fault, line)
    assert line.endswith(": type `make lock`")


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ('"polars>=', '"polars!=3,>=', "serve: polars>=.*, expected serve: polars!=3,>="),
        (
            "'win32'",
            "'darwin'",
            "serve: uvloop>=.*'win32', expected serve: uvloop>=.*'darwin':",
        ),
        ("\n[project.opt", 'dependencies = ["anyio>=4"]\n[project.opt', "nothing, expected anyio:"),
    ],
)
def test_a_requirement_that_no_lock_knows_is_refused(
    before: str, after: str, fault: str, clone: Path
) -> None:
    change(clone / "pyproject.toml", before, after)
    commit(clone)
    lines = refusals(clone, VERSION)
    assert len(lines) == len(list(clone.glob(LOCKS)))
    assert all(re.search(f"ml-ready has {fault}", line) for line in lines)


@pytest.mark.parametrize("name", ["README.md", "src/ml_ready/new.py"])
def test_a_change_that_is_not_committed_is_refused(name: str, clone: Path) -> None:
    (clone / name).write_text("changed")
    assert refusals(clone, VERSION) == [
        f"{name} is not committed, expected a clean working tree: commit or remove it"
    ]


def test_a_file_that_git_ignores_gets_into_no_wheel(clone: Path) -> None:
    (clone / "src/ml_ready/.mypy_cache").mkdir()
    (clone / "src/ml_ready/.mypy_cache/types.json").touch()
    (line,) = refusals(clone, VERSION)
    assert line.startswith("src/ml_ready: the wheel of this folder differs from that of the commit")
    assert line.endswith(": remove what `git status --ignored src` lists")


def test_a_refusal_of_git_is_one_line(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(clone.parent)}
    command = [sys.executable, "-m", "scripts.release", VERSION]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("git status: fatal: not a git repository")


def test_the_check_of_a_tag_prints_its_entries(clone: Path) -> None:
    git(clone, "tag", TAG)
    done = release(clone, "--check", VERSION)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("### ")
    assert f"\n{done.stdout}" in (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    assert not (clone / "dist").exists()


@pytest.mark.parametrize(
    ("tags", "fault"), [([], "the tag of HEAD is missing"), (["v0.1.0"], "the tag of HEAD is v0.1")]
)
def test_the_check_of_a_commit_without_the_tag_is_red(
    tags: list[str], fault: str, clone: Path
) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "fix: one more")
    git(clone, "tag", TAG, "HEAD~")
    for tag in tags:
        git(clone, "tag", tag)
    (line,) = refusals(clone, "--check", VERSION)
    assert line.startswith(fault)
    assert line.endswith(f", expected {TAG}: check out {TAG}")


def test_a_patch_that_removes_public_names_is_refused(clone: Path) -> None:
    source = clone / "src/ml_ready"
    (source / "emptied.py").write_text("def function() -> None: ...\n")
    commit(clone)
    git(clone, "tag", TAG)
    (source / "py.typed").unlink()
    (source / "__main__.py").unlink()
    (source / "emptied.py").write_text("")
    change(source / "artifact.py", "def read_model(", "def read_models(")
    change(source / "artifact.py", "\nFORMAT =", "\nFORMATS =")
    change(source / "artifact.py", "def _present(", "def _turn(")
    change(source / "config.py", "    keys: ", "    columns: ")
    change(source / "errors.py", "self.remedy = ", "self.advice = ")
    change(source / "contract/__init__.py", "Column, Dtype", "Column as _Column, Dtype")
    change_version(clone, VERSION, "7.0.1")
    (line,) = refusals(clone, "7.0.1")
    assert line == (
        "ml_ready.artifact.FORMAT, ml_ready.artifact.read_model, ml_ready.config.Join.keys,"
        " ml_ready.contract.Column, ml_ready.emptied.function,"
        f" ml_ready.errors.ProjectError.remedy: removed since {TAG}, expected only fixes:"
        " bring it back, or release a minor version"
    )


def test_a_patch_without_the_version_before_is_refused(clone: Path) -> None:
    change_version(clone, VERSION, "7.0.1")
    assert refusals(clone, "7.0.1") == [
        f"the tag {TAG} is missing, expected the version before: type `git fetch --tags`"
    ]


@pytest.mark.parametrize("version", ["7.0.1", "7.1.0"])
def test_a_minor_version_may_remove_a_name_and_a_patch_add_one(version: str, clone: Path) -> None:
    git(clone, "tag", TAG)
    removed = version == "7.1.0"
    text = "def new() -> None: ...\n\n\ndef " if not removed else "def new_"
    change(clone / "src/ml_ready/artifact.py", "def ", text)
    change(clone / "src/ml_ready/artifact.py", "def _signature", "def _sign")
    change_version(clone, VERSION, version)
    done = release(clone, version)
    assert done.returncode == 0, done.stderr


def test_the_promise_names_what_the_code_has() -> None:
    page = (TEMPLATE / "docs/compatibility.md").read_text(encoding="utf-8")
    artifact = (TEMPLATE / "src/ml_ready/artifact.py").read_text(encoding="utf-8")
    workflow = yaml.safe_load((TEMPLATE / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    *pythons, last = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert f"\n{', '.join(pythons)} and {last}. CI runs the tests on each." in page
    (number,) = re.findall(r"^FORMAT = (\d+)$", artifact, re.MULTILINE)
    assert f"\n| file | format | {PRESENT.rpartition('.')[0]} |\n" in page
    assert f"\n| | {number} | read and written |\n" in page
