"""Reading tables and joining them."""

from pathlib import Path

import polars as pl
import pytest

from {{ cookiecutter.package_name }}.config import Join
from {{ cookiecutter.package_name }}.errors import ContractError
from {{ cookiecutter.package_name }}.preprocessing.ingest import join, read

RECORDS = pl.DataFrame({"key": ["a", "b", "a"], "value": [1, 2, 3]})
BY_KEY = Join(table="other.parquet", keys=["key"])


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_table_is_read_from_parquet_and_csv(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    RECORDS.write_parquet(path) if suffix == "parquet" else RECORDS.write_csv(path)
    assert read(path).equals(RECORDS if suffix == "parquet" else RECORDS.cast(pl.String))


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
