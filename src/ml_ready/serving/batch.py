"""Batch scoring: a file of records in, the same rows with their predictions out."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from .. import contract
from ..errors import ContractError, ProjectError
from .predictor import Predictor

CHUNK = 100_000
_SUFFIXES = (".parquet", ".csv", ".jsonl")
_NO_REASON = pl.lit(None, pl.String).alias("reason")


@dataclass
class Summary:
    """How many rows were read, and how many broke each rule."""

    rows: int = 0
    broken: Counter[str] = field(default_factory=Counter)


def score_file(
    predictor: Predictor, source: Path, output: Path, *, skip_invalid: bool = False
) -> Summary:
    """Score a file chunk by chunk; `output` appears only when all of it is written.

    Parameters
    ----------
    predictor : Predictor
    source : pathlib.Path
        Parquet, CSV or JSON Lines with the inputs of the contract; other columns go through.
    output : pathlib.Path
        Gets every row of the source, in order, with the columns of a prediction.
    skip_invalid : bool
        Leave rows that break the contract without a prediction, and add the `reason`, instead of
        refusing the file.

    Returns
    -------
    Summary

    Raises
    ------
    ContractError
        When the source is empty or lacks a column, or a row breaks a rule.
    ModelError
        When the model gives something that is not a number.
    ProjectError
        When a file cannot be read or written.

    Examples
    --------
    With a `project`, the folder `models` of its trained model, a `record`, and an empty `folder`:

    >>> import polars as pl
    >>> from ml_ready.serving.batch import score_file
    >>> from ml_ready.serving.predictor import Predictor
    >>> source, output = folder / "records.parquet", folder / "answers.parquet"
    >>> pl.DataFrame([record]).write_parquet(source)
    >>> score_file(Predictor(project, models), source, output)
    Summary(rows=1, broken=Counter())
    >>> pl.read_parquet(output).columns[-2:]
    ['probability', 'label']
    """
    _require_suffixes(source, output)
    added = [*predictor.outputs.columns, *(["reason"] if skip_invalid else [])]
    summary = Summary()
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        records = _scan(source, contract.polars_schema(predictor.project.inputs))
        for name in records.collect_schema():
            if name in added:
                raise ContractError(f"{source} has a column {name} already.", "Rename or drop it.")
        answers = [
            _score(predictor, chunk, summary, text=source.suffix == ".csv").select(added)
            for chunk in records.collect_batches(chunk_size=CHUNK)
        ]
        if not answers:
            raise ContractError(f"{source} has no rows: expected at least one record.")
        if summary.broken and not skip_invalid:
            rules = "; ".join(f"{rule}: {rows} rows" for rule, rows in summary.broken.items())
            raise ContractError(
                f"{source} breaks the contract: {rules}.",
                "Fix these rows, or score the others with --skip-invalid.",
            )
        _sink(pl.concat([records, pl.concat(answers).lazy()], how="horizontal"), part, output)
        part.replace(output)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ProjectError(f"{source} cannot be scored into {output}: {reason}") from error
    finally:
        part.unlink(missing_ok=True)
    return summary


def _require_suffixes(source: Path, output: Path) -> None:
    for path in (source, output):
        if path.suffix not in _SUFFIXES:
            raise ProjectError(f"{path}: unknown file type, expected {', '.join(_SUFFIXES)}.")
    if not output.parent.is_dir():
        raise ProjectError(f"{output.parent} is no folder.", "Make it, or name another output.")
    if source.resolve() == output.resolve():
        raise ProjectError(f"{output} is the input itself.", "Name another output.")


def _scan(path: Path, schema: pl.Schema) -> pl.LazyFrame:
    if path.suffix == ".parquet":
        return pl.scan_parquet(path)
    if path.suffix == ".csv":
        return pl.scan_csv(path, infer_schema=False)
    columns = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    known = {name: kind for name, kind in schema.items() if name in columns}
    return pl.scan_ndjson(path, infer_schema_length=None, schema_overrides=known)


def _sink(frame: pl.LazyFrame, part: Path, output: Path) -> None:
    if output.suffix == ".parquet":
        frame.sink_parquet(part)
    elif output.suffix == ".csv":
        frame.sink_csv(part)
    else:
        frame.sink_ndjson(part)


def _score(
    predictor: Predictor, chunk: pl.DataFrame, summary: Summary, *, text: bool
) -> pl.DataFrame:
    columns = predictor.project.inputs
    # An optional field may be left out, as in a request.
    optional = {column.name: column.polars_type for column in columns if column.nullable}
    left_out = [
        pl.lit(None, optional[name]).alias(name) for name in optional.keys() - {*chunk.columns}
    ]
    checked = contract.check(chunk.with_columns(left_out), columns, text=text)
    summary.rows += chunk.height
    summary.broken.update(checked.counts)
    predictions = predictor.outputs.table(predictor.frame(checked.valid))
    refused = checked.quarantined.select("row", "reason")
    rows = chunk.select(pl.row_index("row")).join(refused, on="row", how="anti")
    answered = rows.sort("row").with_columns(*predictions, _NO_REASON)
    return pl.concat([answered, refused], how="diagonal").sort("row")
