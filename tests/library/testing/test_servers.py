"""The fixtures of a project's tests: its data, its model, a training job, and servers."""

from pathlib import Path

import pytest
import synthetic
from ml_ready import testing

PROJECT = """
import tempfile
from pathlib import Path

import synthetic

PROJECT = synthetic.make(Path(tempfile.mkdtemp(dir={folder!r})) / "project")
"""
SERVE = """
import sys

from ml_ready.jobs import serve
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run
from planted_project import PROJECT

run(lambda where, arguments: serve.main(PROJECT, where, arguments), PROJECT.root)
"""
CONFTEST = """
import sys

import pytest


@pytest.fixture(scope="session")
def serve_command():
    return [sys.executable, {serve!r}]
"""
TESTS = """
import json
import signal

import httpx
import pytest


@pytest.mark.parametrize("start", ["process"], indirect=True)
def test_servers_start_on_the_port_asked_for_and_are_stopped(start, bodies, expected):
    first, url = start()
    answer = httpx.post(f"{url}/invocations", content=bodies[0], headers=JSON)
    assert answer.json()["predictions"] == [expected[0]]
    assert not first.proxied
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    port = int(url.rpartition(":")[2])
    _, again = start(port)
    assert again == url
    with pytest.raises(AssertionError, match="The server did not start: error: .*cannot listen"):
        start(port)


def test_a_training_job_finds_its_windows_and_hyperparameters(training_job, windows, tmp_path):
    training_job(tmp_path, model__max_iter="5")
    settings = tmp_path / "input" / "config" / "hyperparameters.json"
    assert json.loads(settings.read_text()) == {"model.max_iter": "5"}
    assert (tmp_path / "input" / "data" / "train" / "part-0.parquet").is_file()
    assert not (tmp_path / "input" / "data" / "test").exists()


def test_data_and_model_are_those_of_the_project(project, config, records, windows, model, known):
    assert records.height == 900
    assert known.columns == [column.name for column in project.inputs]
    assert config.seed == 7
    assert project.training.predict(model, windows["test"]).shape == (windows["test"].height,)


JSON = {"content-type": "application/json"}
"""


def test_the_fixtures_serve_the_tests_of_a_project(
    pytester: pytest.Pytester,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pytestconfig: pytest.Config,
) -> None:
    if pytestconfig.getoption("--in-process"):
        pytest.skip("starts a process, in a run of pytest within this one")
    pytester.makeini("[pytest]\n")
    (pytester.path / "pyproject.toml").write_text(
        '[tool.ml-ready]\nproject = "planted_project:PROJECT"\n'
    )
    (tmp_path / "planted_project.py").write_text(PROJECT.format(folder=str(tmp_path)))
    (tmp_path / "serve.py").write_text(SERVE)
    tests = pytester.path / "tests" / "integration"
    tests.mkdir(parents=True)
    (tests.parent / "conftest.py").write_text(CONFTEST.format(serve=str(tmp_path / "serve.py")))
    (tests / "test_fixtures.py").write_text(TESTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(synthetic.__file__).parent}", prepend=":")
    parts = [option for part in testing.pytest_plugins[1:] for option in ("-p", part)]
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", *parts)
    done.assert_outcomes(passed=3)
