"""What a project's environment imports cannot be the name of its package."""

import json

import local_extensions
from tests.project.conftest import Project

LIST = "import json; from importlib.metadata import packages_distributions as known"


def test_no_installed_module_is_allowed_as_the_name_of_the_package(fresh: Project) -> None:
    installed = json.loads(fresh.does(f"python -c '{LIST}; print(json.dumps([*known()]))'"))
    installed = [name for name in installed if name != fresh.package.name]
    assert len(installed) > 100
    allowed, _ = local_extensions.RULES["package_name"]
    assert [name for name in installed if allowed(name)] == []
