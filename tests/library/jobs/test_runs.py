"""The database of tracked runs: whole or not there, and no file of others is touched."""

import errno
from pathlib import Path

import pytest
from ml_ready.config import TrackingConfig
from ml_ready.errors import ConfigError
from ml_ready.training.runs import record


def track(root: Path, database: str = "runs.db") -> None:
    """Record a run in a database below a folder."""
    tracking = TrackingConfig(uri=f"sqlite:///{database}", experiment="any")
    artifacts = root / "artifacts"
    artifacts.mkdir(exist_ok=True)
    record(tracking, root, {"seed": 1}, {"loss": 0.5}, {}, artifacts)


def names(root: Path) -> list[str]:
    """Names of what is in the folder but for artifacts."""
    return sorted(path.name for path in root.iterdir() if "artifacts" not in path.name)


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("text/runs.db", "File exists"),
        ("artifacts", "unable to open database file"),
        ("text", "file is not a database"),
    ],
)
def test_a_database_that_cannot_be_used_is_named(
    tmp_path: Path, database: str, reason: str
) -> None:
    (tmp_path / "text").write_text("no database\n" * 100)
    line = f"^tracking.uri=sqlite:///{database}: the run is not kept: .*{reason}.*$"
    with pytest.raises(ConfigError, match=line):
        track(tmp_path, database)
    assert names(tmp_path) == ["text"]
    assert (tmp_path / "text").read_text() == "no database\n" * 100


def test_a_database_is_whole_or_not_there_where_nothing_can_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "refused")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(ConfigError, match=r"the run is not kept: .*refused"):
            track(tmp_path)
    assert names(tmp_path) == []
    track(tmp_path)
    assert names(tmp_path) == ["runs.db"]


def test_the_next_run_removes_what_a_killed_one_left_and_no_file_of_others(tmp_path: Path) -> None:
    for name in ("runs.db.4711.part", "runs.db.old", "other.db.4711.part"):
        (tmp_path / name).touch()
    track(tmp_path)
    assert names(tmp_path) == ["other.db.4711.part", "runs.db", "runs.db.old"]
