"""The typed configuration: composed by Hydra from `conf/`, checked before any work starts."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from yaml import YAMLError

from .errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are refused.

    Examples
    --------
    >>> from ml_ready.config import Section, validate
    >>> class Hyperparameters(Section):
    ...     learning_rate: float
    >>> validate(Hyperparameters, {"learning_rate": 0.1})
    Hyperparameters(learning_rate=0.1)
    >>> validate(Hyperparameters, {"learning_rate": 0.1, "depth": 3})
    Traceback (most recent call last):
    ml_ready.errors.ConfigError: depth=3: no such key; the configuration has learning_rate
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_from_true(cls, value: object, info: ValidationInfo) -> object:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float):
            raise ValueError("expected a number")
        return value


class Join(Section):
    """A table to join on the left, at most one row per key."""

    table: Name
    keys: Annotated[list[Name], Field(min_length=1)]


class Split(Section):
    """Where the training, validation and test windows end along an ordered column."""

    column: Name
    train_until: int | datetime
    validation_until: int | datetime

    @model_validator(mode="after")
    def _in_order(self) -> "Split":
        if type(self.train_until) is not type(self.validation_until):
            raise ValueError(
                "train_until and validation_until must both be integers or both be dates"
            )
        try:
            ordered = self.train_until < self.validation_until  # type: ignore[operator]
        except TypeError as error:
            raise ValueError(f"train_until and validation_until: {error}") from error
        if not ordered:
            raise ValueError(
                f"train_until ({self.train_until}) must be before validation_until "
                f"({self.validation_until})"
            )
        return self


class DataConfig(Section):
    """What is read, joined, tolerated and how it is split."""

    table: Name
    joins: list[Join]
    tolerance: Share
    split: Split


class TrackingConfig(Section):
    """Where MLflow keeps its runs."""

    uri: Name
    experiment: Name


Hyperparameters = TypeVar("Hyperparameters", bound=BaseModel)
Evaluation = TypeVar("Evaluation", bound=BaseModel)


class Config(Section, Generic[Hyperparameters, Evaluation]):
    """The whole configuration; the model of the project types `model`, its task `evaluation`."""

    source: Name
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: DataConfig
    model: Hyperparameters
    evaluation: Evaluation
    tracking: TrackingConfig


Schema = TypeVar("Schema", bound=BaseModel)


def load(
    schema: type[Schema], folder: Path, overrides: Sequence[str] = (), name: str = "config"
) -> Schema:
    """Compose `folder` with Hydra and check it.

    Parameters
    ----------
    schema : type
        The pydantic model that the configuration has to fit.
    folder : pathlib.Path
        The folder that holds the file.
    overrides : sequence of str
        Hydra's override grammar, such as `model.learning_rate=0.1`.
    name : str
        The file, without `.yaml`.

    Returns
    -------
    Schema

    Raises
    ------
    ConfigError
        One line naming the key, the value and what is allowed.
    """
    unknown = [
        line
        for override in _parse(overrides)
        if (line := _unknown(schema, override.key_or_group.split("."), str(override.input_line)))
    ]
    if unknown:
        raise ConfigError("; ".join(unknown))
    return validate(schema, composed(folder, overrides, name))


def composed(folder: Path, overrides: Sequence[str] = (), name: str = "config") -> dict[str, Any]:
    """Compose a folder with Hydra, and check nothing but that this is possible.

    Parameters
    ----------
    folder, overrides, name
        As for `load`.

    Returns
    -------
    dict

    Raises
    ------
    ConfigError
        When a file cannot be read or an override cannot be applied.
    """
    try:
        with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
            content: Any = OmegaConf.to_container(compose(name, list(overrides)), resolve=True)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{folder.name}: {' '.join(str(error).split())}") from error
    return dict(content)


def validate(schema: type[Schema], content: Mapping[str, Any]) -> Schema:
    """Check values, wherever they come from.

    Parameters
    ----------
    schema : type
        The pydantic model that they have to fit.
    content : mapping

    Returns
    -------
    Schema

    Raises
    ------
    ConfigError
        One line naming each key, the value and what is allowed.
    """
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # A misspelt key before what is missing for it.
        details = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")
        lines = dict.fromkeys(_line(schema, detail) for detail in details)
        raise ConfigError("; ".join(lines)) from error


def combinations(overrides: Sequence[str]) -> list[list[str]]:
    """Expand sweeps such as `model.learning_rate=0.05,0.1`.

    Parameters
    ----------
    overrides : sequence of str

    Returns
    -------
    list of list of str
        The overrides of each run.

    Raises
    ------
    ConfigError
        When one is not in Hydra's override grammar.

    Examples
    --------
    >>> from ml_ready.config import combinations
    >>> combinations(["seed=7", "model.learning_rate=0.05,0.1"])
    [['seed=7', 'model.learning_rate=0.05'], ['seed=7', 'model.learning_rate=0.1']]
    """
    try:
        choices = [
            [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
            if override.is_sweep_override()
            else [str(override.input_line)]
            for override in _parse(overrides)
        ]
    except HydraException as error:
        raise ConfigError(f"{' '.join(overrides)}: not a sweep; write key=1,2,3") from error
    return [list(combination) for combination in itertools.product(*choices)]


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        text = " ".join(overrides)
        raise ConfigError(f"{text}: not an override; write key=value, such as seed=7") from error


def _line(schema: type[BaseModel], detail: Mapping[str, Any]) -> str:
    path = [str(part) for part in detail["loc"]]
    key = ".".join(_named(schema, path))
    if detail["type"] == "extra_forbidden":
        return _unknown(schema, path, f"{key}={detail['input']}")
    if detail["type"] == "missing":
        return f"{key}: missing; add it to the configuration"
    reason = detail["msg"].removeprefix("Value error, ")
    return f"{key}={detail['input']}: {reason[0].lower()}{reason[1:]}"


def _named(schema: type[BaseModel], path: Sequence[str]) -> Iterator[str]:
    """Leave out of a path what is not a key, such as the kinds of a value that were tried."""
    kind: Any = schema
    for part in path:
        fields = getattr(kind, "model_fields", None)
        if fields is None and not part.isdigit():
            return
        yield part
        if fields is not None:
            kind = fields[part].annotation if part in fields else None


def _unknown(schema: type[BaseModel], path: Sequence[str], got: str) -> str:
    """Return what is wrong with a key that the schema does not have, else nothing."""
    kind: Any = schema
    for depth, part in enumerate(path):
        fields = getattr(kind, "model_fields", None)
        if fields is None:
            return ""
        if part not in fields:
            section = ".".join(path[:depth]) or "the configuration"
            return f"{got}: no such key; {section} has {', '.join(sorted(fields))}"
        kind = fields[part].annotation
    return ""
