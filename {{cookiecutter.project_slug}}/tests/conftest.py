"""The rules of the tiers: the folder is the marker, unit and module tests reach nothing outside."""

import contextlib
import json
import os
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ml_ready import artifact
from ml_ready.artifact import WINDOWS
from ml_ready.jobs import ingest, preprocess
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths
from ml_ready.training.export import export
from pytest_socket import SocketBlockedError, disable_socket, enable_socket

from {{ cookiecutter.package_name }}.project import PROJECT
from {{ cookiecutter.package_name }}.training.model import fit, predict

TIERS = ("unit", "module", "integration", "e2e")
ISOLATED = ("unit", "module")
FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
RUN = "PYTEST_RUN"


def pytest_configure(config: pytest.Config) -> None:
    """Register a marker a tier, refuse what breaks a rule, and forget the AWS credentials."""
    for path in [*FOLDER.rglob("test_*.py"), *FOLDER.rglob("*_test.py")]:
        if _tier(path) is None:
            tiers = ", ".join(f"tests/{tier}" for tier in TIERS)
            name = path.relative_to(ROOT).as_posix()
            raise pytest.UsageError(f"{name} is in none of the tiers: move it to one of {tiers}.")
    for tier in TIERS:
        config.addinivalue_line("markers", f"{tier}: tests/{tier}")
    if not (config.pluginmanager.hasplugin("randomly") and config.option.randomly_reorganize):
        raise pytest.UsageError("Tests run in random order: install pytest-randomly and enable it.")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    # The same in all workers, which inherit it.
    os.environ.setdefault(RUN, uuid.uuid4().hex)
    # Two workers whose threads spin on the same cores are slower than two with one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the images that tests have built, once all workers are done with them."""
    if hasattr(session.config, "workerinput") or not shutil.which("docker"):
        return
    label = f"label={RUN}={os.environ[RUN]}"
    asked = ["docker", "images", "--all", "--quiet", "--filter", label]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10)
        if found := done.stdout.split():
            subprocess.run(["docker", "rmi", "--force", *found], capture_output=True, check=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in a line how many tests were skipped for a reason."""
    reports = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in reports).items():
        terminalreporter.write_line(f"{count} {reason[0].lower()}{reason[1:]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    for item in items:
        item.add_marker(_tier(item.path) or "")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to unit and module tests, before their fixtures run."""
    if _tier(item.path) in ISOLATED:
        disable_socket(allow_unix_socket=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Say where a test that needs the network belongs."""
    try:
        yield
    except SocketBlockedError as error:
        raise RuntimeError(
            f"tests/{_tier(item.path)} reaches no network: use what lies in memory or in tmp_path, "
            "or move this test to tests/integration."
        ) from error


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Open the network again, after the fixtures are gone."""
    enable_socket()


@pytest.fixture(scope="session")
def config() -> Any:
    """The configuration of this repository."""
    return configuration(PROJECT, Paths(ROOT))


@pytest.fixture(scope="session")
def records(config: Any) -> pl.DataFrame:
    """The records of the sample, joined and checked."""
    return ingest.records(PROJECT, ROOT / config.source, config.data).valid


@pytest.fixture(scope="session")
def windows(config: Any, records: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Features and target of the sample, split in time."""
    return preprocess.windows(PROJECT, records, config.data.split)


@pytest.fixture(scope="session")
def model(config: Any, windows: dict[str, pl.DataFrame]) -> Any:
    """A trained model."""
    return fit(windows["train"], windows["validation"], config.model, config.seed)


@pytest.fixture(scope="session")
def folder(
    model: Any, windows: dict[str, pl.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with the exported model."""
    validation = windows["validation"]
    target = validation[PROJECT.target].to_numpy()
    outputs = PROJECT.task.derive_outputs(model, target, predict(model, validation))
    metadata = {
        "contract_version": PROJECT.contract_version,
        "outputs": PROJECT.task.describe(outputs),
    }
    folder = tmp_path_factory.mktemp("exported") / "models"
    artifact.write_model(folder, export(PROJECT, model), metadata)
    return folder


@pytest.fixture(scope="session")
def training(windows: dict[str, pl.DataFrame]) -> Callable[..., None]:
    """Make a folder as a training job finds it; `__` in a setting stands for a dot."""

    def made(base: Path, given: dict[str, pl.DataFrame] = windows, **settings: str) -> None:
        hyperparameters = base / "input" / "config" / "hyperparameters.json"
        hyperparameters.parent.mkdir(parents=True)
        dotted = {name.replace("__", "."): value for name, value in settings.items()}
        hyperparameters.write_text(json.dumps(dotted), encoding="utf-8")
        for name in WINDOWS[:2]:
            channel = base / "input" / "data" / name
            channel.mkdir(parents=True)
            given[name].write_parquet(channel / "part-0.parquet")

    return made


def _tier(path: Path) -> str | None:
    parts = path.relative_to(FOLDER).parts
    return parts[0] if len(parts) > 1 and parts[0] in TIERS else None
