"""Checkpoints: what a training saves, and what the next one continues."""

from pathlib import Path

import pytest
from ml_ready.training.checkpoints import NONE, Checkpoints


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
