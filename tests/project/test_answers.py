"""Projects made with answers that nobody expected pass their own checks."""

from pathlib import Path

import pytest

from tests.conftest import bake_into
from tests.project.conftest import Project
from tests.render.test_answers import ANSWERED, HOSTILE

LONGEST = {
    "project_name": HOSTILE[-1],
    "project_slug": "s" * 48,
    "package_name": "p" * 40,
    "description": '"' * 199 + "a",
    "author_name": "\\" * 79 + "a",
    "author_email": "a" * 60 + "@" + "b" * 60 + ".example",
    "data_science_team": f"@{'o' * 39}/{'t' * 100}",
    "deployment_team": f"@{'o' * 39}/{'d' * 100}",
    "aws_region": "us-gov-west-1",
    "artifact_bucket": "b" * 63,
}


@pytest.mark.parametrize("answers", [ANSWERED, LONGEST], ids=["hostile", "longest"])
def test_a_project_of_unexpected_answers_passes_its_own_check(
    answers: dict[str, str], installed: Project, tmp_path: Path
) -> None:
    project = installed.at(bake_into(tmp_path / "bake", **answers))
    project.does("poe check")
