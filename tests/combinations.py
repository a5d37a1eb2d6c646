"""Answers that hold every pair of values, and where each value of a choice is run for real."""

import json
from itertools import combinations, product
from typing import Any

import pytest
from covertable import make

from tests.conftest import TEMPLATE

QUESTIONS: dict[str, Any] = {
    name: default
    for name, default in json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8")).items()
    if not name.startswith("_")
}
CHOICES: dict[str, list[str]] = {
    name: values for name, values in QUESTIONS.items() if isinstance(values, list)
}
# The shortest and the longest text that is allowed, and what else changes a file.
TEXTS = {
    "project_name": ["Flight Delays", "A", "N" * 80],
    "project_slug": ["flight-delays", "a", "s" * 48],
    "package_name": ["flight_delays", "a", "p" * 40, "zz_sorts_last"],
    "description": ["Late or not?", "d" * 200],
    "author_name": ["Ada Lovelace", "n" * 80],
    "author_email": ["ada@example.com", f"{'e' * 64}@{'h' * 63}.{'h' * 63}.com"],
    "data_science_team": ["@example/data-science", f"@{'o' * 39}/{'t' * 100}"],
    "deployment_team": ["@example/deployment", f"@{'p' * 39}/{'u' * 100}"],
    "aws_region": ["eu-central-1", "us-gov-west-1"],
    "artifact_bucket": ["", "b" * 63],
}
VALUES = {name: CHOICES.get(name) or TEXTS[name] for name in QUESTIONS if name in CHOICES | TEXTS}
# The same rows in every process and on every machine: they are sorted by a hash of their values.
COMBINATIONS: list[dict[str, str]] = min((make(VALUES, salt=str(n)) for n in range(20)), key=len)
BAKES = [
    pytest.param(answers, id=f"{n}-" + "-".join(answers[name] for name in CHOICES))
    for n, answers in enumerate(COMBINATIONS)
]

# The test that runs each value of a choice, or reads it where there is nothing to run (a licence,
# no CI, the versions of a matrix); its parameters name the value.
README = "test_every_command_works_verbatim"
CLASSIFICATION = f"tests/project/test_readme.py::{README}[classification-scikit-learn]"
REGRESSION = f"tests/project/test_regression.py::{README}[regression-xgboost]"
CI = "tests/project/test_ci.py::test_every_job_of_the"
PYTHON = "tests/render/test_tree.py::test_ci_runs_on_the_python_that_the_readme_names_first"
EXECUTED = {
    "task": {
        "classification": CLASSIFICATION,
        "regression": REGRESSION,
    },
    "framework": {
        "scikit-learn": CLASSIFICATION,
        "xgboost": REGRESSION,
    },
    "ci": {
        "github-actions": f"{CI}_workflow_passes[github-actions]",
        "gitlab-ci": f"{CI}_pipeline_passes[gitlab-ci]",
        "none": f"{PYTHON}[3.13-none]",
    },
    "license": {
        "Proprietary": "tests/render/test_combinations.py::test_a_licence_is_whole[Proprietary]",
        "Apache-2.0": "tests/render/test_combinations.py::test_a_licence_is_whole[Apache-2.0]",
        "MIT": "tests/render/test_combinations.py::test_a_licence_is_whole[MIT]",
        "BSD-3-Clause": "tests/render/test_combinations.py::test_a_licence_is_whole[BSD-3-Clause]",
    },
    "python_version": {
        "3.13": "tests/render/test_combinations.py::test_ci_runs_all_tests_on_a_python[3.13]",
        "3.12": "tests/render/test_combinations.py::test_ci_runs_all_tests_on_a_python[3.12]",
        "3.11": "tests/render/test_combinations.py::test_ci_runs_all_tests_on_a_python[3.11]",
    },
}


def missing_pairs(rows: list[dict[str, str]]) -> list[str]:
    """Find pairs of values that occur in no row."""
    return [
        f"{first}={one}, {second}={other}"
        for first, second in combinations(VALUES, 2)
        for one, other in product(VALUES[first], VALUES[second])
        if not any(row[first] == one and row[second] == other for row in rows)
    ]
