"""Evaluate: metrics, baselines, plots and the report; then the gate."""

from collections.abc import Sequence

from ml_ready.jobs import evaluate
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run

from ..project import PROJECT


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Write `reports/`, then stop a model that is not good enough."""
    evaluate.main(PROJECT, where, arguments)


if __name__ == "__main__":
    run(main, PROJECT.root)
