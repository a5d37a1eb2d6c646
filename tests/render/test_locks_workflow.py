"""The workflow that refreshes the locks, run step by step with a remote and a `gh` of its own."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from scripts import refresh_lock
from tests.conftest import TEMPLATE

JOBS = yaml.safe_load((TEMPLATE / ".github/workflows/locks.yml").read_text("utf-8"))["jobs"]
LOCKS = sorted(lock.relative_to(TEMPLATE).as_posix() for lock in refresh_lock.locks(TEMPLATE))
NEWER = "for lock in */*poetry.lock*; do echo '# newer' >>\"$$lock\"; done; echo >>Makefile"
GH = """\
#!/bin/sh -e
echo "$*" >>"$GH_CALLS"
case "$1 $2" in
  "run download") cp "$ARTIFACTS/$5"/* "$7" ;;
  "pr list") echo "$OPEN_CHANGES" ;;
esac
"""


class Runner:
    """GitHub's part: a remote, a machine a job, artifacts that go from one job to the next."""

    def __init__(self, folder: Path, lock: str, suite: str) -> None:
        self.folder, self.calls, self.remote = folder, folder / "calls", folder / "remote"
        for name in ("home", "bin", "artifacts"):
            (folder / name).mkdir()
        (folder / "bin" / "gh").write_text(GH)
        (folder / "bin" / "gh").chmod(0o755)
        self.calls.touch()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "GH_CALLS": str(self.calls),
            "ARTIFACTS": str(folder / "artifacts"),
            "OPEN_CHANGES": "0",
            "GITHUB_RUN_ID": "7",
            "GITHUB_REPOSITORY": "example/template",
            "GITHUB_SERVER_URL": "https://github.example",
        }
        source = folder / "source"
        for name, text in {
            "Makefile": f"lock:\n\ttest '$(ARGS)' = --regenerate && {lock}\n",
            ".ci/run": f"#!/bin/sh\nexec {suite}\n",
            **dict.fromkeys(LOCKS, "# a lock\n"),
        }.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_text(text)
        (source / ".ci/run").chmod(0o755)
        self.git("init", "--quiet", "--initial-branch", "main", str(source))
        self.git("-C", str(source), "add", "--all")
        author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        self.git("-C", str(source), *author, "commit", "--quiet", "--message", "feat: start")
        self.git("clone", "--quiet", "--bare", str(source), str(self.remote))

    def git(self, *arguments: str) -> str:
        return subprocess.check_output(["git", *arguments], env=self.environment, text=True)

    def run(self) -> list[str]:
        """Run the jobs, and return the names of those that are green."""
        green: list[str] = []
        for name, job in JOBS.items():
            needed = [job["needs"]] if "needs" in job else []
            if all(each in green for each in needed) and self.green(name, job):
                green.append(name)
        return green

    def green(self, name: str, job: dict[str, Any]) -> bool:
        folder, temporary = self.folder / name, self.folder / f"{name}-temporary"
        temporary.mkdir()
        environment = {**self.environment, "RUNNER_TEMP": str(temporary)}
        for step in job["steps"]:
            action = step.get("uses", "").partition("@")[0]
            if action == "actions/checkout":
                self.git("clone", "--quiet", str(self.remote), str(folder))
            elif action == "actions/upload-artifact":
                path = step["with"]["path"].replace("${{ runner.temp }}", str(temporary))
                kept = self.folder / "artifacts" / step["with"]["name"]
                kept.mkdir()
                shutil.copy(path, kept)
            elif not action:
                command = ["bash", "-e", "-c", step["run"]]
                if subprocess.run(command, cwd=folder, env=environment).returncode:
                    return False
            else:
                assert action == "actions/setup-python"
        return True

    def proposed(self) -> list[str]:
        """The calls that opened a change."""
        return [line for line in self.calls.read_text().splitlines() if "pr create" in line]

    def branches(self) -> list[str]:
        return self.git("-C", str(self.remote), "branch", "--format=%(refname:short)").split()


def test_newer_locks_are_proposed_once_the_suite_is_green(tmp_path: Path) -> None:
    runner = Runner(tmp_path, NEWER, suite="true")
    assert runner.run() == ["refresh", "propose"]
    (call,) = runner.proposed()
    assert "--head refresh-locks --title build: lock the newest packages" in call
    assert "https://github.example/example/template/actions/runs/7" in call
    changed = runner.git(
        *("-C", str(runner.remote), "-c", "core.quotePath=false"),
        *("diff", "--name-only", "main", "refresh-locks"),
    )
    assert changed.splitlines() == LOCKS


def test_a_red_suite_proposes_nothing(tmp_path: Path) -> None:
    runner = Runner(tmp_path, NEWER, suite="false")
    assert runner.run() == []
    assert runner.calls.read_text() == ""
    assert runner.branches() == ["main"]


def test_a_lock_that_cannot_be_made_proposes_nothing(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "false", suite="true")
    assert runner.run() == []
    assert runner.branches() == ["main"]


def test_locks_that_are_the_newest_propose_nothing(tmp_path: Path) -> None:
    runner = Runner(tmp_path, "true", suite="true")
    assert runner.run() == ["refresh", "propose"]
    assert runner.proposed() == []
    assert runner.branches() == ["main"]


def test_a_change_that_is_open_gets_the_newer_locks(tmp_path: Path) -> None:
    runner = Runner(tmp_path, NEWER, suite="true")
    runner.git("-C", str(runner.remote), "branch", "refresh-locks")
    runner.environment["OPEN_CHANGES"] = "1"
    assert runner.run() == ["refresh", "propose"]
    assert runner.proposed() == []
    said = runner.git("-C", str(runner.remote), "log", "--format=%s", "refresh-locks")
    assert said.splitlines() == ["build: lock the newest packages", "feat: start"]


def test_the_job_that_runs_packages_of_others_may_write_nothing() -> None:
    assert JOBS["refresh"]["permissions"] == {"contents": "read"}
    assert "token" not in str(JOBS["refresh"]).lower()
