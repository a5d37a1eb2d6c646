"""Every command of the project's README, run verbatim in the order of the text."""

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import polars as pl
import pytest

from tests.project import engine, readme
from tests.project.conftest import ANSWERS, Project, install

CHOICES = f"{ANSWERS['task']}-{ANSWERS['framework']}"
SERVERS = {"poe serve": "http://127.0.0.1:8080/ping", "poe ui": "http://127.0.0.1:5000/health"}
FILLED_IN = {"python3 bootstrap.py poetry add NAME": "python3 bootstrap.py poetry add idna"}
ELSEWHERE = {"dvc pull": "test_clone.py, in the fresh clone that the text speaks of"}
# A job of test_ci.py runs each of them.
IN_CI = dict.fromkeys(
    ("poe test-unit", "poe test-module", "poe test-integration", "poe test-e2e"),
    "poe test, below it, runs the tests",
)


def label(project: Project) -> str:
    """What the images bear that the commands of the README build."""
    return f"{engine.RUN}={project.root}"


@pytest.fixture(scope="module")
def installed(user: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as `bootstrap.py` leaves it: its README installs more."""
    return install(tmp_path_factory.mktemp("readme"), ANSWERS, user)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with each command, what it printed, and how long all took."""
    return tmp_path_factory.mktemp("readme")


@pytest.fixture(scope="module")
def said(installed: Project, record: Path, turn: filelock.BaseFileLock) -> dict[str, str]:
    """What each command of the README printed in the project that was installed."""
    browser = record / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >>{record}/addresses\n')
    browser.chmod(0o755)
    options = f"{installed.environment.get('IMAGE_OPTIONS', '')} --label {label(installed)}"
    environment = {**installed.environment, "BROWSER": f"{browser} %s", "IMAGE_OPTIONS": options}
    del environment["PYTEST_XDIST_AUTO_NUM_WORKERS"]
    shell = readme.Shell(installed.root, environment, record)
    text = (installed.root / "README.md").read_text()
    ran = list(readme.run(text, shell, SERVERS, FILLED_IN, ELSEWHERE | IN_CI, turn))
    times = [f"{each.seconds:6.1f} s  {each.step.text.strip()[:70]!r}\n" for each in ran]
    (record / "times").write_text("".join(times))
    return {each.step.text.strip(): each.output for each in ran}


def answer(said: dict[str, str], beginning: str) -> str:
    """What the one command that begins like this printed."""
    (found,) = (output for text, output in said.items() if text.startswith(beginning))
    return found


@pytest.fixture(scope="module")
def prose(installed: Project) -> str:
    """The text of the README, in one line."""
    return " ".join((installed.root / "README.md").read_text().split())


@pytest.mark.parametrize("choices", [CHOICES])
def test_every_command_works_verbatim(choices: str, said: dict[str, str]) -> None:
    commands = "\n".join(said)
    for task in ("check", "pipeline", "serve", "predict", "test", "report", "ui"):
        assert re.search(rf"^poe {task}\b", commands, re.MULTILINE), commands


def test_jobs_pipeline_and_spark_run_as_on_sagemaker(said: dict[str, str]) -> None:
    assert re.search(r"\d passed", said["poe test-sagemaker"])
    if not engine.answers():
        pytest.skip(engine.NONE)
    assert "skipped" not in said["poe test-sagemaker"]


def test_the_images_of_the_tests_go_with_them(said: dict[str, str], installed: Project) -> None:
    if not engine.answers():
        pytest.skip(engine.NONE)
    assert "no container engine answers" not in said["poe test"]
    assert engine.labelled(label(installed)) == set()


def test_bootstrap_has_nothing_to_do_a_second_time(said: dict[str, str]) -> None:
    assert "All is in place" in answer(said, "python3 bootstrap.py\n")


def test_the_flight_of_the_readme_gets_a_probability_and_a_label(said: dict[str, str]) -> None:
    (prediction,) = json.loads(answer(said, "curl"))["predictions"]
    assert prediction.keys() == {"probability", "label"}
    assert 0 < prediction["probability"] < 1
    assert prediction["label"] in (0, 1)


def test_every_record_of_the_file_is_scored(said: dict[str, str], installed: Project) -> None:
    assert "rows written to predictions.parquet" in answer(said, "poe predict")
    scored = pl.read_parquet(installed.root / "predictions.parquet")
    assert scored.height == pl.read_parquet(installed.root / "data/raw/records.parquet").height
    assert scored["probability"].is_between(0, 1).all()


def test_the_browser_opens_the_report_and_the_pages(said: dict[str, str], record: Path) -> None:
    assert {"poe report", "ml-ready docs"} <= said.keys()
    report, page = (record / "addresses").read_text().split()
    assert report.startswith("file:///")
    assert report.endswith("/reports/index.html")
    assert "<h1>What ml-ready does" in Path(page.removeprefix("file://")).read_text()


def assert_promises_kept(task: str, text: str, measured: dict[str, Any]) -> None:
    """Hold the numbers that a README names against those that were measured."""
    prose = " ".join(text.split())
    gain = {name: each["value"] for name, each in measured["gain"].items()}
    if task == "classification":
        pattern = r"a ROC-AUC of (0\.\d\d); hour and airline alone give (0\.\d\d)"
        reached = measured["roc_auc"]
        values = [reached, reached - gain["few_feature_linear"]]
        assert "Trees are no better here than a linear model on all features" in prose
        assert measured["gain"]["full_linear"]["low"] <= 0
        tolerance = 0.01
    else:
        pattern = r"loss of ([\d.]+) minutes; hour and airline alone give ([\d.]+), and a constant"
        pattern += r" ([\d.]+)\."
        reached = measured["loss"]
        rivals = (gain["few_feature_linear"], gain["constant"])
        values = [reached, *(reached / (1 - each) for each in rivals)]
        assert "Trees are hardly better here than a linear model on all features" in prose
        assert measured["gain"]["full_linear"]["low"] <= 0.02
        tolerance = 0.1
    promised = re.search(pattern, prose)
    assert promised, prose
    assert [float(each) for each in promised.groups()] == pytest.approx(values, abs=tolerance)


def test_the_quality_that_is_promised_is_reached(said: dict[str, str], installed: Project) -> None:
    text = (installed.root / "README.md").read_text()
    measured = json.loads((installed.root / "reports/metrics.json").read_text())["test"]
    assert_promises_kept("classification", text, measured)


@pytest.mark.parametrize("promise", ["0.70", "0.62", "no better here"])
def test_a_promise_that_is_not_kept_is_found(
    said: dict[str, str], installed: Project, promise: str
) -> None:
    text = (installed.root / "README.md").read_text()
    measured = json.loads((installed.root / "reports/metrics.json").read_text())["test"]
    with pytest.raises(AssertionError):
        assert_promises_kept("classification", text.replace(promise, "0.75"), measured)


def test_the_sample_and_the_full_data_are_as_large_as_promised(
    said: dict[str, str], installed: Project, prose: str
) -> None:
    promised = re.search(r"holds ([\d,]+) of the ([\d,]+) flights", prose)
    assert promised, prose
    for folder, count in zip(("sample", "full"), promised.groups(), strict=True):
        flights = pl.scan_parquet(installed.root / "data" / folder / "flights.parquet")
        assert flights.select(pl.len()).collect().item() == int(count.replace(",", ""))


def test_git_holds_or_ignores_whatever_the_commands_wrote(
    said: dict[str, str], installed: Project
) -> None:
    left = installed.does("git ls-files --others --exclude-standard").split()
    assert left == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Type\n\n```sh\nno-such-command\n```\n", "line 3 of the README: no-such-command\n"),
        ("```sh\ntrue\nfalse\ntrue\n```\n", "exit status 1"),
        ("```sh\nls no-such-file\n```\n", "cannot access 'no-such-file'"),
        ("| what | how |\n|---|---|\n| nothing | `cat no-such-file` |\n", "line 3 of the README"),
        ("```sh\ncd sub\ntest $PWD = elsewhere\n```\n", "exit status 1"),
        ("```sh\nserve\n```\n", "not found\nno answer at"),
        ("Type `other`.\n", "not in the README any more: serve"),
    ],
)
def test_a_wrong_command_is_found(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    shell = readme.Shell(tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path)
    turn = filelock.FileLock(tmp_path / "turn")
    with pytest.raises(readme.ReadmeError, match=re.escape(line)):
        list(readme.run(text, shell, {"serve": "http://127.0.0.1:9/ping"}, {}, {}, turn))


@pytest.fixture
def serve(tmp_path: Path) -> tuple[str, str]:
    """A command that serves the folder of the test, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"{sys.executable} -m http.server --bind 127.0.0.1 {port}", f"http://127.0.0.1:{port}"


def read(command: str, address: str, folder: Path) -> list[readme.Ran]:
    """Run a README that starts a server, asks it in the same section, and goes on in another."""
    ask = f"curl --silent --output /dev/null {address}"
    text = f"# A\n```sh\n{command}\n```\n```sh\n{ask}\n```\n# B\n```sh\n! {ask}\n```\n"
    shell = readme.Shell(folder, {"PATH": "/usr/bin:/bin"}, folder)
    turn = filelock.FileLock(folder / "turn")
    return list(readme.run(text, shell, {command: address}, {}, {}, turn))


def test_a_server_runs_until_its_section_ends(serve: tuple[str, str], tmp_path: Path) -> None:
    command, address = serve
    assert len(read(command, address, tmp_path)) == 3


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [("sleep 60 & ", "", "left a process behind"), ("", "; exit 3", "exit status 3 after Ctrl-C")],
)
def test_a_server_that_does_not_end_well_is_found(
    before: str, after: str, reason: str, serve: tuple[str, str], tmp_path: Path
) -> None:
    command, address = serve
    with pytest.raises(readme.ReadmeError, match=reason):
        read(f"{before}{command}{after}", address, tmp_path)
    assert not readme.answers(address)


def test_the_answer_of_another_server_does_not_count(
    serve: tuple[str, str], tmp_path: Path
) -> None:
    command, address = serve
    with subprocess.Popen([*command.split()], stderr=subprocess.DEVNULL) as other:
        while not readme.answers(address):
            time.sleep(0.05)
        with pytest.raises(readme.ReadmeError, match="something else answers"):
            read(command, address, tmp_path)
        other.kill()
