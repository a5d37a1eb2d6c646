"""The names of a project: not those of what it installs, and those that its package carries."""

import json

import local_extensions
from tests.project.conftest import ANSWERS, Project

LIST = "import json; from importlib.metadata import packages_distributions as known"


def test_no_installed_module_is_allowed_as_the_name_of_the_package(fresh: Project) -> None:
    installed = json.loads(fresh.does(f"python -c '{LIST}; print(json.dumps([*known()]))'"))
    installed = [name for name in installed if name != fresh.package.name]
    assert len(installed) > 100
    allowed, _ = local_extensions.RULES["package_name"]
    assert [name for name in installed if allowed(name)] == []


def test_the_package_that_poetry_builds_names_author_and_licence(fresh: Project) -> None:
    fresh.does("python3 bootstrap.py poetry build --format wheel", activated=False)
    said = fresh.does("python -m zipfile --extract dist/*.whl dist && cat dist/*/METADATA")
    assert f"License-Expression: {ANSWERS['license']}\n" in said
    assert "License-File: LICENSE\n" in said
    assert f"Author: {ANSWERS['author_name']}\n" in said
    assert fresh.does("git status --porcelain") == ""
