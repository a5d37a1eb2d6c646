"""Train: fit, export behind the parity gate, describe and track; or try other settings."""

from collections.abc import Sequence

from ml_ready.jobs import train
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run

from ..project import PROJECT


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Train into `models/`; given overrides, try each combination and leave `models/` alone."""
    train.main(PROJECT, where, arguments)


if __name__ == "__main__":
    run(main, PROJECT.root)
