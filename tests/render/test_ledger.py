"""The ledger says where each test of a project of 0.1.0 is now; none was lost on the way."""

import re
from pathlib import Path

from tests.conftest import TEMPLATE

LEDGER = TEMPLATE / "tests" / "ledger.tsv"
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
TESTS = 379  # of a project of 0.1.0, each task and framework taken together


def functions_in(folder: Path, root: Path, prefix: str = "") -> set[str]:
    """List the test functions below a folder, as the ledger names them."""
    return {
        f"{prefix}{re.sub('{%[^%]*%}', '', path.relative_to(root).as_posix())}::{name}"
        for path in folder.rglob("*test_*")
        if path.is_file() and path.suffix != ".pyc"
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }


def lost(ledger: str) -> list[str]:
    """Find lines whose test is nowhere."""
    present = functions_in(TEMPLATE / "tests", TEMPLATE)
    present |= functions_in(PROJECT / "tests", PROJECT, "project ")
    rows = dict(line.split("\t") for line in ledger.splitlines() if not line.startswith("#"))
    assert len(rows) == TESTS
    places = {old: re.findall(r"(?:project )?tests/\S+::\w+", new) for old, new in rows.items()}
    return [old for old, new in places.items() if not new or not present.issuperset(new)]


def test_no_test_of_the_first_version_is_lost() -> None:
    assert lost(LEDGER.read_text("utf-8")) == []


def test_a_test_that_is_lost_is_found() -> None:
    text = LEDGER.read_text("utf-8")
    old, new = text.splitlines()[-1].split("\t")
    assert lost(text.replace(f"\t{new}\n", "\ttests/library/test_gone.py::test_it\n")).count(old)
