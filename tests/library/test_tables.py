"""Reading tables, joining them, and cutting windows in time."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from ml_ready.config import Join, Split
from ml_ready.errors import ContractError
from ml_ready.tables import join, read
from ml_ready.windows import Extent, extent, require_variety, split

RECORDS = pl.DataFrame({"key": ["a", "b", "a"], "value": [1, 2, 3]})
BY_KEY = Join(table="other.parquet", keys=["key"])
FRAME = pl.DataFrame({"step": [5, 1, 3, 2, 4, 6]})


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_table_is_read_from_parquet_and_csv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    RECORDS.write_parquet(path) if suffix == "parquet" else RECORDS.write_csv(path)
    assert read(path).equals(RECORDS if suffix == "parquet" else RECORDS.cast(pl.String))


def test_a_table_is_all_files_of_its_folder_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    (folder / "a" / "b").mkdir(parents=True)
    pl.DataFrame({"x": ["2"]}).write_csv(folder / "a" / "b" / "2.csv")
    pl.DataFrame({"x": ["1"]}).write_parquet(folder / "a" / "1.parquet")
    (folder / "_SUCCESS").touch()
    assert read(folder)["x"].to_list() == ["1", "2"]
    (folder / "a" / "3.csv").write_text('x\n""\n3\n', encoding="utf-8")
    assert read(folder)["x"].null_count() == 1
    pl.DataFrame({"y": ["3"]}).write_csv(folder / "c.csv")
    with pytest.raises(ContractError, match=r"c\.csv: has the columns y String, expected .* x Str"):
        read(folder)


def test_a_folder_without_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no \.parquet or \.csv file in this folder\. Do it"):
        read(tmp_path, "Do it.")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"table\.parquet: no such file"):
        read(tmp_path / "table.parquet")


@pytest.mark.parametrize("content", [b"", b"not parquet at all"])
def test_a_damaged_table_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(ContractError, match="not a readable parquet file") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_join_keeps_every_record_once_and_in_order() -> None:
    joined = join(RECORDS, [(BY_KEY, pl.DataFrame({"key": ["a", "c"], "extra": [10, 30]}))])
    assert joined["value"].to_list() == [1, 2, 3]
    assert joined["extra"].to_list() == [10, None, 10]


def test_a_repeated_key_is_refused() -> None:
    with pytest.raises(ContractError, match="1 rows repeat a key of key"):
        join(RECORDS, [(BY_KEY, pl.DataFrame({"key": ["a", "a"], "extra": [1, 2]}))])


def test_a_column_of_both_tables_is_refused() -> None:
    with pytest.raises(ContractError, match="other.parquet: value is in the records already"):
        join(RECORDS, [(BY_KEY, pl.DataFrame({"key": ["a"], "value": [1]}))])


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ContractError, match="other.parquet is empty"):
        join(RECORDS, [(BY_KEY, pl.DataFrame(schema={"key": pl.String, "extra": pl.Int64}))])


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(ContractError, match="key is not in other.parquet, which has extra"):
        join(RECORDS, [(BY_KEY, pl.DataFrame({"extra": [1]}))])


def test_keys_of_different_types_are_refused() -> None:
    with pytest.raises(ContractError, match="keys of different types") as caught:
        join(RECORDS, [(BY_KEY, pl.DataFrame({"key": [1], "extra": [1]}))])
    assert "\n" not in str(caught.value)


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
    outcomes = {"train": Extent(2, 0, 1), "test": extent(pl.DataFrame({"y": [1, 1]}), "y")}
    with pytest.raises(ContractError, match="The test window holds only y=1 in 2 rows"):
        require_variety(outcomes, "y")
