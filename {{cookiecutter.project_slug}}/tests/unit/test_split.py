"""Windows in time."""

from datetime import datetime

import polars as pl
import pytest

from {{ cookiecutter.package_name }}.config import Split
from {{ cookiecutter.package_name }}.errors import ContractError
from {{ cookiecutter.package_name }}.preprocessing.split import require_two_classes, split

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
    with pytest.raises(ContractError, match="data.split.column=step: missing in [01] of [30] rows"):
        split(frame, boundaries(3, 5))


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ContractError, match="data.split.column=time: no such column"):
        split(FRAME, boundaries(3, 5, "time"))


def test_boundaries_of_another_type_are_refused() -> None:
    with pytest.raises(ContractError, match="does not compare with 3"):
        split(FRAME.cast(pl.String), boundaries(3, 5))


def test_a_window_with_one_class_is_refused() -> None:
    windows = {"train": pl.DataFrame({"y": [0, 1]}), "test": pl.DataFrame({"y": [1, 1]})}
    with pytest.raises(ContractError, match="The test window holds only y=1 in 2 rows"):
        require_two_classes(windows, "y")
