"""Serve: answer predictions over HTTP until SIGTERM."""

from collections.abc import Sequence

from ml_ready.jobs import serve
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run

from ..project import PROJECT


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Load the model and listen."""
    serve.main(PROJECT, where, arguments)


if __name__ == "__main__":
    run(main, PROJECT.root)
