"""Process on Spark: what `process` does, for more data than one machine holds."""

from collections.abc import Sequence

from ml_ready.jobs import spark
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run

from ..project import PROJECT


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Source tables → features and target of each window, on one machine or many."""
    spark.main(PROJECT, where, arguments)


if __name__ == "__main__":
    run(main, PROJECT.root)
