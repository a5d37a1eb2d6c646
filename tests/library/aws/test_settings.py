"""The settings of a project, and where its repository is."""

from pathlib import Path

import pytest
from account import OVERRIDES, ROOT, SETTINGS, moto
from deployable import write_project
from ml_ready.aws.settings import find_root, settings
from ml_ready.errors import ConfigError, ProjectError


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (["bucket=''"], "missing: set SAGEMAKER_BUCKET, or edit conf/deploy/aws.yaml"),
        (["roles.job=late"], "roles.job=late"),
        (["shift.kind=slow"], "shift.kind=slow"),
        (["counts=1"], "counts=1: no such key"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(parameters: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings(ROOT, [*OVERRIDES, *parameters])


def test_machines_are_of_a_kind_that_sagemaker_knows() -> None:
    shapes = moto("sagemaker").meta.service_model
    for machine, shape in (
        (SETTINGS.jobs.type, "ProcessingInstanceType"),
        (SETTINGS.jobs.type, "TrainingInstanceType"),
        (SETTINGS.transform.type, "TransformInstanceType"),
        (SETTINGS.variant.type, "ProductionVariantInstanceType"),
    ):
        assert machine in shapes.shape_for(shape).enum, shape


def test_the_repository_is_the_nearest_folder_with_settings_and_dependencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "models" / "parcels"
    for root in (tmp_path, inner):
        write_project(root)
    (inner / "src" / "parcels").mkdir(parents=True)
    monkeypatch.chdir(inner / "src" / "parcels")
    assert find_root() == inner.resolve()
    assert find_root(inner.parent) == tmp_path.resolve()


@pytest.mark.parametrize("missing", ["conf/deploy", "pyproject.toml"])
def test_a_folder_outside_a_project_is_named(tmp_path: Path, missing: str) -> None:
    write_project(tmp_path)
    (tmp_path / missing).rename(tmp_path / "away")
    with pytest.raises(ProjectError, match=r"^/.*: no project: .*Run the command in a project.$"):
        find_root(tmp_path / "container")
