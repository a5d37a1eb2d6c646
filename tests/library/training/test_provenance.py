"""Where a model comes from: code, data, environment, and the distribution of its features."""

import json
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import synthetic
from ml_ready.project import Project
from ml_ready.training.provenance import digest, provenance, reference
from synthetic import CATEGORICAL, NUMERIC


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project."""
    return synthetic.make(tmp_path / "project")


def test_the_reference_describes_numbers_and_categories(project: Project) -> None:
    numbers = {name: [0.0, 1.0, 2.0, None] for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "a", "b", "b"] for name in CATEGORICAL})
    described = reference(project, frame, bins=2)
    assert described[NUMERIC[0]]["missing"] == 0.25
    assert described[NUMERIC[0]]["edges"] == [0, 1, 2]
    assert sum(described[NUMERIC[0]]["shares"]) == pytest.approx(1)
    assert all(described[name] == {"a": 0.5, "b": 0.5} for name in CATEGORICAL)


@pytest.mark.parametrize(
    ("values", "described"),
    [
        ([3.0, 3.0], {"missing": 0.0, "edges": [2.5, 3.5], "shares": [1.0]}),
        ([None, None], {"missing": 1.0}),
    ],
)
def test_the_reference_handles_a_constant_and_an_empty_column(
    project: Project, values: list[float | None], described: dict[str, Any]
) -> None:
    numbers = {name: pl.Series(values, dtype=pl.Float32) for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "b"] for name in CATEGORICAL})
    assert reference(project, frame)[NUMERIC[0]] == described


def test_the_digest_follows_the_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("1", encoding="utf-8")
    second.write_text("2", encoding="utf-8")
    before = digest([second, first])
    assert digest([first, second]) == before
    second.write_text("3", encoding="utf-8")
    assert digest([first, second]) != before


def test_provenance_names_the_commit_and_whether_it_is_clean(tmp_path: Path) -> None:
    assert provenance(tmp_path, [])["git_commit"] is None
    assert provenance(tmp_path, [])["lock_sha256"] is None
    for name in ("poetry.lock", "dvc.lock"):
        (tmp_path / name).write_text("1", encoding="utf-8")
    settings = '[project]\ndependencies = ["polars[all]>=1", "no.such-thing_1>=2"]\n'
    (tmp_path / "pyproject.toml").write_text(settings, encoding="utf-8")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=tmp_path, check=True)
    described = provenance(tmp_path, [])
    assert len(described["git_commit"]) == 40
    assert described["libraries"] == {"polars": pl.__version__}
    assert described["git_clean"] is True
    (tmp_path / "dvc.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is True
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.py").touch()
    assert provenance(tmp_path, [])["git_clean"] is False
    (tmp_path / "src" / "new.py").unlink()
    (tmp_path / "poetry.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is False


def test_provenance_handles_a_machine_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(tmp_path, [])["git_commit"] is None


def test_an_image_says_which_commit_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMIT", "abc")
    described = provenance(tmp_path, [])
    assert (described["git_commit"], described["git_clean"]) == ("abc", True)
    monkeypatch.setenv("GIT_COMMIT", "abc-dirty")
    described = provenance(tmp_path, [])
    assert (described["git_commit"], described["git_clean"]) == ("abc", False)


def test_the_reference_can_be_written_as_json(project: Project) -> None:
    table, staff = synthetic.parcels()
    joined = table.join(staff, on=["depot", "day"], how="left")
    frame = project.features(joined.lazy()).collect()
    described = json.loads(json.dumps(reference(project, frame), allow_nan=False))
    assert set(described) == {*NUMERIC, *CATEGORICAL}
