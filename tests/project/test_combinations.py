"""Whatever is chosen, the tests of the bake can be imported, and each dependency has a use."""

import json
import re
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.combinations import BAKES, COMBINATIONS
from tests.conftest import bake_into
from tests.project.conftest import Project

COLLECT = Path(__file__).with_name("collect.py")
Environments = Callable[[Path], Project]
Collected = dict[str, Any]


@pytest.fixture(scope="module")
def bakes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bakes")
    return [
        bake_into(folder / f"{n}" / "bake", **answers) for n, answers in enumerate(COMBINATIONS)
    ]


@pytest.fixture(scope="module")
def environments(installed: Project, other: Project) -> Environments:
    """A function from a bake to the project that is installed with the same lock."""
    known = {(each.root / "poetry.lock").read_bytes(): each for each in (installed, other)}
    return lambda bake: known[(bake / "poetry.lock").read_bytes()]


def collect(bakes: list[Path], environments: Environments) -> list[Collected]:
    """Collect the tests of each bake, in one process for all that share a lock."""
    of_lock: dict[Path, list[Path]] = {}
    for bake in bakes:
        of_lock.setdefault(environments(bake).root, []).append(bake)
    found: dict[str, Collected] = {}
    for same in of_lock.values():
        said = environments(same[0]).does(f"python {COLLECT} {' '.join(map(str, same))}")
        found |= json.loads(said.splitlines()[-1])
    return [found[str(bake)] for bake in bakes]


def breaks(bake: Path, folder: Path) -> list[Path]:
    """Copy a bake with a test that cannot be imported, without a module, and without a test."""
    wrong, halved, without = (shutil.copytree(bake, folder / str(n)) for n in range(3))
    with (wrong / "tests" / "unit" / "test_features.py").open("a") as file:
        file.write("from preprocessing import absent\n")
    next(halved.glob("src/*/preprocessing/features.py")).unlink()
    for test in without.rglob("test_*.py"):
        test.unlink()
    return [wrong, halved, without]


@pytest.fixture(scope="module")
def collected(
    bakes: list[Path], environments: Environments, tmp_path_factory: pytest.TempPathFactory
) -> list[Collected]:
    """How the collection of each bake ended, and of the broken ones after them."""
    broken = breaks(bakes[0], tmp_path_factory.mktemp("broken"))
    return collect([*bakes, *broken], environments)


@pytest.mark.parametrize("number", [pytest.param(n, id=bake.id) for n, bake in enumerate(BAKES)])
def test_the_tests_of_a_bake_are_imported_and_collected(
    number: int, collected: list[Collected]
) -> None:
    end = collected[number]
    assert end["status"] == 0, end["said"]
    tests = int(re.findall(r"^(\d+) tests collected", end["said"], re.MULTILINE)[0])
    assert tests > 50


def test_a_bake_whose_tests_cannot_be_imported_is_caught(collected: list[Collected]) -> None:
    # Nothing of the sound ones before may stand in for what these lack.
    wrong, halved, without = collected[len(COMBINATIONS) :]
    assert wrong["status"] == pytest.ExitCode.INTERRUPTED
    assert "ERROR tests/unit/test_features.py" in wrong["said"], wrong["said"]
    assert "ModuleNotFoundError: No module named 'preprocessing'" in wrong["said"]
    assert halved["status"] == pytest.ExitCode.INTERRUPTED
    assert "preprocessing.features'" in halved["said"], halved["said"]
    assert without["status"] == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "no tests collected" in without["said"]


# What is needed although nothing here imports or calls it.
INDIRECT = {
    "onnxmltools": "the library converts models of XGBoost with it",
    "pytest-cov": "the option --cov of pytest",
    "pytest-xdist": "the option -n of pytest",
    "types-pyyaml": "mypy reads it",
}
SCRIPTS = """
import json
from importlib.metadata import distributions
print(json.dumps({
    each.name.lower().replace("_", "-"): [
        entry.name for entry in each.entry_points if entry.group == "console_scripts"
    ]
    for each in distributions()
}))
"""


def commands(settings: object) -> Iterator[str]:
    """Find what a task, a hook, a stage or a job runs."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key in {"args", "cmd", "entry", "run", "script"}:
                yield json.dumps(value)
            yield from commands(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from commands(value)


def idle(project: Path, environment: Project) -> set[str]:
    """Find dependencies that no code imports and no command calls."""
    settings = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
    files = [*project.glob("*.y*ml"), *project.glob(".*.y*ml"), *project.glob(".github/*/*.yml")]
    configured = [settings, *(yaml.safe_load(file.read_text("utf-8")) for file in files)]
    called = "\n".join(commands(configured))
    scripts = json.loads(environment.does(f"python -c '{SCRIPTS}'"))
    groups = {f"dependency-groups.{group}" for group in settings["dependency-groups"]}
    # What is delivered needs no library for the sake of its tests.
    delivered = {"project.dependencies", "dependency-groups.serve"}
    creosote = f"{Path(sys.executable).with_name('creosote')} --include-deferred -f porcelain"
    found = set()
    for tables, code in ((delivered, ["src"]), (groups - delivered, ["src", "tests", "data"])):
        options = [f"-v {environment.root / '.venv'}"]
        options += [f"-s {table}" for table in sorted(tables)] + [f"-p {folder}" for folder in code]
        # Its exit status says no more than that something was found.
        said = environment.does(f"cd {project} && {creosote} {' '.join(options)} || true")
        for name in said.split():
            # ruff is a program that no entry point starts.
            called_by = (name, *scripts.get(name, ()))
            names = [rf"(?<![\w-]){re.escape(each)}(?![\w-])" for each in called_by]
            if not any(re.search(each, called) for each in names):
                found.add(name)
    return found


def test_each_dependency_is_imported_or_called(
    bakes: list[Path], environments: Environments
) -> None:
    of_lock = {environments(bake).root: bake for bake in bakes}
    found = set().union(*(idle(bake, environments(bake)) for bake in of_lock.values()))
    assert found - INDIRECT.keys() == set(), "remove it, or add to INDIRECT what needs it"
    assert INDIRECT.keys() - found == set(), "this is in use: remove it from INDIRECT"


def test_a_dependency_without_a_use_is_caught(
    bakes: list[Path], environments: Environments, tmp_path: Path
) -> None:
    broken = shutil.copytree(bakes[0], tmp_path / "broken")
    for file, before, after in (
        ("pyproject.toml", "\ndependencies = [\n", '\ndependencies = [\n  "idna>=3,<4",\n'),
        ("pyproject.toml", "\ntest = [", '\ntest = ["anyio>=4,<5", '),
        ("pyproject.toml", '"dvc repro"', '"x"'),
        (".pre-commit-config.yaml", "[nbstripout]", "[x]"),
    ):
        text = (broken / file).read_text("utf-8")
        assert before in text
        (broken / file).write_text(text.replace(before, after, 1))
    caught = idle(broken, environments(bakes[0])) - INDIRECT.keys()
    assert caught == {"anyio", "dvc", "idna", "nbstripout"}
