"""Windows in time, one rule at a time."""

from datetime import datetime

import polars as pl
import pytest
from ml_ready.config import Split
from ml_ready.errors import ContractError
from ml_ready.windows import Extent, extent, require_outcomes, require_target, split

FRAME = pl.DataFrame({"step": [5, 1, 3, 2, 4, 6]})


def boundaries(train_until: int, validation_until: int, column: str = "step") -> Split:
    return Split(column=column, train_until=train_until, validation_until=validation_until)


def test_each_row_lands_in_one_window_and_later_rows_in_later_windows() -> None:
    windows = split(FRAME, boundaries(3, 5))
    assert {name: window["step"].to_list() for name, window in windows.items()} == {
        "train": [1, 2],
        "validation": [3, 4],
        "test": [5, 6],
    }


def test_dates_split_as_numbers_do() -> None:
    days = [datetime(2013, 1, day) for day in (1, 2, 3)]
    limits = Split(column="day", train_until=days[1], validation_until=days[2])
    windows = split(pl.DataFrame({"day": days}), limits)
    assert [window.height for window in windows.values()] == [1, 1, 1]


@pytest.mark.parametrize("limits", [boundaries(0, 3), boundaries(3, 9), boundaries(10, 20)])
def test_an_empty_window_is_refused(limits: Split) -> None:
    with pytest.raises(ContractError, match="window is empty; step runs from 1 to 6"):
        split(FRAME, limits)


@pytest.mark.parametrize("steps", [[1, None, 6], []])
def test_a_row_without_a_place_in_time_is_refused(steps: list[int | None]) -> None:
    frame = pl.DataFrame({"step": steps}, schema={"step": pl.Int64})
    with pytest.raises(ContractError, match=r"data\.split\.column=step: missing in [01] of [30] r"):
        split(frame, boundaries(3, 5))


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ContractError, match=r"data\.split\.column=time: no such column"):
        split(FRAME, boundaries(3, 5, "time"))


def test_boundaries_of_another_type_are_refused() -> None:
    with pytest.raises(ContractError, match="does not compare with 3"):
        split(FRAME.cast(pl.String), boundaries(3, 5))


def test_a_window_with_one_class_is_refused() -> None:
    outcomes = {"train": Extent(2, 0, 1), "test": extent(pl.DataFrame({"y": [1, 1]}), "y")}
    with pytest.raises(ContractError, match="The test window holds only y=1 in 2 rows"):
        require_outcomes(outcomes, "y")


def test_windows_with_several_outcomes_are_kept() -> None:
    require_outcomes({"train": Extent(2, 0, 1), "test": Extent(3, 0, 2)}, "y")


@pytest.mark.parametrize(
    ("outcomes", "line"),
    [
        ([0.0, 1.0, None, float("nan")], "The test window has no y in 2 of 4 rows, expected"),
        ([None], "The test window has no y in 1 of 1 rows, expected"),
        ([0.0, float("inf")], "The test window has y from 0.0 to inf in 2 rows, expected"),
    ],
)
def test_an_outcome_that_is_no_number_is_refused(outcomes: list[float | None], line: str) -> None:
    frame = pl.DataFrame({"y": outcomes}, schema={"y": pl.Float32})
    with pytest.raises(ContractError, match=line):
        require_outcomes({"test": extent(frame, "y")}, "y")


@pytest.mark.parametrize(
    ("schema", "line"),
    [
        ({"y": pl.String}, r"target\(\) gives y the type String, expected a number"),
        ({"x": pl.Int8}, r"target\(\) gives y no column, expected a number"),
    ],
)
def test_a_target_of_another_type_is_refused(schema: dict[str, type], line: str) -> None:
    with pytest.raises(ContractError, match=line):
        require_target(pl.Schema(schema), "y")


def test_a_project_may_cut_the_windows_itself() -> None:
    def by_parity(frame: pl.LazyFrame, limits: Split) -> dict[str, pl.LazyFrame]:
        number = pl.col(limits.column) % 3
        names = ("train", "validation", "test")
        return {name: frame.filter(number == rest) for rest, name in enumerate(names)}

    windows = split(FRAME, boundaries(3, 5), by_parity)
    assert windows["train"]["step"].to_list() == [3, 6]
