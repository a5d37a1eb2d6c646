"""Regression: quantiles of the target, or its mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl

from ..checks import Check, Interval, compare, compare_gains, compare_losses
from ..project import Drawing
from .curves import COLOURS, GREY, Curves, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.pipeline import Pipeline

    from ..project import Project

MEAN = "mean"
# Rows to fit the linear quantiles on, which is a linear programme with a condition per row.
LINEAR_ROWS = 10_000
GROUPS = 20
# Residuals beyond these shares of the rows would flatten the picture of all the others.
_SHOWN = (0.01, 0.99)
_QUANTILE = re.compile(r"q(0\.\d+)")


def names(levels: Sequence[float]) -> list[str]:
    """Name what a model predicts.

    Parameters
    ----------
    levels : sequence of float
        Quantile levels, 0 to 1; without any the model predicts the mean.

    Returns
    -------
    list of str

    Examples
    --------
    >>> from ml_ready.tasks.regression import names
    >>> names([0.5, 0.9])
    ['q0.5', 'q0.9']
    >>> names([])
    ['mean']
    """
    return [f"q{np.format_float_positional(level)}" for level in levels] or [MEAN]


@dataclass(frozen=True)
class Outputs:
    """What is answered from the scores of a model.

    Parameters
    ----------
    columns : sequence of str
        `mean`, or `q` and a level for each quantile, in rising order.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> from ml_ready.tasks.regression import Outputs
    >>> Outputs(["q0.5", "q0.9"]).predictions([[3.0, 8.0]])
    [{'q0.5': 3.0, 'q0.9': 8.0}]
    """

    columns: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse what is neither a mean nor rising quantiles."""
        if [*self.columns] != names(sorted({*self.levels})):
            raise ValueError(
                f"columns are {self.columns}, expected ['mean'], or rising quantiles such as "
                "['q0.5', 'q0.9']"
            )

    @property
    def width(self) -> int:
        """Number of values that the model gives per record."""
        return len(self.columns)

    @property
    def levels(self) -> list[float]:
        """The level of each quantile, 0 to 1; empty where the mean is predicted."""
        matches = (_QUANTILE.fullmatch(name) for name in self.columns)
        return [float(match[1]) for match in matches if match]

    def predictions(self, scores: Sequence[Sequence[float]]) -> list[dict[str, float]]:
        """Answer each record of a request."""
        return [dict(zip(self.columns, each, strict=True)) for each in scores]

    def table(self, scores: np.ndarray) -> pl.DataFrame:
        """Answer a file of records, in `columns`."""
        return pl.DataFrame(scores, schema=[*self.columns])


class Regression:
    """A task whose target is a number, and whose scores are of shape (rows, outputs).

    An answer is `mean`, or the value of each quantile, such as `q0.5` and `q0.9`.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.regression import Outputs, Regression
    >>> target, scores = np.array([1.0, 2.0, 6.0]), np.array([[2.0], [2.0], [5.0]])
    >>> metrics = Regression().measure(target, scores, Outputs(["mean"]))
    >>> round(metrics["loss"], 3), round(metrics["mean_absolute_error"], 3)
    (0.667, 0.667)
    """

    metric = "Loss"
    gain = "as a share of the loss"
    constant = "constant"
    answer_type = dict[str, float]
    output_name = "predictions"

    def scores(self, tensor: np.ndarray) -> np.ndarray:
        """Take the scores from what an exported model gives.

        Parameters
        ----------
        tensor : numpy.ndarray of shape (rows, outputs)

        Returns
        -------
        numpy.ndarray of shape (rows, outputs)
            In the unit of the target.
        """
        return tensor.astype(np.float64)

    def evaluation(self) -> Any:
        """Return the pydantic model of `evaluation` in `conf/config.yaml`."""
        return _evaluation()

    def outputs(self, described: Mapping[str, Any]) -> Outputs:
        """Restore outputs from `metadata.json`.

        Parameters
        ----------
        described : mapping
            As `describe` returns it.

        Returns
        -------
        Outputs

        Raises
        ------
        TypeError, ValueError
            When they are those of another task.
        """
        return Outputs(**described)

    def describe(self, outputs: Outputs) -> dict[str, Any]:
        """Describe outputs for `metadata.json`."""
        return asdict(outputs)

    def derive_outputs(
        self, model: Mapping[str, Any], target: np.ndarray, scores: np.ndarray
    ) -> Outputs:
        """Name what a model predicts.

        Parameters
        ----------
        model : mapping of str to sklearn.pipeline.Pipeline
            A quantile or the mean each.
        target : numpy.ndarray of shape (rows,)
        scores : numpy.ndarray of shape (rows, outputs)

        Returns
        -------
        Outputs
        """
        return Outputs([*model])

    def to_onnx(
        self,
        model: "Mapping[str, Pipeline]",
        numeric: Sequence[str],
        categorical: Sequence[str],
    ) -> bytes:
        """Convert trained pipelines to one ONNX model, whose quantiles never cross.

        Parameters
        ----------
        model : mapping of str to sklearn.pipeline.Pipeline
            A quantile or the mean each, fitted on a frame with the features as columns.
        numeric, categorical : sequence of str
            Names of the features.

        Returns
        -------
        bytes
            A model with one input of shape (rows, 1) per feature, and the output `predictions` of
            shape (rows, outputs), sorted in each row.

        Raises
        ------
        ParityError
            When skl2onnx cannot convert a pipeline.

        References
        ----------
        Sorting predicted quantiles is never worse than leaving them crossed: Chernozhukov,
        Fernández-Val, Galichon, *Quantile and Probability Curves Without Crossing*, Econometrica
        78, 2010.
        """
        from onnx import TensorProto, compose, helper, numpy_helper

        from .onnx import OPSET, convert

        parts = [
            compose.add_prefix(
                convert(pipeline, numeric, categorical), f"{name}_", rename_inputs=False
            )
            for name, pipeline in model.items()
        ]
        graphs = [part.graph for part in parts]
        count = numpy_helper.from_array(np.array([len(parts)]), "count")
        ends = [graph.output[0].name for graph in graphs]
        joined = helper.make_graph(
            [
                *(node for graph in graphs for node in graph.node),
                helper.make_node("Concat", ends, ["unsorted"], axis=1),
                helper.make_node(
                    "TopK", ["unsorted", "count"], [self.output_name, "order"], largest=0
                ),
            ],
            "model",
            graphs[0].input,
            [
                helper.make_tensor_value_info(
                    self.output_name, TensorProto.FLOAT, [None, len(parts)]
                )
            ],
            [*(constant for graph in graphs for constant in graph.initializer), count],
        )
        versions = [helper.make_opsetid(domain, version) for domain, version in OPSET.items()]
        whole = helper.make_model(joined, opset_imports=versions, ir_version=parts[0].ir_version)
        return bytes(whole.SerializeToString())

    def measure(self, target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> dict[str, float]:
        """Compute the metrics of a regression.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
        scores : numpy.ndarray of shape (rows, outputs)
        outputs : Outputs

        Returns
        -------
        dict of str to float
            Mean target and loss; mean absolute error and mean residual (actual less predicted) of
            a mean or median, if it is predicted; for each quantile the share of rows at or below
            it with its 95 % Wilson interval; for a mean the root of the squared error and R².

        References
        ----------
        Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, Journal of
        the American Statistical Association 22, 1927.
        """
        from scipy.stats import binomtest

        loss = float(losses(target, scores, outputs).mean())
        metrics = {"rows": target.size, "mean_target": float(target.mean()), "loss": loss}
        # The error of a quantile in the tail says nothing of how good it is.
        if not outputs.levels or 0.5 in outputs.levels:
            residuals = target - point(scores, outputs)
            metrics["mean_absolute_error"] = float(np.abs(residuals).mean())
            metrics["mean_residual"] = float(residuals.mean())
        if not outputs.levels:
            spread = float(target.var())
            metrics["root_mean_squared_error"] = loss**0.5
            metrics["r2"] = 1 - loss / spread if spread else 0.0
        for index in range(len(outputs.levels)):
            name = f"coverage_{outputs.columns[index]}"
            share = binomtest(int((target <= scores[:, index]).sum()), target.size)
            interval = share.proportion_ci(method="wilson")
            metrics |= {
                name: float(share.statistic),
                f"{name}_low": float(interval.low),
                f"{name}_high": float(interval.high),
            }
        return metrics

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics in a few words."""
        title, value, _ = self.tile(metrics)
        return f"loss {metrics['loss']:.3f}, {title.lower()} {value}"

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark of what matters most beside the score."""
        if "mean_absolute_error" in metrics:
            remark = f"actual less predicted: {metrics['mean_residual']:+.2f} on average"
            return "Mean absolute error", f"{metrics['mean_absolute_error']:.2f}", remark
        name = next(name for name in metrics if name.startswith("coverage_"))
        remark = f"95 % interval {metrics[f'{name}_low']:.2f} to {metrics[f'{name}_high']:.2f}"
        return name.replace("_", " ").capitalize(), f"{metrics[name]:.2f}", remark

    def compare(
        self,
        target: np.ndarray,
        scores: Mapping[str, np.ndarray],
        outputs: Outputs,
        config: Any,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Compare models by their loss, as `compare_losses` does.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
        scores : mapping of str to numpy.ndarray of shape (rows, outputs)
            Those of the model under the name `model`, and those of its rivals.
        outputs : Outputs
        config : pydantic.BaseModel
            As `evaluation` returns its class.
        seed : int

        Returns
        -------
        dict
            The loss of each model, and by which share of it `model` loses less, with percentile
            intervals.
        """
        table = {name: losses(target, values, outputs) for name, values in scores.items()}
        return compare_losses(table, config.bootstrap_samples, config.confidence, seed)

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Outputs,
        config: Any,
    ) -> Sequence[Check]:
        """Compare the metrics of a window with the thresholds.

        Parameters
        ----------
        window : str
        metrics : mapping of str to float
            As `measure` returns them.
        gains : mapping of str to Interval
            Gain of the model over each baseline that it has to beat.
        outputs : Outputs
        config : pydantic.BaseModel
            As `evaluation` returns its class.

        Returns
        -------
        sequence of Check
        """
        checks = []
        if "mean_absolute_error" in metrics:
            error = compare(
                "mean_absolute_error",
                "Are the predictions close to the target?",
                metrics["mean_absolute_error"],
                "≤",
                config.maximum_mean_absolute_error,
                window=window,
            )
            checks.append(error)
        for name, level in zip(names(outputs.levels), outputs.levels, strict=False):
            coverage = compare(
                f"distance of coverage_{name} from {level}",
                f"Is a share of {level} of the rows at or below {name}?",
                abs(metrics[f"coverage_{name}"] - level),
                "≤",
                config.maximum_coverage_error,
                window=window,
            )
            checks.append(coverage)
        return [*checks, *compare_gains(window, gains, "loss", config.minimum_gain)]

    def constant_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Give every row the quantiles, or the mean, of the target in training.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame
        frames : sequence of polars.DataFrame
        outputs : Outputs

        Returns
        -------
        list of numpy.ndarray of shape (rows, outputs)
            An array per frame.
        """
        target, levels = train[project.target].to_numpy(), outputs.levels
        constants = np.quantile(target, levels) if levels else target.mean(keepdims=True)
        return [np.tile(constants, (frame.height, 1)) for frame in frames]

    def linear_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Score frames with linear quantile regressions, or least squares, on some features.

        Quantiles are fitted on 10,000 rows drawn at random.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame
        frames : sequence of polars.DataFrame
        columns : sequence of str
            Features to use.
        outputs : Outputs

        Returns
        -------
        list of numpy.ndarray of shape (rows, outputs)
            An array per frame, quantiles sorted.

        References
        ----------
        Koenker, Bassett, *Regression Quantiles*, Econometrica 46, 1978.
        """
        from sklearn.linear_model import LinearRegression, QuantileRegressor

        from .linear import encoder

        encoded, levels = encoder(project, columns), outputs.levels
        drawn = train.sample(min(LINEAR_ROWS, train.height), seed=0) if levels else train
        design, target = encoded.fit_transform(drawn), drawn[project.target].to_numpy()
        regressions: list[Any] = [
            QuantileRegressor(quantile=level, alpha=0, solver="highs-ipm") for level in levels
        ] or [LinearRegression()]
        fitted = [regression.fit(design, target) for regression in regressions]
        designs = [encoded.transform(frame) for frame in frames]
        return [
            np.sort(np.column_stack([each.predict(one) for each in fitted]), axis=1)
            for one in designs
        ]

    def curves(
        self, scored: Mapping[str, tuple[np.ndarray, np.ndarray]], outputs: Outputs
    ) -> dict[str, pl.DataFrame]:
        """Compute the residuals of a regression as tables.

        Parameters
        ----------
        scored : mapping of str to (target, scores)
            By window, arrays of shape (rows,) and (rows, outputs).
        outputs : Outputs

        Returns
        -------
        dict of str to polars.DataFrame
            `residuals` (actual less predicted) as a histogram, `residuals_by_prediction`, where
            rows are grouped by what is predicted, `calibration`, with the mean and the median of
            each group, and for quantiles `coverage` in each group; all with a `window` column.
        """
        curves = Curves()
        for window, (target, scores) in scored.items():
            predicted = point(scores, outputs)
            residuals = target - predicted
            counts, edges = np.histogram(residuals, 40, tuple(np.quantile(residuals, _SHOWN)))
            curves.add("residuals", window, residual=edges[:-1], share=counts / target.size)
            groups = _groups(predicted)
            means = [predicted[rows].mean() for rows in groups]
            curves.add(
                "residuals_by_prediction",
                window,
                predicted=means,
                lower_quartile=[np.quantile(residuals[rows], 0.25) for rows in groups],
                median=[np.median(residuals[rows]) for rows in groups],
                upper_quartile=[np.quantile(residuals[rows], 0.75) for rows in groups],
            )
            curves.add(
                "calibration",
                window,
                predicted=means,
                mean=[target[rows].mean() for rows in groups],
                median=[np.median(target[rows]) for rows in groups],
            )
            for index, level in enumerate(outputs.levels):
                quantile = scores[:, index]
                ordered = _groups(quantile)
                curves.add(
                    "coverage",
                    window,
                    quantile=[outputs.columns[index]] * len(ordered),
                    predicted=[quantile[rows].mean() for rows in ordered],
                    observed=[(target[rows] <= quantile[rows]).mean() for rows in ordered],
                    level=[level] * len(ordered),
                )
        return curves.tables()

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Return how the report draws the tables.

        Parameters
        ----------
        curves : mapping of str to polars.DataFrame
            As `curves` returns them.

        Returns
        -------
        list of Drawing
        """

        def residuals(axes: "Axes") -> None:
            lines(axes, curves["residuals"], "residual", "share", drawstyle="steps-post")

        def residuals_by_prediction(axes: "Axes") -> None:
            table = curves["residuals_by_prediction"]
            lines(axes, table, "predicted", "median", marker="o", markersize=4)
            for (window,), part in table.group_by("window"):
                low, high = part["lower_quartile"], part["upper_quartile"]
                colour = COLOURS[str(window)]
                axes.fill_between(part["predicted"], low, high, color=colour, alpha=0.15)
            axes.axhline(0, color=GREY, linestyle=":")
            axes.set_ylabel("residual")

        def calibration(axes: "Axes") -> None:
            table = curves["calibration"]
            lines(axes, table, "predicted", "mean", marker="o", markersize=4)
            for (window,), part in table.group_by("window"):
                colour = COLOURS[str(window)]
                axes.plot(part["predicted"], part["median"], color=colour, linestyle="--")
            axes.axline((0, 0), slope=1, color=GREY, linestyle=":")
            axes.set_ylabel("actual")

        drawings = [
            Drawing("Residuals", "Actual less predicted, without the outermost 2 %.", residuals),
            Drawing(
                "Residuals by prediction",
                "Median and quartiles: on the dotted line, half of the rows lie above.",
                residuals_by_prediction,
            ),
            Drawing(
                "Calibration", "Mean (full) and median (dashed) of what came true.", calibration
            ),
        ]
        if "coverage" in curves:
            caption = "On its dotted line, a quantile holds the share of rows that it promises."
            coverage = curves["coverage"]
            drawings.append(
                Drawing("Coverage", caption, lambda axes: _draw_coverage(axes, coverage))
            )
        return drawings


def losses(target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Compute the loss that a model was trained for, row by row.

    Parameters
    ----------
    target : numpy.ndarray of shape (rows,)
    scores : numpy.ndarray of shape (rows, outputs)
    outputs : Outputs

    Returns
    -------
    numpy.ndarray of shape (rows,)
        The pinball loss, averaged over the quantiles, in the unit of the target; of a mean the
        squared error.

    References
    ----------
    Koenker, Bassett, *Regression Quantiles*, Econometrica 46, 1978.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.regression import Outputs, losses
    >>> losses(np.array([10.0, 10.0]), np.array([[8.0], [12.0]]), Outputs(["q0.75"])).tolist()
    [1.5, 0.5]
    """
    error = target[:, None] - scores
    levels = np.array(outputs.levels)
    each = np.maximum(levels * error, (levels - 1) * error) if levels.size else error**2
    return np.asarray(each.mean(axis=1))


def point(scores: np.ndarray, outputs: Outputs) -> np.ndarray:
    """Take one number per row: the mean, or the quantile next to the median.

    Parameters
    ----------
    scores : numpy.ndarray of shape (rows, outputs)
    outputs : Outputs

    Returns
    -------
    numpy.ndarray of shape (rows,)

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.regression import Outputs, point
    >>> point(np.array([[3.0, 8.0], [4.0, 9.0]]), Outputs(["q0.5", "q0.9"])).tolist()
    [3.0, 4.0]
    """
    nearest = np.abs(np.array(outputs.levels or [0.5]) - 0.5).argmin()
    return np.asarray(scores[:, nearest])


@cache
def _evaluation() -> Any:
    from pydantic import Field

    from ..config import Name, Section, Share

    class Evaluation(Section):
        """What `evaluation` in `conf/config.yaml` sets."""

        baseline_features: Annotated[list[Name], Field(min_length=1, max_length=3)]
        bootstrap_samples: Annotated[int, Field(ge=100, le=100_000)]
        confidence: Annotated[float, Field(ge=0.5, lt=1)]
        minimum_gain: Share
        maximum_mean_absolute_error: Annotated[float, Field(gt=0)]
        maximum_coverage_error: Share
        parity_tolerance: Annotated[float, Field(gt=0)]

    return Evaluation


def _draw_coverage(axes: "Axes", table: pl.DataFrame) -> None:
    first = table["level"][0]
    for (window, _), part in table.group_by("window", "quantile", maintain_order=True):
        label = str(window) if part["level"][0] == first else None
        axes.plot(part["predicted"], part["observed"], color=COLOURS[str(window)], label=label)
        axes.axhline(part["level"][0], color=GREY, linestyle=":")
    axes.set_xlabel("predicted")
    axes.set_ylabel("share at or below the quantile")
    axes.set_ylim(0, 1)


def _groups(predicted: np.ndarray) -> list[np.ndarray]:
    """Cut the rows, in order of what is predicted, into groups of one size."""
    order = np.argsort(predicted, kind="stable")
    return [rows for rows in np.array_split(order, GROUPS) if rows.size]
