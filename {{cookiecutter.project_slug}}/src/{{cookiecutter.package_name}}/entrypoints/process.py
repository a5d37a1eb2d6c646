"""Process: source tables → checked records → features and target of each window."""

from collections.abc import Sequence

from ml_ready.jobs import ingest, preprocess, process
from ml_ready.jobs.folders import Paths
from ml_ready.jobs.run import run

from ..project import PROJECT

STAGES = {"ingest": ingest.main, "preprocess": preprocess.main}


def main(where: Paths, arguments: Sequence[str]) -> None:
    """Run both stages, which several hosts can share, or the one that `arguments` begin with."""
    if arguments and arguments[0] in STAGES:
        STAGES[arguments[0]](PROJECT, where, arguments[1:])
    else:
        process.main(PROJECT, where, arguments)


if __name__ == "__main__":
    run(main, PROJECT.root)
