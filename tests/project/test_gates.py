"""Each gate of a project, shown stopping what it is there to stop, as its user would meet it."""

import json
import random
import re
import string
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from tests.project.conftest import Project

COMMIT = "git add --all && git commit --message 'test: try the hooks'"
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": 1,
            "id": "one",
            "metadata": {},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": ["twelve flights"]}],
            "source": ["flights=12"],
        }
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def access_key() -> str:
    """Make up what looks like a secret; written out, it would stop the hooks of this repository."""
    return "AKIA" + "".join(random.choices(string.ascii_uppercase + string.digits, k=16))  # noqa: S311


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = file.read_text()
    assert old in text, text
    file.write_text(text.replace(old, new, 1))


def test_a_fresh_project_passes_every_hook_unchanged(fresh: Project) -> None:
    said = fresh.does("pre-commit run --all-files")
    assert said.count("Passed") >= 8, said
    assert fresh.does("git status --porcelain") == ""


@pytest.mark.parametrize("message", ["work in progress", "Feature: more flights", "feat:more"])
def test_a_commit_message_of_another_form_is_refused(message: str, fresh: Project) -> None:
    commit = f"git commit --allow-empty --message '{message}'"
    assert "first line as `feat(scope): what changes`" in fresh.refuses(commit, activated=False)
    assert fresh.does("git log --oneline").count("\n") == 1


AGAINST_THE_RULES = {
    "type": (
        "wrong.py",
        '"""Wrong."""\n\nnumber: int = "one"\n',
        "Incompatible types in assignment",
    ),
    "style": ("wrong.py", '"""Wrong."""\n\n\ndef f(of=[]):\n    """Do."""\n', "mutable data"),
    "size": ("large.bin", "\0" * 1_050_000, "large.bin (1026 KB) exceeds 1000 KB"),
    "secret": (
        "key.txt",
        f"key = {access_key()}  # of its SHA-256\n",
        "Potential secrets about to be committed",
    ),
    "merge": ("merge.md", f"{'<' * 7} HEAD\nours\n", "Merge conflict string"),
    "TOML": ("wrong.toml", "key = \n", "wrong.toml: Invalid value"),
    "YAML": ("wrong.yaml", "key: [\n", "while parsing a flow node"),
    "JSON": ("wrong.json", "{,}\n", "wrong.json: Failed to json decode"),
}


@pytest.mark.parametrize("fault", AGAINST_THE_RULES)
def test_a_file_against_the_rules_is_not_committed(fault: str, fresh: Project) -> None:
    name, text, line = AGAINST_THE_RULES[fault]
    (fresh.package / name).write_text(text)
    said = fresh.refuses(COMMIT, activated=False)
    assert line in said, said
    assert fresh.does("git log --oneline").count("\n") == 1


@pytest.mark.parametrize(
    ("name", "text", "fixed"),
    [
        ("odd.py", "'''Odd.'''\nnumber   =  1\n", '"""Odd."""\n\nnumber = 1\n'),
        ("odd.ipynb", json.dumps(NOTEBOOK, indent=1) + "\n", '"outputs": []'),
    ],
    ids=["format", "notebook"],
)
def test_what_a_hook_can_fix_is_fixed_and_the_next_commit_passes(
    name: str, text: str, fixed: str, fresh: Project
) -> None:
    file = fresh.package / name
    file.write_text(text)
    assert "files were modified by this hook" in fresh.refuses(COMMIT, activated=False)
    assert fixed in file.read_text()
    fresh.does(COMMIT, activated=False)
    assert fresh.does("git status --porcelain") == ""


def test_a_push_runs_the_unit_tests(fresh: Project, tmp_path: Path) -> None:
    fresh.does(f"git init --quiet --bare {tmp_path}/origin")
    push = f"git push {tmp_path}/origin HEAD:main"
    for file in (fresh.root / "tests" / "unit").iterdir():
        file.unlink()
    test = fresh.root / "tests" / "unit" / "test_flights.py"
    test.write_text('"""Flights."""\n\n\ndef test_flights() -> None:\n    assert len("one") == 1\n')
    fresh.does(COMMIT, activated=False)
    said = fresh.refuses(push, activated=False)
    assert "test_flights - AssertionError" in said, said
    assert fresh.does(f"git ls-remote {tmp_path}/origin") == ""
    edit(test, '"one"', '"1"')
    fresh.does(COMMIT, activated=False)
    fresh.does(push, activated=False)
    assert "refs/heads/main" in fresh.does(f"git ls-remote {tmp_path}/origin")


def test_a_test_outside_of_the_tiers_is_refused_by_every_run(fresh: Project) -> None:
    (fresh.root / "tests" / "test_planted.py").touch()
    for command in ("pytest", "poe test-unit"):
        said = fresh.refuses(command)
        assert "tests/test_planted.py is in none of the tiers: move it to one of" in said, said
        assert "INTERNALERROR" not in said, said


@pytest.mark.parametrize(
    ("module", "broken"),
    [
        ("project.py", "the serving image needs neither scikit-learn nor MLflow BROKEN"),
        ("schema.py", "project and model → features → schema BROKEN"),
    ],
)
def test_an_import_against_the_directions_fails_lint(
    module: str, broken: str, fresh: Project
) -> None:
    forbidden = {
        "schema.py": "from .training import model",
        "project.py": "import sklearn",
    }
    with (fresh.package / module).open("a") as file:
        file.write(f"\n{forbidden[module]}  # noqa: E402, F401\n")
    said = fresh.refuses("lint-imports --no-cache")
    assert broken in said, said


def test_a_fresh_project_holds_to_the_contract_of_the_library(trained: Project) -> None:
    assert re.search(r"^\d\d checks passed$", trained.does("ml-ready check"), re.MULTILINE)


def error(said: str) -> str:
    """The one line that says what is wrong."""
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    return line


def rewrite(project: Project, change: Callable[[pl.DataFrame], pl.DataFrame]) -> str:
    """Change the flights of the source, and return the name of the file."""
    name = "data/sample/flights.parquet"
    change(pl.read_parquet(project.root / name)).write_parquet(project.root / name)
    return name


def without_a_column(project: Project) -> str:
    return rewrite(project, lambda flights: flights.drop("distance"))


def without_a_row(project: Project) -> str:
    return rewrite(project, lambda flights: flights.clear())


def with_bad_rows(project: Project, share: float = 0.01) -> str:
    bad = pl.int_range(pl.len()) < share * pl.len()
    departure = pl.when(bad).then(9999).otherwise("sched_dep_time").cast(pl.Int32)
    return rewrite(project, lambda flights: flights.with_columns(sched_dep_time=departure))


def with_a_scaler(project: Project) -> str:
    file = project.package / "training" / "model.py"
    edit(file, "import OrdinalEncoder", "import OrdinalEncoder, StandardScaler")
    edit(file, '"passthrough"', "StandardScaler()")
    return str(file.relative_to(project.root))


def with_a_leak(project: Project) -> str:
    file = project.package / "preprocessing" / "features.py"
    edit(file, 'plane_age=nw.col("time_hour").dt.year()', 'plane_age=nw.col("dep_delay")')
    return str(file.relative_to(project.root))


def with_one_tree(project: Project) -> str:
    name = "conf/model/hist_gradient_boosting.yaml"
    edit(project.root / name, "max_iter: 1000", "max_iter: 1")
    return name


def with_a_wrong_key(project: Project) -> str:
    name = "conf/model/hist_gradient_boosting.yaml"
    edit(project.root / name, "max_iter:", "max_itr:")
    return name


def recorded(project: Project, stage: str) -> object:
    """What DVC says of the last run of a stage that succeeded."""
    return yaml.safe_load((project.root / "dvc.lock").read_text())["stages"][stage]


@pytest.mark.parametrize(
    ("broken", "line", "stage", "gone"),
    [
        (with_a_wrong_key, "model.max_itr=1000: no such key", "configure", "params.yaml"),
        (without_a_column, "Columns missing: distance", "ingest", "data/raw"),
        (without_a_row, "The batch is empty", "ingest", "data/raw"),
        (with_bad_rows, "300 of 30000 rows (1 %) break", "ingest", "data/raw/records.parquet"),
        (with_a_leak, "dep_delay", "preprocess", "data/processed"),
        (with_a_scaler, "differs from the trained one by up to", "train", "models"),
    ],
)
def test_the_pipeline_stops_at_what_is_broken_and_goes_on_once_it_is_fixed(
    broken: Callable[[Project], str], line: str, stage: str, gone: str, trained: Project
) -> None:
    changed = broken(trained)
    before = recorded(trained, stage)
    said = trained.refuses("poe pipeline")
    assert line in error(said), said
    assert f"failed to reproduce '{stage}'" in said, said
    assert not (trained.root / gone).exists()
    assert recorded(trained, stage) == before
    trained.does(f"git checkout --quiet {changed} && dvc repro")
    assert trained.does("git status --porcelain") == ""
    assert (trained.root / gone).exists()


def test_a_model_that_is_not_good_enough_stops_the_pipeline(trained: Project) -> None:
    changed = with_one_tree(trained)
    before = recorded(trained, "evaluate")
    said = trained.refuses("poe pipeline")
    assert "The model is not good enough: " in error(said), said
    assert "roc_auc gain over few_feature_linear" in error(said)
    assert "See reports/index.html" in error(said)
    assert recorded(trained, "evaluate") == before
    assert "Gate failed" in (trained.root / "reports/index.html").read_text()
    trained.does(f"git checkout --quiet {changed} && dvc repro")
    assert trained.does("git status --porcelain") == ""
    assert "Gate passed" in (trained.root / "reports/index.html").read_text()


def test_bad_rows_below_the_tolerance_are_set_aside_and_counted(trained: Project) -> None:
    with_bad_rows(trained, 0.0005)
    said = trained.does("dvc repro ingest")
    assert "sched_dep_time must be a whole number from 0 to 2359" in said, said
    aside = pl.read_parquet(trained.root / "data/raw/quarantine.parquet")
    assert aside.height == 15
    assert aside["reason"].str.starts_with("sched_dep_time must be").all()
    summary = json.loads((trained.root / "data/raw/contract.json").read_text())
    assert summary["quarantined"] == sum(summary["rules"].values()) == 15


@pytest.mark.parametrize(
    ("required", "line"),
    [
        (95, "Required test coverage of 95.0% not reached"),
        (1, "Coverage failure: total of"),
    ],
    ids=["everything", "preprocessing"],
)
def test_code_that_no_test_runs_fails_the_coverage_gate(
    required: int, line: str, fresh: Project
) -> None:
    edit(fresh.root / "pyproject.toml", "fail_under = 95", f"fail_under = {required}")
    for file in fresh.root.glob("tests/*/test_*.py"):
        file.unlink()
    test = "def test_it() -> None:\n    assert len('1') == 1\n"
    (fresh.root / "tests" / "unit" / "test_planted.py").write_text(test)
    assert line in fresh.refuses("poe test")
