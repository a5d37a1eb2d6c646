"""Tracked runs: what MLflow keeps of a training, and databases that cannot be used."""

import re
from pathlib import Path
from typing import Any

import pytest
from ml_ready.config import TrackingConfig
from ml_ready.errors import ConfigError
from ml_ready.training import runs
from ml_ready.training.runs import record
from mlflow import MlflowClient

TRACKING = TrackingConfig(uri="sqlite:///runs/mlflow.db", experiment="parcels")


@pytest.fixture(scope="session")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a database of one run, which takes seconds to create."""
    root = tmp_path_factory.mktemp("runs")
    keep(root, max_iter=1)
    return root


def keep(root: Path, tracking: TrackingConfig = TRACKING, **parameters: Any) -> None:
    """Record a run."""
    artifacts = root / "models"
    artifacts.mkdir(exist_ok=True)
    (artifacts / "metadata.json").write_text("{}", encoding="utf-8")
    record(tracking, root, parameters, {"loss": 0.5}, {"git_commit": "abc"}, artifacts)


def kept(root: Path) -> list[Any]:
    """Return the runs, the last one first."""
    client = MlflowClient(f"sqlite:///{(root / 'runs' / 'mlflow.db').as_posix()}")
    experiment = client.get_experiment_by_name("parcels")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_a_run_keeps_parameters_metrics_tags_and_files(created: Path) -> None:
    (run,) = kept(created)
    assert run.data.params == {"max_iter": "1"}
    assert run.data.metrics == {"loss": 0.5}
    assert run.data.tags["git_commit"] == "abc"
    assert run.info.status == "FINISHED"
    # Runs of a copy of the database keep their files in the same folder.
    (folder,) = (created / "mlartifacts").rglob(run.info.run_id)
    assert [path.name for path in folder.rglob("*.json")] == ["metadata.json"]
    assert sorted(path.name for path in (created / "runs").iterdir()) == ["mlflow.db"]


def copied(created: Path, root: Path) -> Path:
    """Copy the database, and return its path."""
    (root / "runs").mkdir()
    database = root / "runs" / "mlflow.db"
    database.write_bytes((created / "runs" / "mlflow.db").read_bytes())
    return database


def test_the_next_run_joins_the_first_and_removes_what_a_killed_one_left(
    created: Path, tmp_path: Path
) -> None:
    database = copied(created, tmp_path)
    database.with_name("mlflow.db.123.part").write_bytes(b"")
    database.with_name("other.db.123.part").write_bytes(b"")
    keep(tmp_path, max_iter=2)
    assert [run.data.params["max_iter"] for run in kept(tmp_path)] == ["2", "1"]
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["mlflow.db", "other.db.123.part"]


def test_another_experiment_is_created_in_the_same_database(created: Path, tmp_path: Path) -> None:
    copied(created, tmp_path)
    keep(tmp_path, TRACKING.model_copy(update={"experiment": "letters"}), max_iter=3)
    assert len(kept(tmp_path)) == 1
    client = MlflowClient(f"sqlite:///{(tmp_path / 'runs' / 'mlflow.db').as_posix()}")
    assert client.get_experiment_by_name("letters") is not None


@pytest.mark.parametrize("uri", ["sqlite:///runs/mlflow.db", "nowhere://runs"])
def test_a_place_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, uri: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").write_bytes(b"not a database, but longer than its header")
    expected = rf"tracking\.uri={re.escape(uri)}: the run is not kept: "
    with pytest.raises(ConfigError, match=expected) as caught:
        keep(tmp_path, TRACKING.model_copy(update={"uri": uri}))
    assert "\n" not in str(caught.value)


def test_a_database_that_another_training_was_faster_to_put_is_kept(tmp_path: Path) -> None:
    part, database = tmp_path / "part", tmp_path / "mlflow.db"
    part.write_bytes(b"mine")
    database.write_bytes(b"its own")
    runs._put(part, database)
    assert database.read_bytes() == b"its own"
    part.unlink()
    runs._put(part, database)
    assert database.read_bytes() == b"its own"


def test_a_file_system_without_links_gets_the_database_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    part, database = tmp_path / "part", tmp_path / "mlflow.db"
    part.write_bytes(b"mine")
    runs._put(part, database)
    assert database.read_bytes() == b"mine"


def test_a_database_that_cannot_be_written_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(runs, "_put", full)
    with pytest.raises(ConfigError, match="the run is not kept: No space left on device"):
        keep(tmp_path)
    assert [*(tmp_path / "runs").iterdir()] == []
