"""The seams: what a project hands over, and the protocols that its parts follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import polars as pl

from . import contract, tables, windows
from .checks import Check, Interval
from .contract import Column
from .errors import ProjectError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from .windows import Windows

Features = Callable[[Any], Any]
# From the folder of source tables and the name of one, that table.
Source = Callable[[Path, str], pl.DataFrame]


class Drawing(NamedTuple):
    """A figure of the report, and the function that draws it."""

    title: str
    caption: str
    draw: "Callable[[Axes], None]"


class Outputs(Protocol):
    """Turns the scores of one model into answers."""

    @property
    def width(self) -> int:
        """Number of values that the exported model gives per record."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the fields of an answer."""

    def predictions(self, scores: Sequence[Any]) -> list[Any]:
        """Answer each record of a request, from its score."""

    def table(self, scores: "np.ndarray") -> pl.DataFrame:
        """Answer a file of records: a table with `columns`, a row per score."""


class Task(Protocol):
    """What kind of problem a model solves; `ml_ready.tasks` has implementations.

    A task is imported by the server too. It imports what only training needs inside of functions.
    """

    @property
    def score(self) -> str:
        """The title of what models are compared by, such as `ROC-AUC`."""

    @property
    def gain(self) -> str:
        """The unit of a gain over another model."""

    @property
    def constant(self) -> str:
        """The name of the simplest baseline, such as `class_prior`."""

    @property
    def prediction(self) -> Any:
        """The type of one answer: the OpenAPI description is derived from it."""

    @property
    def tensor(self) -> str:
        """The name of the output of an exported model that holds the scores."""

    def scores(self, tensor: "np.ndarray") -> "np.ndarray":
        """Take the scores, of shape (rows,) or (rows, outputs), from a tensor (rows, width)."""

    def evaluation(self) -> Any:
        """Return the pydantic model of `evaluation` in `conf/config.yaml`.

        It has `baseline_features`, `bootstrap_samples`, `confidence`, `minimum_gain` and
        `parity_tolerance`, and the thresholds of `checks`. `minimum_gain` has the unit of a gain,
        `parity_tolerance` that of a score.
        """

    def outputs(self, described: Mapping[str, Any]) -> Outputs:
        """Restore outputs from `metadata.json`; TypeError or ValueError for those of others."""

    def describe(self, outputs: Any) -> dict[str, Any]:
        """Describe outputs for `metadata.json`."""

    def derive_outputs(self, model: Any, target: "np.ndarray", scores: "np.ndarray") -> Outputs:
        """Derive the outputs of a trained model from its scores of the validation window."""

    def to_onnx(self, model: Any, numeric: Sequence[str], categorical: Sequence[str]) -> bytes:
        """Export a trained model, with an input of shape (rows, 1) per feature."""

    def measure(self, target: "np.ndarray", scores: "np.ndarray", outputs: Any) -> dict[str, float]:
        """Compute the metrics of a window."""

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics in a few words."""

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark of the metric that the report shows large."""

    def compare(
        self,
        target: "np.ndarray",
        scores: Mapping[str, "np.ndarray"],
        outputs: Any,
        config: Any,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Return the score of each model and the gain of `model` over it, each with an interval."""

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Any,
        config: Any,
    ) -> Sequence[Check]:
        """Compare the metrics of a window with the thresholds of the configuration."""

    def constant_baseline(
        self, project: "Project", train: pl.DataFrame, frames: Sequence[pl.DataFrame], outputs: Any
    ) -> list["np.ndarray"]:
        """Score frames with a constant from the training window."""

    def linear_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Any,
    ) -> list["np.ndarray"]:
        """Score frames with a linear model on some features."""

    def curves(
        self, scored: Mapping[str, tuple["np.ndarray", "np.ndarray"]], outputs: Any
    ) -> dict[str, pl.DataFrame]:
        """Compute the curves of (target, scores) per window, as tables with a `window` column."""

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Return how the report draws the curves."""


class Model(Protocol):
    """A module or an object that fits a model, such as `training/model.py` of a project.

    It may have `export(model) -> bytes` too, where the model brings its own way to ONNX.
    """

    @property
    def Hyperparameters(self) -> Any:  # noqa: N802 - a class of the project
        """The pydantic model of `model` in the configuration."""

    def fit(
        self,
        train: pl.DataFrame,
        validation: pl.DataFrame,
        hyperparameters: Any,
        seed: int,
        checkpoints: Any = ...,
    ) -> Any:
        """Return a model that is fitted on the training window."""

    def predict(self, model: Any, frame: pl.DataFrame) -> "np.ndarray":
        """Score rows with a fitted model: shape (rows,), or (rows, outputs) for several outputs."""


@dataclass(frozen=True)
class Project:
    """All that the mechanism knows of a project.

    Parameters
    ----------
    root : pathlib.Path
        The repository, or the folder of an image that holds `conf/` and `src/`.
    columns : sequence of Column
        The data contract.
    target : str
        The column that `add_target` adds.
    numeric, categorical : sequence of str
        Names of the features: numbers (Float32, may be missing) and texts (never missing).
    features : callable
        Takes a lazy frame with the columns known at prediction time, and returns it with the
        features added. The features of a row may depend on that row alone.
    add_target : callable
        Takes a lazy frame with all columns, and returns it with the target added, without the rows
        whose target is unknown.
    task : Task
    model : str or Model
        The model, or the dotted name of its module, which is imported at first use: serving needs
        no training library.
    source : callable
        Takes the folder of source tables and the name of a table in `conf/data`, and returns that
        table. Reads files by default.
    split : callable
        Takes a lazy frame and `data.split` of the configuration, and returns a lazy frame per
        window. Cuts by time by default.

    Examples
    --------
    >>> from pathlib import Path
    >>> import polars as pl
    >>> from ml_ready.contract import Column
    >>> from ml_ready.project import Project
    >>> from ml_ready.tasks.binary import BinaryClassification
    >>> project = Project(
    ...     root=Path(),
    ...     columns=[
    ...         Column("kg", "Float32", "weight of the parcel"),
    ...         Column("hours", "Float32", "on the way", known_at_prediction=False),
    ...     ],
    ...     target="late",
    ...     numeric=["pounds"],
    ...     categorical=[],
    ...     features=lambda frame: frame.with_columns(pounds=2.2 * pl.col("kg")),
    ...     add_target=lambda frame: frame.with_columns(late=(pl.col("hours") > 24).cast(pl.Int8)),
    ...     task=BinaryClassification(),
    ...     model="parcels.training.model",
    ... )
    >>> [column.name for column in project.inputs]
    ['kg']
    >>> project.features(pl.LazyFrame({"kg": [10.0]})).collect().to_dicts()
    [{'kg': 10.0, 'pounds': 22.0}]
    """

    root: Path
    columns: Sequence[Column]
    target: str
    numeric: Sequence[str]
    categorical: Sequence[str]
    features: Features
    add_target: Features
    task: Task
    model: str | Model
    source: Source = tables.read_named
    split: "Windows" = windows.cut

    @cached_property
    def inputs(self) -> list[Column]:
        """The columns that are known when a prediction is asked for."""
        return contract.inputs(self.columns)

    @cached_property
    def feature_names(self) -> list[str]:
        """Names of all features."""
        return [*self.numeric, *self.categorical]

    @cached_property
    def contract_version(self) -> str:
        """Twelve hexadecimal digits that change with the contract."""
        return contract.version(self.columns)

    @cached_property
    def training(self) -> Model:
        """The model, imported at first use.

        Raises
        ------
        ProjectError
            When its module lacks a part of `Model`.
        """
        if not isinstance(self.model, str):
            return self.model
        module: Any = import_module(self.model)
        lacking = [
            name for name in ("Hyperparameters", "fit", "predict") if name not in dir(module)
        ]
        if lacking:
            raise ProjectError(
                f"{module.__file__}: {', '.join(lacking)} is missing, expected Hyperparameters, "
                "fit() and predict().",
                "Define it.",
            )
        model: Model = module
        return model
