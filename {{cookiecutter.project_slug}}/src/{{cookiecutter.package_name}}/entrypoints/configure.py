"""Stage `configure`: compose `conf/`, check it, and write what it comes to into `params.yaml`."""

from collections.abc import Sequence

import yaml

from ..config import Config, load
from ..errors import ConfigError
from ..preprocessing.features import CATEGORICAL, NUMERIC
from ..schema import COLUMNS
from ..training.metrics import Evaluation
from ..training.model import Hyperparameters
from .environment import Paths, run

Configuration = Config[Hyperparameters, Evaluation]


def configuration(where: Paths, overrides: Sequence[str] = ()) -> Configuration:
    """Load the configuration of this repository, with the hyperparameters of the job.

    Parameters
    ----------
    where : Paths
    overrides : sequence of str

    Returns
    -------
    Configuration

    Raises
    ------
    ConfigError
        For an unknown key, a value that is not allowed, or a name that the code does not have.
    """
    given = where.job.hyperparameters() if where.job else []
    config = load(Configuration, where.conf, [*given, *overrides])
    columns = [column.name for column in COLUMNS]
    _require("data.split.column", [config.data.split.column], "column of schema.py", columns)
    every = [*NUMERIC, *CATEGORICAL]
    few = config.evaluation.baseline_features
    _require("evaluation.baseline_features", few, "feature", every)
    return config


def _require(key: str, names: Sequence[str], kind: str, known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}={name}: no such {kind}; there are {', '.join(known)}")


def main(where: Paths, overrides: Sequence[str]) -> None:
    """Write `params.yaml`, which DVC compares to decide which stages run.

    Raises
    ------
    ConfigError
        As `configuration` does, and when there is no folder of source tables.
    """
    config = configuration(where, overrides)
    if not where.source(config.source).is_dir():
        raise ConfigError(f"source={config.source}: no such folder in {where.root}")
    # dvc.yaml reads `source` from conf/config.yaml itself; where runs are tracked changes none.
    resolved = config.model_dump(mode="json", exclude={"source": True, "tracking": {"uri"}})
    (where.root / "params.yaml").write_text(yaml.safe_dump(resolved), encoding="utf-8")


if __name__ == "__main__":
    run(main)
