"""Work that is stopped at any moment is put right by doing it again, and comes to the same."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from itertools import cycle
from pathlib import Path

from tests.conftest import cut_off, moments
from tests.project.conftest import Project

SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


def made(project: Project) -> dict[str, object]:
    """What the pipeline has made, but for times and commits."""
    found: dict[str, object] = {}
    for folder in ("data/raw", "data/processed", "models", "reports"):
        for path in sorted((project.root / folder).rglob("*.*")):
            name = str(path.relative_to(project.root))
            if path.name == "metadata.json":
                metadata = json.loads(path.read_text())
                found[name] = {k: metadata[k] for k in ("metrics", "data_sha256", "reference")}
            elif path.name != "index.html":
                found[name] = path.read_bytes()
    return found


def test_a_pipeline_stopped_at_any_moment_comes_to_the_same(
    trained: Project, fresh: Project
) -> None:
    for name in ("data/raw", "data/processed", "models", "reports"):
        shutil.rmtree(fresh.root / name, ignore_errors=True)
    (fresh.root / "params.yaml").unlink(missing_ok=True)
    stops = 0
    # Each attempt goes on with what the stages before have finished.
    for after, sent in zip(moments(24, 4), cycle(SIGNALS), strict=False):
        command = ["bash", "-c", "source .venv/bin/activate && exec poe pipeline"]
        stopped = cut_off(command, after, sent, cwd=fresh.root, env=fresh.environment)
        stops += stopped
        if not stopped:
            break
    assert stops, "the pipeline ended before it was stopped"
    fresh.does("poe pipeline")
    assert "up to date" in fresh.does("dvc status")
    assert (fresh.root / "reports" / "index.html").stat().st_size
    assert made(fresh) == made(trained)


def test_a_lock_that_was_cut_off_is_made_anew_without_computing(trained: Project) -> None:
    lock = trained.root / "dvc.lock"
    before = lock.read_text()
    for written in (0, len(before) // 2):
        lock.write_text(before[:written].rstrip())
        said = trained.does("poe pipeline")
        assert "dvc.lock was cut off while it was written" in said
        assert said.count("is cached - skipping run") == 5, said
        assert lock.read_text() == before
    merged = f"<<<<<<< HEAD\n{before}=======\n{before}>>>>>>> other\n"
    lock.write_text(merged)
    trained.refuses("poe pipeline")
    assert lock.read_text() == merged


def test_a_list_of_who_writes_that_was_cut_off_stops_no_later_run(trained: Project) -> None:
    listed = trained.root / ".dvc" / "tmp" / "rwlock"
    nobody = {"pid": os.getpid(), "cmd": "dvc repro"}
    for left in ("", json.dumps({"write": {str(trained.root / "models"): nobody}, "read": {}})):
        listed.write_text(left)
        trained.refuses("dvc repro --force")
        trained.does("poe pipeline")


def test_after_a_killed_pipeline_the_next_one_runs_at_once(trained: Project) -> None:
    listed = trained.root / ".dvc" / "tmp" / "rwlock"
    command = ["bash", "-c", "source .venv/bin/activate && exec poe pipeline --force"]
    with subprocess.Popen(command, cwd=trained.root, env=trained.environment) as running:
        while '"pid"' not in (listed.read_text() if listed.exists() else ""):
            assert running.poll() is None
            time.sleep(0.005)
        # That process alone, not all that it has started.
        running.kill()
    trained.does("poe pipeline")


def test_a_training_stopped_while_it_is_tracked_is_put_right_by_the_next(trained: Project) -> None:
    before = made(trained)
    stage = f"exec python -m {trained.package.name}.entrypoints.train"
    command = ["bash", "-c", f"source .venv/bin/activate && {stage}"]
    signals = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL)
    stops = 0
    for after, sent in zip(moments(0.6, 3), signals, strict=True):
        for left in tracked(trained):
            left.unlink()
        where = {"cwd": trained.root, "env": trained.environment}
        stops += cut_off(command, after, sent, begun=lambda: tracked(trained), **where)
        trained.does("poe train")
        assert made(trained) == before
        assert [path.name for path in tracked(trained)] == ["mlflow.db"]
    assert stops, "no training was stopped before it ended"


def test_two_first_trainings_at_once_are_both_tracked(trained: Project) -> None:
    for left in tracked(trained):
        left.unlink()
    database, backup, part = (
        trained.root / f"mlflow.db{suffix}" for suffix in ("", ".old", ".4711.part")
    )
    backup.write_bytes(b"kept")
    # As a training leaves it that is killed while it makes the database.
    part.write_bytes(b"half of ")
    trained.does("true; poe train seed=1 & first=$!; poe train seed=2 && wait $first")
    assert sorted(tracked(trained)) == [database, backup]
    backup.unlink()
    with sqlite3.connect(database) as runs:
        statuses = runs.execute("SELECT status FROM runs").fetchall()
    assert statuses == [("FINISHED",)] * 2


def tracked(project: Project) -> list[Path]:
    """The database of the runs, and what belongs to it."""
    return list(project.root.glob("mlflow.db*"))
