"""Jobs, AWS and server on Python 3.13, whichever Python runs these tests."""

from pathlib import Path

from tests.project.conftest import Project
from tests.project.test_python import SLOW, run_library_tests


def test_slow_parts_pass_their_tests_that_start_no_process(newest: Project, tmp_path: Path) -> None:
    # With moto, which plays AWS.
    newest.does("python3.13 bootstrap.py poetry install --with sagemaker", activated=False)
    run_library_tests(newest, tmp_path, " ".join(f"tests/library/{folder}" for folder in SLOW))
