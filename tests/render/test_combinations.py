"""No value of a choice, and no pair of values, goes untested; a new one says what it lacks."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.licenses import canonicalize_license_expression
from packaging.specifiers import SpecifierSet

from tests.combinations import CHOICES, COMBINATIONS, EXECUTED, QUESTIONS, VALUES, missing_pairs
from tests.conftest import TEMPLATE, Bake, as_cloned
from tests.render.gates import WORDS

PYTEST = [sys.executable, "-m", "pytest", "-n", "0"]


def test_each_question_has_values_to_combine() -> None:
    assert VALUES.keys() == QUESTIONS.keys(), "add values of a new question to TEXTS"


def test_each_pair_of_values_is_baked() -> None:
    assert missing_pairs(COMBINATIONS) == []


def test_a_pair_that_is_not_baked_is_caught() -> None:
    assert missing_pairs(COMBINATIONS[1:])
    without = [row for row in COMBINATIONS if row["license"] != "MIT"]
    assert "license=MIT, python_version=3.11" in missing_pairs(without)


def test_the_combinations_are_the_same_in_every_process() -> None:
    said = subprocess.check_output(
        [sys.executable, "-c", "from tests.combinations import *; print(COMBINATIONS)"],
        cwd=TEMPLATE,
        env=os.environ | {"PYTHONHASHSEED": "7"},
        text=True,
    )
    assert said.strip() == str(COMBINATIONS)


def collected() -> set[str]:
    """The identifiers of the tests that EXECUTED names, as pytest finds them."""
    named = {test.partition("::")[0] for tests in EXECUTED.values() for test in tests.values()}
    said = subprocess.run(
        [*PYTEST, "--collect-only", "-q", *sorted(named)],
        cwd=TEMPLATE,
        capture_output=True,
        text=True,
    ).stdout
    return set(said.splitlines())


def test_each_value_of_a_choice_is_executed_for_real() -> None:
    tests = collected()
    table = "EXECUTED in tests/combinations.py"
    faults = [
        f"{question}: {value!r} is no choice of cookiecutter.json: remove it from {table}"
        for question, values in EXECUTED.items()
        for value in values.keys() - {*CHOICES.get(question, [])}
    ]
    for question, values in CHOICES.items():
        for value in values:
            test = EXECUTED.get(question, {}).get(value)
            if not test:
                faults.append(f"{question}: {value!r}: name the test that runs it in {table}")
            elif test not in tests:
                faults.append(f"{question}: {value!r}: there is no {test}: add it, or fix {table}")
            elif not re.search(rf"\[(.*-)?{re.escape(value)}(-.*)?\]$", test):
                faults.append(f"{question}: {value!r}: is no parameter of {test}: fix {table}")
    assert faults == [], "\n".join(faults)


def test_each_value_of_a_choice_has_words_that_give_it_away() -> None:
    faults = [
        f"{question}: {value!r}: add to WORDS in tests/render/gates.py what only its files say"
        for question, values in CHOICES.items()
        for value in values
        if value not in WORDS.get(question, {})
    ]
    assert faults == [], "\n".join(faults)


def test_a_new_value_is_told_what_it_lacks(tmp_path: Path) -> None:
    template = shutil.copytree(as_cloned(), tmp_path / "template")
    subprocess.run(["git", "init", "--quiet"], cwd=template, check=True)
    questions = json.loads((template / "cookiecutter.json").read_text("utf-8"))
    for question in CHOICES:
        questions[question].append("added")
    (template / "cookiecutter.json").write_text(json.dumps(questions))
    table = template / "tests" / "combinations.py"
    rows = table.read_text("utf-8")
    for before, after in (
        ("whole[MIT]", "gone[MIT]"),
        ("python[3.12]", "python[3.13]"),
        ('"3.11": "', '"3.10": "'),
    ):
        assert before in rows
        rows = rows.replace(before, after)
    table.write_text(rows)
    done = subprocess.run(
        [*PYTEST, "-k", "each_value or added", "tests/render/test_combinations.py"],
        cwd=template,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout
    lines = [
        "license: 'MIT': there is no tests/render/test_combinations.py::test_a_licence_is_gone",
        "python_version: '3.12': is no parameter of tests/render/test_combinations.py::test_ci_",
        "python_version: '3.10' is no choice of cookiecutter.json: remove it from EXECUTED",
        "added: add a file LICENSE with this condition in its name",
        "add added to the matrix of .github/workflows/ci.yml",
        *(
            f"{question}: 'added': {lack}"
            for question in CHOICES
            for lack in (
                "name the test that runs it in EXECUTED in tests/combinations.py",
                "add to WORDS in tests/render/gates.py what only its files say",
            )
        ),
    ]
    assert [line for line in lines if line not in done.stdout] == [], done.stdout


@pytest.mark.parametrize("name", CHOICES["license"])
def test_a_licence_is_whole(name: str, bake: Bake) -> None:
    project = bake(license=name)
    text = project / "LICENSE"
    assert text.is_file(), f"{name}: add a file LICENSE with this condition in its name"
    assert len(text.read_text("utf-8")) > 500
    said = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]["license"]
    assert canonicalize_license_expression(said) == said


@pytest.mark.parametrize("version", CHOICES["python_version"])
def test_ci_runs_all_tests_on_a_python(version: str, bake: Bake) -> None:
    workflow = (TEMPLATE / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    matrix = yaml.safe_load(workflow)["jobs"]["test"]["strategy"]["matrix"]
    assert version in matrix["python"], f"add {version} to the matrix of .github/workflows/ci.yml"
    settings = tomllib.loads((bake(python_version=version) / "pyproject.toml").read_text("utf-8"))
    assert version in SpecifierSet(settings["project"]["requires-python"])
