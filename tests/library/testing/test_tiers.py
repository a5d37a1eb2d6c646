"""The rules of the tiers, in a project with one test."""

import os

import pytest
from ml_ready.testing import pytest_plugins as parts

TIERS = parts[0]
SOCKET = "import socket\n\n\ndef test_it() -> None:\n    socket.socket().close()\n"
SEES = "import os\n\n\ndef test_it() -> None:\n    assert '{}' not in os.environ.values()\n"
PASSES = "def test_it() -> None:\n    pass\n"


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with empty tiers, whose tests leave the variables of this process as they are."""
    for name, text in os.environ.items():
        monkeypatch.setenv(name, text)
    for name in ("OMP_NUM_THREADS", "AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "")
    pytester.makeini("[pytest]\n")
    return pytester


def run(project: pytest.Pytester, folder: str, code: str, *options: str) -> str:
    """Run one test in a folder of tests, and return what pytest prints."""
    path = project.path / "tests" / folder / "test_planted.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    arguments = ["-p", TIERS, "-p", "no:cacheprovider"]
    done = project.runpytest_inprocess(*arguments, *options, str(path))
    return "\n".join(done.outlines + done.errlines)


@pytest.mark.parametrize("tier", ["unit", "module"])
def test_a_socket_in_a_tier_without_network_is_refused(tier: str, project: pytest.Pytester) -> None:
    assert f"tests/{tier} has no network: use data in memory" in run(project, tier, SOCKET)


@pytest.mark.parametrize("tier", ["integration", "e2e"])
def test_a_socket_in_other_tiers_is_allowed(tier: str, project: pytest.Pytester) -> None:
    assert "1 passed" in run(project, tier, SOCKET)


@pytest.mark.parametrize("tier", ["unit", "module"])
def test_aws_credentials_do_not_reach_a_test(
    tier: str, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a key")
    assert "1 passed" in run(project, tier, SEES.format("a key"))
    monkeypatch.setenv("OTHER", "a key")
    assert "1 failed" in run(project, tier, SEES.format("a key"))


@pytest.mark.parametrize("folder", [".", "units", "unit/../other"])
def test_a_test_outside_of_the_tiers_is_refused(folder: str, project: pytest.Pytester) -> None:
    printed = run(project, folder, PASSES)
    assert "test_planted.py is in none of the tiers: move it to one of tests/unit" in printed
    assert "INTERNALERROR" not in printed


@pytest.mark.parametrize("option", ["no:randomly", None])
def test_a_fixed_order_of_tests_is_refused(option: str | None, project: pytest.Pytester) -> None:
    options = ["-p", option] if option else ["--randomly-dont-reorganize"]
    assert "Tests run in random order" in run(project, "unit", PASSES, *options)


def test_the_folder_is_the_marker(project: pytest.Pytester) -> None:
    assert "1 passed" in run(project, "module", PASSES, "-m", "module", "--strict-markers")
    assert "1 deselected" in run(project, "module", PASSES, "-m", "unit", "--strict-markers")


def test_skips_are_counted_by_their_reason(project: pytest.Pytester) -> None:
    code = (
        "import pytest\n\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n: int) -> None:\n"
    )
    printed = run(project, "e2e", f"{code}    pytest.skip('no engine')\n")
    assert "2 skipped: no engine" in printed
