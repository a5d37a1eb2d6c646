"""The gates and their intervals, and where a model came from, one function at a time."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import synthetic
from ml_ready.checks import (
    Interval,
    compare,
    compare_gains,
    percentiles,
    require_passed,
)
from ml_ready.errors import GateError, ParityError
from ml_ready.jobs.evaluate import remark_on
from ml_ready.training.checkpoints import NONE, Checkpoints
from ml_ready.training.export import require_parity
from ml_ready.training.provenance import digest, provenance, reference

NUMERIC, CATEGORICAL = synthetic.NUMERIC, synthetic.CATEGORICAL
NAN = float("nan")


def test_an_interval_holds_the_middle_of_the_draws() -> None:
    assert percentiles([7.0, *range(101)], confidence=0.5) == Interval(7, 25, 75)


def test_a_draw_that_is_no_number_counts_nothing() -> None:
    assert percentiles([1.0, NAN, 2.0, 2.0], confidence=0.9) == Interval(1, 2, 2)


@pytest.mark.parametrize(
    ("value", "relation", "passed"),
    [
        (1.0, "≥", True),
        (0.9, "≥", False),
        (1.0, "≤", True),
        (1.1, "≤", False),
        (1.0, ">", False),
        (NAN, "≥", False),
        (NAN, "≤", False),
    ],
)
def test_a_value_is_held_against_its_bound(value: float, relation: str, passed: bool) -> None:
    check = compare("error", "How large?", value, relation, 1, window="test")
    assert (check.passed, check.threshold) == (passed, f"{relation} 1")


def test_a_gain_counts_with_its_lower_end() -> None:
    gains = {"constant": Interval(0.3, 0.1, 0.5), "linear": Interval(0.3, -0.1, 0.5)}
    checks = compare_gains("test", gains, "loss", 0.05)
    assert [each.passed for each in checks] == [True, False]
    require_passed(checks[:1])
    line = "loss gain over linear, lower end on test is -0.1000, required > 0.05"
    with pytest.raises(GateError, match=f"not good enough: {line}"):
        require_passed(checks)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (2, 2)])
def test_equal_scores_are_in_parity(shape: tuple[int, ...]) -> None:
    assert require_parity(np.full(shape, 0.25), np.full(shape, 0.25), 1e-5) == 0


def test_scores_of_another_shape_are_stopped() -> None:
    with pytest.raises(ParityError, match=r"predicts \(3,\) values, the exported \(3, 1\)"):
        require_parity(np.zeros(3), np.zeros((3, 1)), 1e-5)


@pytest.mark.parametrize("broken", [0.26, NAN])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_model_that_predicts_otherwise_after_export_is_stopped(
    broken: float, outputs: int
) -> None:
    trained = np.full((2, outputs), 0.25)
    exported = trained.copy()
    exported[1, -1] = broken
    with pytest.raises(ParityError, match="on 1 of 2 rows"):
        require_parity(trained, exported, 1e-5)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.01, 0.03, "It gains"), (-0.01, 0.01, "as good"), (-0.03, -0.01, "is better")],
)
def test_the_remark_says_who_is_better(tmp_path: Path, low: float, high: float, said: str) -> None:
    project = synthetic.make(tmp_path)
    assert said in remark_on(project, Interval((low + high) / 2, low, high))


def test_the_reference_describes_numbers_and_categories(tmp_path: Path) -> None:
    numbers = {name: [0.0, 1.0, 2.0, None] for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "a", "b", "b"] for name in CATEGORICAL})
    described = reference(synthetic.make(tmp_path), frame, bins=2)
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
def test_the_reference_bears_a_constant_and_an_empty_column(
    tmp_path: Path, values: list[float | None], described: dict[str, Any]
) -> None:
    numbers = {name: pl.Series(values, dtype=pl.Float32) for name in NUMERIC}
    frame = pl.DataFrame(numbers | {name: ["a", "b"] for name in CATEGORICAL})
    assert reference(synthetic.make(tmp_path), frame)[NUMERIC[0]] == described


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
    origin = provenance(tmp_path, [])
    assert len(origin["git_commit"]) == 40
    assert origin["libraries"] == {"polars": pl.__version__}
    assert origin["git_clean"] is True
    (tmp_path / "dvc.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is True
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.py").touch()
    assert provenance(tmp_path, [])["git_clean"] is False
    (tmp_path / "src" / "new.py").unlink()
    (tmp_path / "poetry.lock").write_text("2", encoding="utf-8")
    assert provenance(tmp_path, [])["git_clean"] is False


def test_provenance_bears_a_machine_without_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance(tmp_path, [])["git_commit"] is None


def test_an_image_says_which_commit_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMIT", "abc")
    origin = provenance(tmp_path, [])
    assert (origin["git_commit"], origin["git_clean"]) == ("abc", True)
    monkeypatch.setenv("GIT_COMMIT", "abc-dirty")
    origin = provenance(tmp_path, [])
    assert (origin["git_commit"], origin["git_clean"]) == ("abc", False)


def test_a_state_is_taken_up_by_the_same_training_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Checkpoints(tmp_path, "of this training")
    assert kept.load("trees") is None
    kept.save("trees", {"rounds": 1})
    kept.save("trees", {"rounds": 2})
    assert kept.load("trees") == {"rounds": 2}
    assert kept.load("other trees") is None
    assert Checkpoints(tmp_path, "another training").load("trees") is None
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert kept.load("trees") is None
    assert "not readable (UnpicklingError), training starts again" in caplog.text


@pytest.mark.parametrize(
    ("done", "most", "expected"),
    [
        (0, 100, [*range(5, 101, 5)]),
        (15, 100, [*range(20, 101, 5)]),
        (17, 100, [*range(20, 101, 5)]),
        (0, 3, [1, 2, 3]),
        (3, 3, []),
    ],
)
def test_a_training_is_kept_twenty_times(
    tmp_path: Path, done: int, most: int, expected: list[int]
) -> None:
    assert [*Checkpoints(tmp_path).due(done, most)] == expected
    assert [*NONE.due(done, most)] == ([most] if done < most else [])
    NONE.save("trees", 1)
    assert NONE.load("trees") is None
