"""Stage `preprocess`: `data/raw` → features and target of each window in `data/processed`."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from .. import tables
from ..artifact import RECORDS_FILE
from ..config import Config, Split
from ..errors import ContractError
from ..project import Project
from ..windows import extent, require_outcomes, require_target, split
from .configure import configuration
from .folders import Paths

_log = logging.getLogger(__name__)


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Compute the features and cut the windows.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        Overrides in Hydra's grammar, as `configuration` takes them.

    Raises
    ------
    ConfigError
        When a setting is wrong.
    ContractError
        When there are no records, as `windows` does, or when a window lacks an outcome or holds
        only one.
    """
    preprocess(project, where, configuration(project, where, arguments))


def preprocess(project: Project, where: Paths, config: Config[Any, Any]) -> None:
    """Do what `main` does, with a configuration that is loaded.

    Parameters
    ----------
    project : Project
    where : Paths
    config : Config

    Raises
    ------
    ContractError
        As `main` does.
    """
    records = tables.read(where.raw / RECORDS_FILE, "Run the stages before it: `poe pipeline`")
    cut = windows(project, records, config.data.split)
    target = project.target
    require_outcomes({name: extent(window, target) for name, window in cut.items()}, target)
    dropped = records.height - sum(window.height for window in cut.values())
    if dropped:
        reason = "their outcome is unknown, or the split leaves them out"
        _log.info("%d of %d records are in no window: %s", dropped, records.height, reason)
    columns = kept(project, config.data.split)
    for name, window in cut.items():
        folder = where.window(name)
        if where.host == (0, 1):  # parts of an earlier run on more hosts, or on Spark
            emptied(folder)
        folder.mkdir(parents=True, exist_ok=True)
        window.select(columns).write_parquet(folder / f"part-{where.host[0]}.parquet")
        mean = window[target].to_numpy().mean()
        _log.info("%s: %d rows, %s is %.3f on average", name, window.height, target, mean)


def emptied(folder: Path) -> Path:
    """Return a folder after removing all that is in it: SageMaker may have mounted the folder.

    Parameters
    ----------
    folder : pathlib.Path
        It is made where it is missing.

    Returns
    -------
    pathlib.Path
        The same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    return folder


def kept(project: Project, boundaries: Split) -> list[str]:
    """List the columns of a window.

    Parameters
    ----------
    project : Project
    boundaries : Split

    Returns
    -------
    list of str
        The column of the boundaries, the features and the target, each once.
    """
    return list(dict.fromkeys([boundaries.column, *project.feature_names, project.target]))


def windows(project: Project, records: pl.DataFrame, boundaries: Split) -> dict[str, pl.DataFrame]:
    """Compute features and target of checked records, and cut them into windows.

    Parameters
    ----------
    project : Project
    records : polars.DataFrame of shape (rows, columns)
    boundaries : Split

    Returns
    -------
    dict of str to polars.DataFrame
        By the name of the window.

    Raises
    ------
    ContractError
        When a feature needs what is known only later, the target is no number, or the records
        cannot be split so.

    Examples
    --------
    With a `project`:

    >>> from ml_ready.jobs.configure import configuration
    >>> from ml_ready.jobs.folders import Paths
    >>> from ml_ready.jobs.ingest import records
    >>> from ml_ready.jobs.preprocess import windows
    >>> config = configuration(project, Paths(project.root))
    >>> checked = records(project, project.root / config.source, config.data)
    >>> list(windows(project, checked.valid, config.data.split))
    ['train', 'validation', 'test']
    """
    require_no_leakage(project)
    frame = project.add_target(project.features(records.lazy()))
    require_target(frame.collect_schema(), project.target)
    return split(frame.collect(engine="streaming"), boundaries, project.split)


def require_no_leakage(project: Project) -> None:
    """Stop when the features need more than is known when a prediction is asked for.

    Parameters
    ----------
    project : Project

    Raises
    ------
    ContractError
        Naming the column.
    """
    types = {column.name: column.polars_type for column in project.inputs}
    try:
        project.features(pl.LazyFrame(schema=types)).collect_schema()
    except pl.exceptions.ColumnNotFoundError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            f"preprocessing/features.py: features() needs a column that is not known at prediction "
            f"time ({reason}), expected only {', '.join(types)}.",
            "Drop that feature, or change known_at_prediction in schema.py.",
        ) from error
