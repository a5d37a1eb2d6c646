"""Stage `configure`: compose `conf/`, check it, and write the result into `params.yaml`."""

from collections.abc import Sequence
from typing import Any

import yaml

from .. import tables
from ..config import Config, composed, load, validate
from ..errors import ConfigError
from ..project import Project
from . import packages
from .folders import Paths

PARAMS = "--params"
_PARAMS_FILE = "params.yaml"


def _configuration_type(project: Project) -> type[Config[Any, Any]]:
    """Return the type of the configuration: what the model and the evaluation of a project take."""
    generic: Any = Config  # mypy takes no type that is known only when this runs
    kind: type[Config[Any, Any]]
    kind = generic[project.training.Hyperparameters, project.task.evaluation()]
    return kind


def configuration(
    project: Project, where: Paths, overrides: Sequence[str] = ()
) -> Config[Any, Any]:
    """Load the configuration.

    Parameters
    ----------
    project : Project
    where : Paths
    overrides : sequence of str
        In Hydra's grammar, on top of the hyperparameters of the job. Or only `--params`, as DVC
        starts its stages: then the values are those of `params.yaml`, which DVC has compared.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        For an unknown key, a value that is not allowed, or a name that the code does not have.

    Examples
    --------
    With a `project`:

    >>> from ml_ready.jobs.configure import configuration
    >>> from ml_ready.jobs.folders import Paths
    >>> configuration(project, Paths(project.root), ["seed=3"]).seed
    3
    >>> configuration(project, Paths(project.root), ["sed=3"])
    Traceback (most recent call last):
    ml_ready.errors.ConfigError: sed=3: no such key; the configuration has data, evaluation...
    """
    kind = _configuration_type(project)
    if PARAMS in overrides:
        config = validate(kind, _compared(where, overrides))
    else:
        hyperparameters = where.job.hyperparameters() if where.job else []
        config = load(kind, where.conf, [*hyperparameters, *overrides])
    columns = [column.name for column in project.columns]
    _require("data.split.column", [config.data.split.column], "column of schema.py", columns)
    few = config.evaluation.baseline_features
    _require("evaluation.baseline_features", few, "feature", project.feature_names)
    return config


def main(project: Project, where: Paths, arguments: Sequence[str]) -> None:
    """Write `params.yaml`, which DVC compares to decide which stages run.

    Beside the configuration it holds the versions of the packages that decide each stage's result.

    Parameters
    ----------
    project : Project
    where : Paths
    arguments : sequence of str
        Overrides in Hydra's grammar, as `configuration` takes them.

    Raises
    ------
    ConfigError
        As `configuration` does, and when there is no folder of source tables.
    """
    config = configuration(project, where, arguments)
    if project.source is tables.read_named and not where.source(config.source).is_dir():
        raise ConfigError(
            f"source={config.source}: no such folder in {where.root}.",
            "Fix `source` in conf/config.yaml",
        )
    # dvc.yaml reads `source` from conf/config.yaml itself; where runs are tracked changes none.
    params = config.model_dump(mode="json", exclude={"source": True, "tracking": {"uri"}})
    params["packages"] = packages.by_stage(where.root)
    packages.require_locked(where.root, params["packages"])
    (where.root / _PARAMS_FILE).write_text(yaml.safe_dump(params), encoding="utf-8")


def _compared(where: Paths, arguments: Sequence[str]) -> dict[str, Any]:
    """Read `params.yaml`, and from `conf/` the values that it does not hold."""
    if others := [each for each in arguments if each != PARAMS]:
        raise ConfigError(
            f"{' '.join(others)}: {PARAMS} takes every value from {_PARAMS_FILE}.",
            f"Leave {PARAMS} out, or change conf/.",
        )
    path = where.root / _PARAMS_FILE
    try:
        params = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        compared = dict(params.pop("tracking"))
    except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: not readable ({reason}).", "Write it: `poe pipeline`"
        ) from error
    params.pop("packages", None)
    conf = composed(where.conf)
    uri = (conf.get("tracking") or {}).get("uri")
    return {"source": conf.get("source"), "tracking": {"uri": uri, **compared}, **params}


def _require(key: str, names: Sequence[str], kind: str, known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}={name}: no such {kind}; there are {', '.join(known)}")
