"""Reading tables and joining them."""

from pathlib import Path

import polars as pl
import pytest
from ml_ready.config import Join
from ml_ready.errors import ContractError
from ml_ready.tables import join, read, read_named, read_window

RECORDS = pl.DataFrame({"key": ["a", "b", "a"], "value": [1, 2, 3]})
BY_KEY = Join(table="other.parquet", keys=["key"])


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
    with pytest.raises(ContractError, match=r"other\.parquet: value is in the records already"):
        join(RECORDS, [(BY_KEY, pl.DataFrame({"key": ["a"], "value": [1]}))])


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ContractError, match=r"other\.parquet is empty"):
        join(RECORDS, [(BY_KEY, pl.DataFrame(schema={"key": pl.String, "extra": pl.Int64}))])


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(ContractError, match=r"key is not in other\.parquet, which has extra"):
        join(RECORDS, [(BY_KEY, pl.DataFrame({"extra": [1]}))])


def test_keys_of_different_types_are_refused() -> None:
    with pytest.raises(ContractError, match="keys of different types") as caught:
        join(RECORDS, [(BY_KEY, pl.DataFrame({"key": [1], "extra": [1]}))])
    assert "\n" not in str(caught.value)


def test_a_source_table_is_read_by_its_name(tmp_path: Path) -> None:
    RECORDS.write_parquet(tmp_path / "records.parquet")
    assert read_named(tmp_path, "records.parquet").equals(RECORDS)


def test_a_window_is_read_with_its_features_and_its_target(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    RECORDS.with_columns(outcome=pl.lit(1)).write_parquet(path)
    window = read_window(path, ["value"], ["key"], "outcome", "Make it.")
    assert window.columns == ["key", "value", "outcome"]


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (RECORDS, r"columns missing: outcome\. Make it\."),
        (RECORDS.with_columns(outcome=pl.lit("1")), "texts in outcome: expected numbers, in parq"),
        (RECORDS.with_columns(outcome=1, value=pl.lit("1")), "texts in value: expected numbers"),
        (RECORDS.with_columns(outcome=1).clear(), r"no row, expected at least one\. Make it\."),
        (RECORDS.with_columns(outcome=pl.lit(None, pl.Int8)), r"3 rows without outcome\. Make it"),
    ],
)
def test_a_window_that_nothing_can_be_trained_on_is_refused(
    tmp_path: Path, window: pl.DataFrame, message: str
) -> None:
    path = tmp_path / "train.parquet"
    window.write_parquet(path)
    with pytest.raises(ContractError, match=rf"train\.parquet: {message}"):
        read_window(path, ["value"], ["key"], "outcome", "Make it.")
