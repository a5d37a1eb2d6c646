"""Stage `configure`: compose `conf/`, check it, and write what it comes to into `params.yaml`."""

from collections.abc import Sequence

import yaml

from ..config import Config, load
from ..training.model import Hyperparameters
from .environment import Paths, run

Configuration = Config[Hyperparameters]


def configuration(where: Paths, overrides: Sequence[str] = ()) -> Configuration:
    """Return the checked configuration of this repository."""
    return load(Configuration, where.conf, overrides)


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Write `params.yaml`, which DVC compares to decide which stages run."""
    config = configuration(where, overrides)
    # dvc.yaml reads `source` from conf/config.yaml itself; where runs are tracked changes none.
    resolved = config.model_dump(mode="json", exclude={"source", "tracking"})
    (where.root / "params.yaml").write_text(yaml.safe_dump(resolved), encoding="utf-8")


if __name__ == "__main__":
    run(main)
