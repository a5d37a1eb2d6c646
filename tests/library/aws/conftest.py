"""Fixtures: an account, faults of it, and the results of a pipeline."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from account import CALLS, MODEL, ROOT, Client, Results, account, judged
from ml_ready import artifact
from ml_ready.aws import client
from ml_ready.aws.client import Aws
from policies import acting, allows, resources


@pytest.fixture
def faults() -> list[Callable[[str], None]]:
    """What happens before and after each call."""
    return [lambda _: None]


@pytest.fixture
def _clients(monkeypatch: pytest.MonkeyPatch, faults: list[Callable[[str], None]]) -> None:
    """Clients that fail when they are told to, and waiting that takes no time."""
    monkeypatch.setattr(client, "POLL_SECONDS", 0.01)
    clients = functools.cache(lambda service: Client(service, lambda at: faults[0](at)))
    monkeypatch.setattr(Aws, "_client", lambda _, service: clients(service))


@pytest.fixture
def aws(_clients: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    """An account; in the end, whoever deploys has to be allowed all that was called in it."""
    monkeypatch.chdir(ROOT)
    with account() as aws:
        yield aws
        for service, call, parameters in CALLS:
            if service == "sts":  # everybody may ask who they are
                continue
            action = acting(service, call)
            for resource in resources(service, parameters):
                status = parameters.get("ModelApprovalStatus", "")
                who = "approve" if action == "sagemaker:UpdateModelPackage" else "deploy"
                assert allows(who, action, resource, status), (action, resource)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """The folders of a model, which nobody loads here, and of its reports."""
    models, reports = tmp_path / "models", tmp_path / "reports"
    metadata = {"contract_version": "1", "outputs": {}, "git_commit": "abc", "data_sha256": "def"}
    artifact.write_model(models, MODEL, metadata)
    judged(reports, good=True)
    (reports / artifact.REPORT_FILE).write_text("<html>", encoding="utf-8")
    return models, reports


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with source tables."""
    (tmp_path / "source" / "old").mkdir(parents=True)
    (tmp_path / "source" / ".git").mkdir()
    for name in ("records.csv", "old/records.csv", ".DS_Store", ".git/a.csv", "notes.txt"):
        (tmp_path / "source" / name).write_text(name, encoding="utf-8")
    return tmp_path / "source"
