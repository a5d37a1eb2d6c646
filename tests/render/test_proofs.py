"""The page of proofs is as new as the code that they show."""

import re
import shutil
from pathlib import Path

import pytest

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
