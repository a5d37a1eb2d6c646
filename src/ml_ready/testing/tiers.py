"""The rules of the tiers: a test's folder decides its tier; unit and module tests stay isolated."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_socket import SocketBlockedError, disable_socket, enable_socket

_TIERS = ("unit", "module", "integration", "e2e")
_ISOLATED = ("unit", "module")


def pytest_configure(config: pytest.Config) -> None:
    """Register a marker for each tier, refuse what breaks a rule, and forget AWS credentials."""
    folder = _folder(config)
    for path in [*folder.rglob("test_*.py"), *folder.rglob("*_test.py")]:
        if not _tier(config, path):
            tiers = ", ".join(f"tests/{tier}" for tier in _TIERS)
            name = path.relative_to(config.rootpath).as_posix()
            raise pytest.UsageError(f"{name} is in none of the tiers: move it to one of {tiers}.")
    for tier in _TIERS:
        config.addinivalue_line("markers", f"{tier}: tests/{tier}")
    if not (config.pluginmanager.hasplugin("randomly") and config.option.randomly_reorganize):
        raise pytest.UsageError("Tests run in random order: install pytest-randomly and enable it.")
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    # Two workers whose threads spin on the same cores are slower than two with one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line how many tests were skipped for each reason."""
    reports = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(report.longrepr[2] for report in reports).items():
        terminalreporter.write_line(f"{count} {reason[0].lower()}{reason[1:]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder."""
    for item in items:
        item.add_marker(_tier(item.config, item.path))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Close the network to unit and module tests, before their fixtures run."""
    if _tier(item.config, item.path) in _ISOLATED:
        disable_socket(allow_unix_socket=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Say where a test that needs the network belongs."""
    try:
        yield
    except SocketBlockedError as error:
        raise RuntimeError(
            f"tests/{_tier(item.config, item.path)} has no network: use data in memory or in "
            "tmp_path, or move this test to tests/integration."
        ) from error


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Open the network again, after the fixtures are gone."""
    enable_socket()


def _folder(config: pytest.Config) -> Path:
    return config.rootpath / "tests"


def _tier(config: pytest.Config, path: Path) -> str:
    """Return the tier of a file; none is empty."""
    folder = _folder(config)
    parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
    return parts[0] if len(parts) > 1 and parts[0] in _TIERS else ""
