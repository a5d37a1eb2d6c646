"""Process on Spark: what `process` does, for more data than one machine holds."""

import argparse
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl

from .. import artifact, contract, tables
from ..config import DataConfig
from ..contract import Column
from ..errors import ConfigError, ContractError
from ..project import Project
from ..tables import files, joined_schema, require_one_row_per_key, schema
from ..windows import (
    Extent,
    cut,
    require_comparable,
    require_filled,
    require_outcomes,
    require_target,
)
from . import cluster
from .configure import configuration
from .folders import Paths
from .ingest import as_text, conclude
from .preprocess import emptied, kept, require_no_leakage

_log = logging.getLogger(__name__)

_TYPES = {
    "Int32": "int",
    "Int64": "bigint",
    "Float32": "float",
    "Float64": "double",
    "String": "string",
    "Boolean": "boolean",
    "Datetime": "timestamp_ntz",
}


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Source tables → features and target of each window, on this machine or many.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        `--master`, and overrides as `configuration` takes them.

    Raises
    ------
    ConfigError
        When a setting is wrong, the project reads or splits its records by itself, Spark is not
        installed, or a host waits in vain for another.
    ContractError
        As `process` does.
    """
    parser = argparse.ArgumentParser("process-spark", description=__doc__)
    parser.add_argument(
        "--master", help="a cluster, such as spark://host:7077 (this machine, the hosts of a job)"
    )
    options, overrides = parser.parse_known_args(arguments)
    _require_defaults(project)
    config = configuration(project, where, overrides)
    source = where.source(config.source)
    require_no_leakage(project)
    if where.job:
        where.job.require_whole_inputs()
    names, name = where.job.hosts() if where.job else ([], "")
    with ExitStack() as stack:
        if options.master:
            session = cluster.session(options.master)
        elif len(names) < 2:
            session = cluster.session("local[*]", "127.0.0.1")
        elif name == names[0]:
            session = cluster.session(stack.enter_context(cluster.lead(names)), name)
        else:
            cluster.follow(names[0], name)
            return
        spark = stack.enter_context(session)
        stack.enter_context(in_a_line())
        process(project, spark, where, source, config.data)


def _require_defaults(project: Project) -> None:
    """Stop where the project has its own source or windows, which are written for polars.

    Raises
    ------
    ConfigError
        Naming them.
    """
    defaults = {"source": tables.read_named, "split": cut}
    own = [
        f"project.{name}" for name, default in defaults.items() if getattr(project, name) != default
    ]
    if own:
        raise ConfigError(
            f"process-spark reads files and splits by time, but {' and '.join(own)} is a function "
            "of this project.",
            "Use `process`, or drop it from project.py.",
        )


def process(project: Project, spark: Any, where: Paths, source: Path, config: DataConfig) -> None:
    """Read, join, check, compute the features, cut the windows and write them.

    Parameters
    ----------
    project : Project
    spark : pyspark.sql.SparkSession
    where : Paths
    source : pathlib.Path
        The folder of the source tables.
    config : DataConfig

    Raises
    ------
    ContractError
        When `ingest` or `preprocess` would.
    """
    from pyspark import StorageLevel
    from pyspark.sql import functions as F  # noqa: N812

    # Python checks the rows once, here; Spark does the rest.
    text = as_text(source, config)
    rows = _checked(_joined(project, spark, source, config), project.columns, text=text)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    tally = _counted(rows, project.columns)
    raw = emptied(where.work / "data" / "raw")
    if tally.quarantined:
        broken = rows.filter("reason is not null").select("broken.*", "reason")
        artifact.write_quarantine(raw, broken)
    conclude(raw, tally, config.tolerance)

    records = rows.filter("reason is null").select("valid.*")
    frame = project.add_target(project.features(records)).select(kept(project, config.split))
    windows = cut(frame, config.split)
    target = project.target

    def measured(part: Any, column: str) -> tuple[Extent, float]:
        value = F.col(f"`{column}`")
        known = F.when(value.cast("string") != "NaN", value)
        measures = F.count("*"), F.min(known), F.max(known), F.count(known), F.avg(f"`{target}`")
        rows, low, high, count, mean = part.agg(*measures).first()
        return Extent(rows, low, high, rows - count), mean

    whole, _ = measured(frame, config.split.column)
    outcomes = {name: measured(window, target) for name, window in windows.items()}
    rows_of = {name: extent.rows for name, (extent, _) in outcomes.items()}
    require_filled(rows_of, whole, config.split)
    require_outcomes({name: extent for name, (extent, _) in outcomes.items()}, target)
    if dropped := tally.valid - whole.rows:
        _log.info("%d records dropped: their outcome is unknown", dropped)
    for name, window in windows.items():
        window.write.mode("append").parquet(str(emptied(where.window(name))))
        mean = outcomes[name][1]
        _log.info("%s: %d rows, %s is %.3f on average", name, rows_of[name], target, mean)


def _joined(project: Project, spark: Any, source: Path, config: DataConfig) -> Any:
    """Read the tables and join them, by the rules of `tables.join`.

    Parameters
    ----------
    project : Project
    spark : pyspark.sql.SparkSession
    source : pathlib.Path
        The folder of the source tables.
    config : DataConfig

    Returns
    -------
    pyspark.sql.DataFrame
        With the columns of the contract.

    Raises
    ------
    ContractError
        When a table cannot be read or joined, or a column is missing or of another type.
    """
    from pyspark.sql import functions as F  # noqa: N812

    columns = schema(source / config.table)
    for declared in config.joins:
        columns = joined_schema(columns, schema(source / declared.table), declared)
    contract.require_columns(columns, project.columns, text=as_text(source, config))
    processed = _processed_schema(project)
    require_comparable(processed, config.split)
    require_target(processed, project.target)
    table = _read(spark, source / config.table)
    for declared in config.joins:
        other = _read(spark, source / declared.table)
        keys = other.groupBy(declared.keys).agg(F.count("*").alias("rows of the key"))
        rows, distinct = keys.agg(F.sum("rows of the key"), F.count("*")).first()
        require_one_row_per_key(declared, rows or 0, distinct)
        table = table.join(other, on=declared.keys, how="left")
    return table.select([column.name for column in project.columns])


def _read(spark: Any, path: Path) -> Any:
    """Read a table from all its files, as `tables.read` does.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
    path : pathlib.Path

    Returns
    -------
    pyspark.sql.DataFrame

    Raises
    ------
    ContractError
        When there is no file, or Spark would pass over one.
    """
    paths = files(path)
    for each in paths:
        if each.name.startswith(("_", ".")):
            raise ContractError(
                f"{each}: Spark skips files whose name starts with _ or a dot.", "Rename it."
            )
    frames = []
    for suffix in sorted({each.suffix for each in paths}):
        # Spark's wildcards are ordinary characters in the name of a file.
        names = [
            re.sub(r"([\\{}\[\]*?])", r"\\\1", str(each)) for each in paths if each.suffix == suffix
        ]
        reader = spark.read.options(recursiveFileLookup=True)
        frames.append(
            reader.csv(names, header=True, multiLine=True, escape='"', mode="FAILFAST")
            if suffix == ".csv"
            else reader.parquet(*names)
        )
    return reduce(lambda one, other: one.unionByName(other), frames)


def _checked(frame: Any, columns: Sequence[Column], *, text: bool) -> Any:
    """Check every row: put it into `valid`, or as it was read into `broken`, with a `reason`.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        With the columns of the contract.
    columns : sequence of Column
    text : bool
        As for `contract.check`.

    Returns
    -------
    pyspark.sql.DataFrame
    """
    from pyspark.sql.types import StructType

    fields = ", ".join(f"{column.name} {_TYPES[column.dtype]}" for column in columns)
    result = StructType().add("valid", StructType.fromDDL(fields)).add("broken", frame.schema)
    result.add("reason", "string")

    def check(batches: Iterator[Any]) -> Iterator[Any]:
        from pyspark.sql.pandas.types import to_arrow_schema

        for batch in batches:
            if batch.num_rows:
                rows_checked = contract.check(pl.DataFrame(batch), columns, text=text)
                valid = rows_checked.valid.select(valid=pl.struct(pl.all()))
                broken = rows_checked.quarantined.select(
                    pl.struct(pl.exclude("row", "reason")).alias("broken"), "reason"
                )
                rows = pl.concat([valid, broken], how="diagonal").select(result.names)
                yield from rows.to_arrow().cast(to_arrow_schema(result)).to_batches()

    return frame.mapInArrow(check, result)


def _counted(rows: Any, columns: Sequence[Column]) -> contract.Tally:
    """Count valid and broken rows, and those that break each rule.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
        As `_checked` returns it.
    columns : sequence of Column

    Returns
    -------
    contract.Tally

    Raises
    ------
    ContractError
        When there is no row.
    """
    from pyspark.sql import functions as F  # noqa: N812

    reason = F.concat(F.lit("; "), "reason", F.lit("; "))
    rules = sorted(column.named_rule for column in columns)
    broken = [F.count_if(F.contains(reason, F.lit(f"; {rule}; "))) for rule in rules]
    valid, bad, *counts = rows.agg(F.count("valid"), F.count("broken"), *broken).first()
    contract.require_rows(valid + bad)
    by_rule = {rule: count for rule, count in zip(rules, counts, strict=True) if count}
    return contract.Tally(valid, bad, by_rule)


def _processed_schema(project: Project) -> pl.Schema:
    """Return names and types of records with features and target."""
    frame = pl.LazyFrame(schema=contract.polars_schema(project.columns))
    processed: pl.Schema = project.add_target(project.features(frame)).collect_schema()
    return processed


@contextmanager
def in_a_line() -> Iterator[None]:
    """Turn the error of a worker about its part of the data into a ContractError of one line.

    Yields
    ------
    None

    Raises
    ------
    ContractError
        When a check of the contract raises it, or Spark cannot read the data. Other errors of Spark
        are raised as they are.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        match = re.search(r"ContractError: (.+)", text)
        if match:
            raise ContractError(match[1]) from error
        if isinstance(error, AnalysisException) or "FAILED_READ_FILE" in text:
            reason = re.search(r"\[[A-Z_.]+\] .+", text)
            line = reason[0] if reason else text.splitlines()[0]
            raise ContractError(
                f"Spark cannot read the tables of the source: {line.rstrip('.')}.",
                "Correct the file it names.",
            ) from error
        raise
