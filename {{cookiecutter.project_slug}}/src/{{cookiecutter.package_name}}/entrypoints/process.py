"""Process: what `ingest` and `preprocess` do, in one job, which several hosts can share."""

from collections.abc import Sequence

from . import ingest, preprocess
from .environment import Paths, run


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Source tables → checked records → features and target of each window.

    Raises
    ------
    ConfigError, ContractError
        As `ingest` and `preprocess` do.
    """
    ingest.main(where, overrides)
    preprocess.main(where, overrides)


if __name__ == "__main__":
    run(main)
