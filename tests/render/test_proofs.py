"""The page of proofs is as new as the code that they show."""

import re
import shutil
from pathlib import Path

import pytest

from scripts import proofs as make_proofs
from tests import proofs
from tests.conftest import TEMPLATE, as_cloned


@pytest.mark.parametrize("name", proofs.PROOFS)
def test_a_proof_is_as_new_as_its_code(name: str) -> None:
    line = f"{proofs.PAGE}: the proof {name} is older than its code: run `make proofs`, and commit"
    assert name not in proofs.stale(TEMPLATE), line


@pytest.mark.parametrize("name", proofs.PROOFS)
def test_the_tests_of_a_proof_are_there(name: str) -> None:
    for test in proofs.PROOFS[name].tests:
        file, _, function = test.partition("::")
        text = (TEMPLATE / file).read_text("utf-8")
        assert re.search(rf"^def {function or 'test_'}", text, re.MULTILINE), test


def test_a_change_of_code_or_test_makes_a_proof_old(tmp_path: Path) -> None:
    root = shutil.copytree(as_cloned(), tmp_path / "template")
    before = {name: proof.digest(root) for name, proof in proofs.PROOFS.items()}
    rows = "".join(f"| `{name}` | `{digest}` |\n" for name, digest in before.items())
    (root / proofs.PAGE).write_text(rows)
    assert list(proofs.stale(root)) == []
    for file in ("src/ml_ready/pin.py", "tests/project/test_pin.py"):
        text = (root / file).read_text("utf-8")
        (root / file).write_text(f"{text}\n")
        assert list(proofs.stale(root)) == ["pin"]
        (root / file).write_text(text)
    (root / proofs.PAGE).unlink()
    assert list(proofs.stale(root)) == list(proofs.PROOFS)


def test_a_pattern_without_a_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file matches src/nothing"):
        proofs.Proof("", (), ("src/nothing/*",)).digest(tmp_path)


TESTS = {
    "passing": "def test_it(): pass\n",
    "failing": "def test_it(): assert 0\n",
    "skipped": "import pytest\ndef test_it(): pytest.skip('no engine')\n",
    "empty": "",
}


def test_a_proof_that_fails_skips_or_has_no_test_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tests").mkdir()
    for name, text in TESTS.items():
        (tmp_path / "tests" / f"test_{name}.py").write_text(text)
    some = {name: proofs.Proof(name, (f"tests/test_{name}.py",), ()) for name in TESTS}
    monkeypatch.setattr(proofs, "PROOFS", some)
    monkeypatch.setattr(make_proofs, "PROOFS", some)
    monkeypatch.setattr(make_proofs, "TEMPLATE", tmp_path)
    monkeypatch.setattr("sys.argv", ["proofs"])
    with pytest.raises(SystemExit, match=r"^error: proofs failed: failing, skipped, empty; see"):
        make_proofs.main()
    assert list(proofs.recorded(tmp_path)) == ["`passing`"]
    assert list(proofs.stale(tmp_path)) == ["failing", "skipped", "empty"]


def test_a_proof_whose_tests_are_gone_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_proofs, "TEMPLATE", tmp_path)
    monkeypatch.setattr(make_proofs, "PROOFS", {"lost": proofs.Proof("", ("tests/lost.py",), ())})
    with pytest.raises(SystemExit, match=r"^error: pytest ended early"):
        make_proofs.run(["lost"])


def test_settings_of_pytest_leave_no_test_of_a_proof_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "test_both.py").write_text(TESTS["passing"] + "def test_other(): assert 0\n")
    monkeypatch.setattr(make_proofs, "TEMPLATE", tmp_path)
    monkeypatch.setattr(make_proofs, "PROOFS", {"both": proofs.Proof("", ("test_both.py",), ())})
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k test_it")
    assert len(make_proofs.run(["both"])) == 2
