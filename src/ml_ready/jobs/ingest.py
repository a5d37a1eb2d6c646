"""Stage `ingest`: source tables → `data/raw`, with the rows that break the contract set aside."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import artifact, contract, tables
from ..config import Config, DataConfig
from ..project import Project
from .configure import configuration
from .folders import Paths

_log = logging.getLogger(__name__)


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Join the tables, check the contract, and stop where too many rows break it.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        Overrides in Hydra's grammar, as `configuration` takes them.

    Raises
    ------
    ConfigError
        When a setting is wrong, or SageMaker has dealt out the files of an input.
    ContractError
        When the tables cannot be joined, or too many rows break the contract.
    """
    ingest(project, where, configuration(project, where, arguments))


def ingest(project: Project, where: Paths, config: Config[Any, Any]) -> None:
    """Do what `main` does, with a configuration that is loaded.

    Parameters
    ----------
    project : Project
    where : Paths
    config : Config

    Raises
    ------
    ConfigError, ContractError
        As `main` does.
    """
    if where.job:
        where.job.require_whole_inputs()
    checked = records(project, where.source(config.source), config.data, where.host)
    where.raw.mkdir(parents=True, exist_ok=True)
    artifact.write_quarantine(where.raw, checked.quarantined)
    conclude(where.raw, checked.tally, config.data.tolerance)
    artifact.write_records(where.raw, checked.valid)


def conclude(folder: Path, tally: contract.Tally, tolerance: float) -> None:
    """Say how many rows break which rule, stop where they are too many, and write it down.

    Parameters
    ----------
    folder : pathlib.Path
        Gets `contract.json`.
    tally : contract.Tally
    tolerance : float
        The share of rows that may break the contract, 0 to 1.

    Raises
    ------
    ContractError
        When more rows break it.
    """
    for rule, count in tally.rules.items():
        _log.warning("%s: broken by %d records, see the quarantine in data/raw", rule, count)
    contract.require_tolerated(tally, tolerance)
    artifact.write_counts(folder, tally)
    _log.info("%d records valid, %d set aside", tally.valid, tally.quarantined)


def records(
    project: Project, source: Path, config: DataConfig, part: tuple[int, int] = (0, 1)
) -> contract.Checked:
    """Read the tables of a source, join them and check every row.

    Parameters
    ----------
    project : Project
    source : pathlib.Path
        The folder of the source tables.
    config : DataConfig
    part : tuple of int
        Which share of the rows to read, from 0, and of how many.

    Returns
    -------
    contract.Checked

    Raises
    ------
    ContractError
        When a table cannot be read or joined, or a column is missing or of another type.

    Examples
    --------
    With a `project` whose sample holds to the contract:

    >>> from ml_ready.jobs.configure import configuration
    >>> from ml_ready.jobs.folders import Paths
    >>> from ml_ready.jobs.ingest import records
    >>> config = configuration(project, Paths(project.root))
    >>> records(project, project.root / config.source, config.data).tally
    Tally(valid=900, quarantined=0, rules={})
    """
    others = [(join, project.source(source, join.table)) for join in config.joins]
    position, parts = part
    table = project.source(source, config.table).gather_every(parts, position)
    text = project.source is tables.read_named and as_text(source, config)
    return contract.check(tables.join(table, others), project.columns, text=text)


def as_text(source: Path, config: DataConfig) -> bool:
    """Tell whether cells come as text, which the contract reads: those of CSV files do.

    Parameters
    ----------
    source : pathlib.Path
        The folder of the source tables.
    config : DataConfig

    Returns
    -------
    bool
        True where at least one file is CSV.

    Raises
    ------
    ContractError
        When a table is missing.
    """
    names = [config.table, *(join.table for join in config.joins)]
    return any(file.suffix == ".csv" for name in names for file in tables.files(source / name))
