"""Packages together: what is trained is what is served, and `dvc.yaml` lists the code it runs."""

from collections.abc import Callable

import pytest
from ml_ready.testing.checks import CHECKS
from ml_ready.testing.subject import Subject


@pytest.mark.parametrize(
    "check", [*CHECKS["inference"], *CHECKS["pipeline"]], ids=lambda check: check.__name__
)
def test_the_project_holds_to_the_contract(
    check: Callable[[Subject], None], subject: Subject
) -> None:
    check(subject)
