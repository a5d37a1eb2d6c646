"""Process: what `ingest` and `preprocess` do, in one job, which several hosts can share."""

from collections.abc import Sequence

from ..project import Project
from .configure import configuration
from .folders import Paths
from .ingest import ingest
from .preprocess import preprocess


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Source tables → checked records → features and target of each window.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        Overrides, as `configuration` takes them.

    Raises
    ------
    ConfigError, ContractError
        As `ingest` and `preprocess` do.
    """
    config = configuration(project, where, arguments)
    ingest(project, where, config)
    preprocess(project, where, config)
