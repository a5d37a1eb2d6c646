"""The workflow that releases a tag, run step by step with a remote, a `gh` and an index."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from scripts import packer, refresh_lock
from tests.conftest import TEMPLATE, as_cloned
from tests.render.test_release import PRESENT, TAG, VERSION, git, make_repository

JOBS = yaml.safe_load((TEMPLATE / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]
WHEEL = f"ml_ready-{VERSION}-py3-none-any.whl"
GH = """\
#!/bin/sh -e
test "$GH_TOKEN" = token
case "$1 $2" in
  "run download") cp -r "$STORE/$5" "$7" ;;
  "release create") mkdir "$STORE/$3" && cp dist/* "$RUNNER_TEMP/notes.md" "$STORE/$3" ;;
  "release download") mkdir "$7" && cp "$STORE/$3"/$5 "$7" ;;
esac
"""
# What pip would install is in this environment.
PYTHON = f"""\
#!/bin/sh
test "$*" = "-m pip install --quiet --group release" || exec {sys.executable} "$@"
"""


class Runner:
    """GitHub's part: a remote with a tag, a machine per job, files that go from job to job."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.remote, self.store = folder, folder / "remote", folder / "store"
        make_repository(self.remote)
        git(self.remote, "tag", TAG)
        self.values = {"github.token": "token", "vars.INDEX_URL": ""}
        self.attested: list[str] = []
        self.store.mkdir()
        (folder / "bin").mkdir()
        for name, text in {"gh": GH, "python3": PYTHON}.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def run(self, *names: str) -> list[str]:
        """Run jobs until one is red; return those that ran green."""
        green = []
        for name in names:
            condition = JOBS[name].get("if")
            assert condition in (None, "vars.INDEX_URL != ''")
            if condition and not self.values["vars.INDEX_URL"]:
                continue
            if not self.run_job(name):
                break
            green.append(name)
        return green

    def run_job(self, name: str) -> bool:
        folder, temporary = self.folder / name, self.folder / f"{name}-temporary"
        temporary.mkdir()
        git(self.folder, "clone", "--quiet", "--branch", TAG, str(self.remote), str(folder))
        for step in JOBS[name]["steps"]:
            match step.get("uses", "").partition("@")[0]:
                case "":
                    variables = JOBS[name].get("env", {}) | step.get("env", {})
                    environment = os.environ | {
                        "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                        "STORE": str(self.store),
                        "RUNNER_TEMP": str(temporary),
                        "GITHUB_REF_NAME": TAG,
                        "GITHUB_RUN_ID": "7",
                        **{key: self.fill_in(text) for key, text in variables.items()},
                    }
                    command = ["bash", "-e", "-c", step["run"]]
                    if subprocess.run(command, cwd=folder, env=environment).returncode:
                        return False
                case "actions/upload-artifact":
                    shutil.copytree(
                        folder / step["with"]["path"], self.store / step["with"]["name"]
                    )
                case "actions/attest":
                    self.attest(folder, temporary, step["with"])
                case action:
                    assert action in ("actions/checkout", "actions/setup-python")
        return True

    def fill_in(self, text: str) -> str:
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda match: self.values[match[1]], text)

    def attest(self, folder: Path, temporary: Path, inputs: dict[str, str]) -> None:
        """Refuse what the action refuses; leave a bundle where it leaves one."""
        (wheel,) = folder.glob(inputs["subject-path"])
        kind = "provenance"
        if "sbom-path" in inputs:
            content = json.loads((folder / inputs["sbom-path"]).read_text())
            assert content["bomFormat"] == "CycloneDX"
            assert content["specVersion"]
            assert content["serialNumber"]
            kind = "SBOM"
        self.attested.append(f"{kind} of {wheel.name}")
        bundle = temporary / f"{kind}.json"
        bundle.write_text(json.dumps({"bundle": kind}) + "\n")
        with (temporary / "created_attestation_paths.txt").open("a") as paths:
            paths.write(f"{bundle}\n")


class Index(HTTPServer):
    """A package index on this machine that keeps what is uploaded, and by whom."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Upload)
        self.uploads: list[tuple[str, bytes]] = []


class Upload(BaseHTTPRequestHandler):
    """Takes what twine sends."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Index)
        content = self.rfile.read(int(self.headers["Content-Length"]))
        user = base64.b64decode(self.headers["Authorization"].split()[1]).decode()
        self.server.uploads.append((user, content))
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_tag_becomes_a_release_and_an_index_gets_it_if_there_is_one(
    tmp_path: Path, index: Index
) -> None:
    runner = Runner(tmp_path)
    assert runner.run(*JOBS) == ["build", "release"]
    assert runner.attested == [f"provenance of {WHEEL}", f"SBOM of {WHEEL}"]
    released = runner.store / TAG
    assert {each.name for each in released.iterdir()} == {
        *(WHEEL, "sbom.cdx.json", "attestations.jsonl", "notes.md")
    }
    wheel = packer.pack(tmp_path / "packed", runner.remote).read_bytes()
    assert (released / WHEEL).read_bytes() == wheel
    assert (released / "notes.md").read_text().startswith("### ")
    bundles = (released / "attestations.jsonl").read_text().splitlines()
    assert [json.loads(bundle)["bundle"] for bundle in bundles] == ["provenance", "SBOM"]
    address = f"http://127.0.0.1:{index.server_port}/"
    runner.values |= {"vars.INDEX_URL": address}
    runner.values |= {"secrets.INDEX_USERNAME": "ada", "secrets.INDEX_PASSWORD": "secret"}
    assert runner.run("publish") == ["publish"]
    ((user, content),) = index.uploads
    assert user == "ada:secret"
    assert wheel in content


def test_the_sbom_lists_what_the_extras_install_as_locked(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    subprocess.run([sys.executable, "scripts/sbom.py", file], cwd=as_cloned(), check=True)
    content = json.loads(file.read_text())
    assert content["metadata"]["component"]["name"] == "ml-ready"
    assert content["metadata"]["component"]["version"] == PRESENT
    components = {(each["name"], each["version"]): each for each in content["components"]}
    lock = min(refresh_lock.locks(TEMPLATE))
    locked = {(each["name"], each["version"]) for each in refresh_lock.packages(lock).values()}
    assert components.keys() < locked
    names = {name for name, _ in components}
    # The first is needed by an extra, the second by a package of one; the others by projects only.
    assert names >= {"pandera", "typeguard"}
    assert not names & {"ml-ready", "ruff", "dvc"}
    assert all(
        "hashes" in reference
        for each in components.values()
        for reference in each["externalReferences"]
        if reference["type"] == "distribution"
    )


def test_a_tag_that_the_changelog_does_not_know_is_not_released(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    changelog = runner.remote / "CHANGELOG.md"
    changelog.write_text(re.sub("^## .*$", "## Unreleased", changelog.read_text(), flags=re.M))
    git(runner.remote, "commit", "--quiet", "--all", "--message", "docs: forget the version")
    git(runner.remote, "tag", "--force", TAG)
    assert runner.run(*JOBS) == []
    assert list(runner.store.iterdir()) == []


def test_a_wheel_that_cannot_be_packed_again_is_not_released(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    (runner.store / "dist").mkdir()
    (runner.store / "dist" / WHEEL).write_bytes(b"something else")
    assert runner.run("release", "publish") == []
    assert runner.attested == []
    assert not (runner.store / TAG).exists()


def test_the_job_that_runs_packages_of_others_may_write_nothing() -> None:
    assert JOBS["build"]["permissions"] == JOBS["publish"]["permissions"] == {"contents": "read"}
    assert "token" not in str(JOBS["build"]).lower()
    steps = [step.get("run", "") for step in JOBS["release"]["steps"]]
    assert not any("pip" in step for step in steps)
