"""Each lock fits every bake that has it; what has moved away from its lock is caught."""

import shutil
from pathlib import Path

import pytest

import local_extensions
from scripts import refresh_lock
from tests.combinations import CHOICES
from tests.conftest import TEMPLATE, Bake
from tests.render import gates

LOCKS = refresh_lock.locks(TEMPLATE)
# As many bakes a lock as it takes to meet each value of every choice that is not in its name.
BAKES = {
    ",".join(answers.values()): answers
    for lock in LOCKS
    for i in range(max(map(len, CHOICES.values())))
    for answers in [
        {
            name: LOCKS[lock][name] if f".{name} " in lock.name else values[i % len(values)]
            for name, values in CHOICES.items()
        }
    ]
}


@pytest.mark.parametrize("answers", BAKES.values(), ids=BAKES)
def test_a_lock_fits_whatever_the_other_answers(answers: dict[str, str], bake: Bake) -> None:
    assert gates.drifted_lock(bake(project_name="Other", **answers)) == []


def test_a_dependency_that_is_not_locked_is_caught(project: Path, tmp_path: Path) -> None:
    drifted = shutil.copytree(project, tmp_path / "drifted")
    settings = drifted / "pyproject.toml"
    before = settings.read_text()
    settings.write_text(
        before.replace("dependencies = [\n", 'dependencies = [\n  "anyio>=4,<5",\n', 1)
    )
    assert settings.read_text() != before
    assert "pyproject.toml changed significantly since poetry.lock" in "\n".join(
        gates.drifted_lock(drifted)
    )


def test_a_missing_lock_is_caught(project: Path, tmp_path: Path) -> None:
    unlocked = shutil.copytree(project, tmp_path / "unlocked")
    (unlocked / "poetry.lock").unlink()
    assert gates.drifted_lock(unlocked) == ["Error: poetry.lock was not found."]


MIT = "{% if cookiecutter.license == 'MIT' %}poetry.lock{% endif %}"
OTHER = "{% if cookiecutter.license != 'MIT' %}poetry.lock{% endif %}"
NONE = "{% if cookiecutter.license == 'GPL' %}poetry.lock{% endif %}"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ([MIT], "0 locks for .*license=Proprietary.*, expected 1: fix the conditions"),
        ([MIT, "poetry.lock"], "2 locks for .*license=MIT.*, expected 1: fix the conditions"),
        ([MIT, OTHER, NONE], r"no bake has \{% if cookiecutter.license == 'GPL' %\}"),
    ],
)
def test_choices_without_a_lock_of_their_own_are_caught(
    names: list[str], line: str, tmp_path: Path
) -> None:
    shutil.copy(TEMPLATE / "cookiecutter.json", tmp_path)
    (tmp_path / "{{cookiecutter.project_slug}}").mkdir()
    for name in names:
        (tmp_path / "{{cookiecutter.project_slug}}" / name).touch()
    with pytest.raises(ValueError, match=line):
        refresh_lock.locks(tmp_path)


def test_a_lock_belongs_to_the_choices_in_its_name(tmp_path: Path) -> None:
    shutil.copy(TEMPLATE / "cookiecutter.json", tmp_path)
    (tmp_path / "{{cookiecutter.project_slug}}").mkdir()
    for name in (MIT, OTHER):
        (tmp_path / "{{cookiecutter.project_slug}}" / name).touch()
    found = {lock.name: answers for lock, answers in refresh_lock.locks(tmp_path).items()}
    assert {*found} == {MIT, OTHER}
    assert found[MIT]["license"] == "MIT"
    assert found[OTHER]["license"] != "MIT"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_distribution_of_any_lock_is_no_name_for_a_package(lock: Path) -> None:
    taken = {name.split()[0].replace("-", "_") for name in refresh_lock.packages(lock)}
    allowed, _ = local_extensions.RULES["package_name"]
    assert [name for name in taken if allowed(name)] == []


def test_a_lock_that_names_an_address_is_refused() -> None:
    plain = {
        "name": "one",
        "description": "See https://one.example",
        "files": [{"file": "one.whl"}],
    }
    bound = {"name": "two", "description": "", "source": {"type": "legacy", "url": "//two.example"}}
    linked = {"name": "six", "description": "", "files": [{"url": "https://six.example/six.whl"}]}
    locked = {str(package["name"]): package for package in (plain, bound, linked)}
    assert refresh_lock.with_address(locked) == ["two", "six"]
