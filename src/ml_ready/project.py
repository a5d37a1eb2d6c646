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

    from .windows import Splitter

Features = Callable[[Any], Any]
# From the folder of source tables and the name of one, that table.
Source = Callable[[Path, str], pl.DataFrame]


class Drawing(NamedTuple):
    """A figure of the report, and the function that draws it."""

    title: str
    caption: str
    draw: "Callable[[Axes], None]"


class Outputs(Protocol):
    """Turns the scores of one model into answers.

    Training derives the outputs of a model and keeps them in `metadata.json`. The server and batch
    scoring answer with them.
    """

    @property
    def width(self) -> int:
        """Number of values that the exported model gives per record."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the fields of an answer."""

    def predictions(self, scores: Sequence[Any]) -> list[Any]:
        """Answer each record of a request, from its score.

        The server calls it once per request.

        Parameters
        ----------
        scores : sequence of float, or of list of float
            As `Task.scores` returned them, as Python numbers: one per record, or a list per record
            where there are several outputs. All are finite.

        Returns
        -------
        list of dict
            An answer per record, in their order, of the type `Task.answer_type`. Its keys are
            `columns`, in their order: an answer in CSV has a cell for each.
        """

    def table(self, scores: "np.ndarray") -> pl.DataFrame:
        """Answer a file of records: a table with `columns`, a row per score.

        Batch scoring calls it for each part of a file.

        Parameters
        ----------
        scores : numpy.ndarray of shape (rows,) or (rows, outputs)
            As `Task.scores` returned them. All are finite; there may be no row.

        Returns
        -------
        polars.DataFrame of shape (rows, len(columns))
            What `predictions` answers, in the order of the scores.
        """


class Task(Protocol):
    """What kind of problem a model solves; `ml_ready.tasks` has implementations.

    A score is what a model predicts for a row, before it becomes an answer: a number, or several
    outputs in a fixed order. The task says what a score means, and its unit.

    A task is imported by the server too. It imports what only training needs inside of functions.
    """

    @property
    def metric(self) -> str:
        """The title of what models are compared by, such as `ROC-AUC`."""

    @property
    def gain(self) -> str:
        """The unit of a gain over another model."""

    @property
    def constant(self) -> str:
        """The name of the simplest baseline, such as `class_prior`."""

    @property
    def answer_type(self) -> Any:
        """The type of one answer: the OpenAPI description is derived from it."""

    @property
    def output_name(self) -> str:
        """The name of the output of an exported model that holds the scores."""

    def scores(self, tensor: "np.ndarray") -> "np.ndarray":
        """Take the scores from the output of an exported model.

        Training, evaluation and serving call it after each run of the model.

        Parameters
        ----------
        tensor : numpy.ndarray of shape (rows, width)
            The output that `output_name` names, in the type that ONNX gives it, such as
            float32.

        Returns
        -------
        numpy.ndarray of shape (rows,) or (rows, outputs)
            In float64. The caller refuses NaN and infinity with a ModelError.
        """

    def evaluation(self) -> Any:
        """Return the pydantic model of `evaluation` in `conf/config.yaml`.

        It is called when the configuration is loaded.

        Returns
        -------
        type
            With the fields `baseline_features`, `bootstrap_samples`, `confidence`, `minimum_gain`
            and `parity_tolerance`, and the thresholds of `checks`. `minimum_gain` has the unit of a
            gain, `parity_tolerance` that of a score.
        """

    def outputs(self, described: Mapping[str, Any]) -> Outputs:
        """Restore outputs from `metadata.json`.

        It is called when a model is loaded, to serve it or to evaluate it.

        Parameters
        ----------
        described : mapping of str to object
            As `describe` returned it, read from JSON: a tuple is a list.

        Returns
        -------
        Outputs

        Raises
        ------
        TypeError, ValueError
            When they are those of another task. The model is then refused with a MismatchError.
        """

    def describe(self, outputs: Any) -> dict[str, Any]:
        """Describe outputs for `metadata.json`.

        Training calls it once.

        Parameters
        ----------
        outputs : Outputs
            As `derive_outputs` returned them.

        Returns
        -------
        dict of str to object
            In types of JSON. `outputs` restores the same outputs from it; the report shows it.
        """

    def derive_outputs(self, model: Any, target: "np.ndarray", scores: "np.ndarray") -> Outputs:
        """Derive the outputs of a trained model from its scores of the validation window.

        Training calls it once, after the parity check.

        Parameters
        ----------
        model : object
            As `Model.fit` returned it.
        target : numpy.ndarray of shape (rows,)
        scores : numpy.ndarray of shape (rows,) or (rows, outputs)
            Of the exported model, for the same rows.

        Returns
        -------
        Outputs
        """

    def to_onnx(self, model: Any, numeric: Sequence[str], categorical: Sequence[str]) -> bytes:
        """Export a trained model, with an input of shape (rows, 1) per feature.

        Training calls it for a model that has no `export` of its own, and `check_project` again.

        Parameters
        ----------
        model : object
            As `Model.fit` returned it; it has to predict the same afterwards.
        numeric, categorical : sequence of str
            Names of the features: an input is float32, NaN where missing, or text, never missing.

        Returns
        -------
        bytes
            A model in ONNX. Its output `output_name` has the shape (rows, width). A second export
            of the same model has to give the same bytes.

        Raises
        ------
        ParityError
            When the model cannot be converted.
        """

    def measure(self, target: "np.ndarray", scores: "np.ndarray", outputs: Any) -> dict[str, float]:
        """Compute the metrics of a window.

        Training calls it for the validation window, evaluation for the validation and the test
        window.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
            More than one outcome.
        scores : numpy.ndarray of shape (rows,) or (rows, outputs)
        outputs : Outputs

        Returns
        -------
        dict of str to float
            By the name of the metric; each window has the same names.
        """

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics in a few words.

        The stage `evaluate` logs it for each window, and each try of other settings.

        Parameters
        ----------
        metrics : mapping of str to float
            As `measure` returned them.

        Returns
        -------
        str
            One line.
        """

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark of the metric that the report shows large.

        Evaluation calls it for the validation and the test window.

        Parameters
        ----------
        metrics : mapping of str to float
            As `measure` returned them.

        Returns
        -------
        tuple of (str, str, str)
            As the report shows them: the value is rounded, and has its unit.
        """

    def compare(
        self,
        target: "np.ndarray",
        scores: Mapping[str, "np.ndarray"],
        outputs: Any,
        config: Any,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Return the metric of each model, and the gain of `model` over it, each with an interval.

        Evaluation calls it for the validation and the test window.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
        scores : mapping of str to numpy.ndarray of shape (rows,) or (rows, outputs)
            By the name of a model, all for the same rows: `model`, the linear baselines
            `few_feature_linear` and `full_linear`, the one that `constant` names, and `production`
            where a model is in production.
        outputs : Outputs
        config : pydantic.BaseModel
            Of the type that `evaluation` returns.
        seed : int
            Two calls with one seed return the same.

        Returns
        -------
        dict of str to (Interval, Interval)
            By each name of `scores`. A gain has the unit that `gain` names; above 0, `model` is
            better.
        """

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Any,
        config: Any,
    ) -> Sequence[Check]:
        """Compare the metrics of a window with the thresholds of the configuration.

        Evaluation calls it for the validation and the test window.

        Parameters
        ----------
        window : str
        metrics : mapping of str to float
            As `measure` returned them.
        gains : mapping of str to Interval
            Gain of the model over `few_feature_linear`, and over the baseline that `constant`
            names.
        outputs : Outputs
        config : pydantic.BaseModel
            Of the type that `evaluation` returns.

        Returns
        -------
        sequence of Check
            The gate stops a model that does not pass each of them. The evidence may have `window`
            and `value`, as `ml_ready.checks.compare` gives it.
        """

    def constant_baseline(
        self, project: "Project", train: pl.DataFrame, frames: Sequence[pl.DataFrame], outputs: Any
    ) -> list["np.ndarray"]:
        """Score frames with a constant from the training window.

        Evaluation calls it once.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame of shape (rows, columns)
            Features and target.
        frames : sequence of polars.DataFrame
            The validation and the test window, with the same columns.
        outputs : Outputs

        Returns
        -------
        list of numpy.ndarray of shape (rows,) or (rows, outputs)
            An array per frame, as `scores` returns it.
        """

    def linear_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Any,
    ) -> list["np.ndarray"]:
        """Score frames with a linear model on some features.

        Evaluation calls it twice: with `baseline_features` of the configuration, and with all
        features.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame of shape (rows, columns)
            Features and target.
        frames : sequence of polars.DataFrame
            The validation and the test window, with the same columns.
        columns : sequence of str
            Names of the features to use.
        outputs : Outputs

        Returns
        -------
        list of numpy.ndarray of shape (rows,) or (rows, outputs)
            An array per frame, as `scores` returns it.
        """

    def curves(
        self, scored: Mapping[str, tuple["np.ndarray", "np.ndarray"]], outputs: Any
    ) -> dict[str, pl.DataFrame]:
        """Compute the curves of (target, scores) per window, as tables with a `window` column.

        Evaluation calls it once.

        Parameters
        ----------
        scored : mapping of str to (target, scores)
            For the validation and the test window, by name: arrays of shape (rows,), and of shape
            (rows,) or (rows, outputs).
        outputs : Outputs

        Returns
        -------
        dict of str to polars.DataFrame
            By the name of the curve. For each window, its rows become
            `reports/plots/WINDOW/NAME.csv`.
        """

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Return how the report draws the curves.

        Evaluation calls it once.

        Parameters
        ----------
        curves : mapping of str to polars.DataFrame
            As `curves` returned them.

        Returns
        -------
        list of Drawing
            In the order of the report, which adds a legend: lines need a label.
        """


class Model(Protocol):
    """A module or an object that fits a model, such as `training/model.py` of a project.

    It may have `export(model) -> bytes` too, where the model brings its own way to ONNX: it returns
    what `Task.to_onnx` would.
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
        """Return a model that is fitted on the training window.

        Training calls it once per model, and `check_project` a few times.

        Parameters
        ----------
        train : polars.DataFrame of shape (rows, columns)
            The features of `Project.numeric` (Float32, may be missing) and `Project.categorical`
            (texts, never missing), and the target. It may have other columns.
        validation : polars.DataFrame of shape (rows, columns)
            Rows to stop early by, not to fit on; the same columns.
        hyperparameters : Hyperparameters
        seed : int
            0 or more, below 2**32. Two fits on the same rows with one seed have to predict the
            same.
        checkpoints : Checkpoints
            Gets the states of the training, where it saves any. A fit that was cut off goes on from
            the last one, and has to end as it would have. The default, `checkpoints.NONE`, keeps
            none.

        Returns
        -------
        object
            As `predict`, `export` and `Task.to_onnx` take it.

        Raises
        ------
        ConfigError
            When no model can be trained with these hyperparameters.
        """

    def predict(self, model: Any, frame: pl.DataFrame) -> "np.ndarray":
        """Score rows with a fitted model: shape (rows,), or (rows, outputs) for several outputs.

        Training calls it with the validation window, and stops where the exported model differs.

        Parameters
        ----------
        model : object
            As `fit` returned it.
        frame : polars.DataFrame of shape (rows, columns)
            With the features, as `fit` gets them.

        Returns
        -------
        numpy.ndarray of shape (rows,) or (rows, outputs)
            In float, finite, in the unit of `Task.scores`. The exported model gives the same,
            within `evaluation.parity_tolerance`.
        """


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
        table, with the types of the contract. The stage `ingest` calls it once per table on each
        host, and takes a share of the rows: they need the same order each time. Reads files by
        default.
    split : callable
        Takes a lazy frame and `data.split` of the configuration, and returns a lazy frame per
        window: `train`, `validation` and `test`, in this order, each with at least one row. Cuts by
        time by default.

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
    split: "Splitter" = windows.cut

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
                f"{module.__file__}: has no {', '.join(lacking)}, expected Hyperparameters, fit() "
                "and predict().",
                "Define what is missing.",
            )
        model: Model = module
        return model
