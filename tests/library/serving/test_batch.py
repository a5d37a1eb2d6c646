"""Files of records, scored chunk by chunk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from in_process import predicted
from ml_ready import contract
from ml_ready.errors import ContractError, ProjectError
from ml_ready.serving import batch
from ml_ready.serving.batch import score_file
from ml_ready.serving.predictor import Predictor
from synthetic import COLUMNS

INPUTS = [column.name for column in contract.inputs(COLUMNS)]


@pytest.fixture
def source(known: pl.DataFrame, tmp_path: Path) -> Path:
    """A file of records with a column of its own."""
    path = tmp_path / "records.parquet"
    known.with_columns(key=pl.format("k{}", pl.int_range(pl.len()))).write_parquet(path)
    return path


READ: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": pl.read_csv,
    ".jsonl": pl.read_ndjson,
}
WRITE: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    ".parquet": pl.DataFrame.write_parquet,
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
}


@pytest.mark.parametrize("read", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("written", [".parquet", ".csv", ".jsonl"])
def test_a_file_is_scored_row_by_row_whatever_its_kind(
    source: Path,
    read: str,
    written: str,
    known: pl.DataFrame,
    predictor: Predictor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "CHUNK", 100)
    table = pl.read_parquet(source)
    records, output = source.with_suffix(read), source.with_name(f"out{written}")
    WRITE[read](table, records)
    assert score_file(predictor, records, output) == batch.Summary(rows=known.height)
    scored = READ[written](output)
    assert scored["key"].to_list() == table["key"].to_list()
    assert scored.select(predictor.outputs.columns).to_dicts() == predicted(predictor, known)
    assert sorted(path.name for path in source.parent.iterdir()) == sorted(
        {source.name, records.name, output.name}
    )


def broken(source: Path) -> Path:
    """Make the records of a file break a rule in its second row."""
    name = next(column.name for column in contract.inputs(COLUMNS) if not column.nullable)
    missing = pl.when(pl.int_range(pl.len()) != 1).then(name).alias(name)
    pl.read_parquet(source).with_columns(missing).write_parquet(source)
    return source


def test_a_file_that_breaks_the_contract_is_refused_with_counts(
    source: Path, predictor: Predictor
) -> None:
    output = source.with_name("out.csv")
    output.write_text("before", encoding="utf-8")
    with pytest.raises(ContractError, match=r": 1 rows\. Fix these rows") as caught:
        score_file(predictor, broken(source), output)
    assert "\n" not in str(caught.value)
    assert output.read_text(encoding="utf-8") == "before"
    assert len(list(source.parent.iterdir())) == 2


def test_invalid_rows_can_be_left_without_a_prediction(source: Path, predictor: Predictor) -> None:
    output = source.with_name("out.parquet")
    summary = score_file(predictor, broken(source), output, skip_invalid=True)
    assert summary.rows == pl.read_parquet(source).height
    (rule,) = summary.broken
    scored = pl.read_parquet(output)
    assert scored.filter(pl.col("reason").is_not_null())["key"].to_list() == ["k1"]
    assert scored["reason"][1] == rule
    for name in predictor.outputs.columns:
        assert scored[name].null_count() == 1


@pytest.mark.parametrize(
    ("read", "content", "written", "message"),
    [
        ("none.parquet", None, "out.csv", "No such file"),
        ("bad.parquet", b"x", "out.csv", "cannot be scored into"),
        ("bad.csv", b"", "out.csv", "empty"),
        ("bad.csv", INPUTS[0].encode() + b"\n", "out.csv", "has no rows"),
        ("bad.csv", b"colour\nred\n", "out.csv", "Columns missing"),
        ("bad.csv", b"ANSWERED\n1\n", "out.csv", "has a column .* already"),
        ("bad.jsonl", b"{\n", "out.csv", "cannot be scored into"),
        ("bad.txt", b"", "out.csv", "expected .parquet, .csv, .jsonl"),
        ("bad.csv", b"", "out.xlsx", "expected .parquet, .csv, .jsonl"),
        ("bad.csv", b"", "bad.csv", "is the input itself"),
        ("records.parquet", None, "nowhere/out.csv", "nowhere is no folder"),
    ],
)
def test_a_file_that_cannot_be_scored_ends_in_one_line(
    source: Path,
    predictor: Predictor,
    read: str,
    content: bytes | None,
    written: str,
    message: str,
) -> None:
    folder = source.parent
    if content is not None:
        answered = predictor.outputs.columns[0].encode()
        (folder / read).write_bytes(content.replace(b"ANSWERED", answered))
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(ProjectError, match=message) as caught:
        score_file(predictor, folder / read, folder / written)
    assert "\n" not in str(caught.value)
    assert {path.name for path in folder.iterdir()} == before
