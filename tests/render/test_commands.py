"""What maintainers and CI type: make, the git hooks, and the rule that nothing is skipped in CI."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import TEMPLATE
from tests.project import engine


def test_make_lists_every_target() -> None:
    text = (TEMPLATE / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split()
    said = subprocess.check_output(["make", "--silent"], cwd=TEMPLATE, text=True)
    assert [line.split()[0] for line in said.splitlines()] == targets


def test_make_says_in_one_line_that_python_is_missing(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(TEMPLATE / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for name in ("make", "sh"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        ["make", "test"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Python: none of 3.11, 3.12, 3.13 is on the PATH; install one" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("message", "taken"),
    [
        ("feat: learn from weather", True),
        ("fix(inference)!: refuse NaN", True),
        ("Merge branch 'main'", True),
        ('Revert "feat: learn"', True),
        ("fixup! feat: learn", True),
        ("learn from weather", False),
        ("feat:learn", False),
        ("feature: learn", False),
        ("Fix: learn", False),
        ("update\n\nfeat: learn", False),
    ],
)
@pytest.mark.parametrize("template", [True, False])
def test_a_commit_message_follows_conventional_commits(
    message: str, taken: bool, template: bool, project: Path, tmp_path: Path
) -> None:
    folder = TEMPLATE if template else project
    hooks = yaml.safe_load((folder / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    hook = next(hook for hook in hooks if hook["id"] == "commit-message")
    (tmp_path / "message").write_text(message + "\n")
    command = [sys.executable, "-m", "pre_commit.languages.pygrep", *hook["args"], hook["entry"]]
    done = subprocess.run([*command, "message"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) is taken
    if not taken:
        assert done.stdout == f"message:1:{message.splitlines()[0]}\n"


def test_git_finds_the_tools_of_the_environment_that_is_not_activated(
    project: Path, tmp_path: Path
) -> None:
    repository = shutil.copytree(project, tmp_path / "a project")
    tool = repository / ".venv" / "bin" / "ruff"
    tool.parent.mkdir(parents=True)
    tool.write_text('#!/bin/sh\necho "its own ruff: $*"\nexit 1\n')
    tool.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run", "--all-files", "ruff-check"],
        cwd=repository,
        env=os.environ | {"PRE_COMMIT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "its own ruff: check --fix --force-exclude " in done.stdout, done.stdout


def run_in(
    folder: Path, environment: dict[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder under our conftest.py."""
    shutil.copy(TEMPLATE / "tests" / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    ours = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
        "PYTHONPATH": str(TEMPLATE),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment | ours,
        capture_output=True,
        text=True,
    )


def test_a_skip_is_a_failure_in_ci_only(tmp_path: Path) -> None:
    skip = "pytest.skip('no engine'"
    (tmp_path / "test_call.py").write_text(f"import pytest\n\ndef test_x():\n    {skip})\n")
    (tmp_path / "test_file.py").write_text(f"import pytest\n{skip}, allow_module_level=True)\n")
    (tmp_path / "test_mark.py").write_text(
        "import pytest\n\n@pytest.mark.skip(reason='no engine')\ndef test_x():\n    assert 0\n"
    )
    closing = {}
    for ci in ("", "true"):
        done = run_in(tmp_path, os.environ | {"CI": ci}, "--continue-on-collection-errors")
        closing[ci] = done.returncode, done.stdout.splitlines()[-1].split(" in ")[0].strip("= ")
        assert ci == "" or done.stdout.count("Skipped, which CI does not allow: ") >= 3, done.stdout
        assert ci or "3 skipped: no engine" in done.stdout.splitlines(), done.stdout
    assert closing == {"": (0, "3 skipped"), "true": (1, "1 failed, 2 errors")}


@pytest.mark.parametrize("inside", [True, False])
def test_the_image_that_others_are_built_on_goes_with_the_run_that_made_it(
    inside: bool, tmp_path: Path
) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\necho "$*" >> "$0.log"\n')
    docker.chmod(0o755)
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    environment = os.environ | {"PATH": f"{docker.parent}:{os.environ['PATH']}"}
    if not inside:
        del environment[engine.RUN]
    done = run_in(tmp_path, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    log = docker.with_name("docker.log")
    assert ("rmi ml-ready-base-" in log.read_text() if log.exists() else False) is not inside
