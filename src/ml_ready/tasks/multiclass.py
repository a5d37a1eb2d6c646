"""Multiclass classification: the probability of each label, and the label that is most likely."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl

from ..checks import Check, Interval, compare, compare_gains, compare_losses
from ..errors import ConfigError, ContractError, ModelError
from ..project import Drawing
from .curves import GREY, Curves, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.pipeline import Pipeline

    from ..project import Project

_BINS = 10
_LABEL = re.compile(r"\w([\w .-]*\w)?")
_ROUNDING = 1e-3  # of float32, summed over the labels


@dataclass(frozen=True)
class Outputs:
    """What is answered from the scores of a model.

    Parameters
    ----------
    labels : sequence of str
        In the order of the scores: letters, digits, and `_`, `-`, `.` or spaces between them.

    Raises
    ------
    ValueError
        When there are fewer than two labels, one of them twice, or other signs in one.

    Examples
    --------
    >>> from ml_ready.tasks.multiclass import Outputs
    >>> Outputs(["bus", "tram"]).predictions([[0.25, 0.75]])
    [{'label': 'tram', 'probability_bus': 0.25, 'probability_tram': 0.75}]
    """

    labels: Sequence[str]

    def __post_init__(self) -> None:
        """Refuse what are no labels."""
        # Names of metrics and columns hold them.
        texts = [each for each in self.labels if isinstance(each, str) and _LABEL.fullmatch(each)]
        if len(texts) < 2 or len({*texts}) < len(self.labels):
            raise ValueError(
                f"labels are {self.labels}, expected two or more different texts of letters, "
                "digits, '_', '-', '.' and spaces"
            )

    @property
    def width(self) -> int:
        """Number of values that the model gives per record."""
        return len(self.labels)

    @property
    def columns(self) -> list[str]:
        """Names of the fields of an answer."""
        return ["label", *(f"probability_{label}" for label in self.labels)]

    def predictions(self, scores: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
        """Answer each record of a request."""
        likeliest = (self.labels[each.index(max(each))] for each in map(list, scores))
        return [
            dict(zip(self.columns, [label, *each], strict=True))
            for label, each in zip(likeliest, scores, strict=True)
        ]

    def table(self, scores: np.ndarray) -> pl.DataFrame:
        """Answer a file of records, in `columns`."""
        likeliest = np.array([*self.labels], dtype=object)[scores.argmax(axis=1)]
        label = pl.Series("label", likeliest, pl.String)
        return pl.DataFrame(scores, schema=self.columns[1:], orient="row").select(label, pl.all())


class MulticlassClassification:
    """A task with several labels, whose scores are probabilities of shape (rows, labels).

    The target is the position of a label, from 0.

    Parameters
    ----------
    *labels : str
        As `Outputs` takes them, in the order of their positions.

    Raises
    ------
    ConfigError
        When they are no labels.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.multiclass import MulticlassClassification
    >>> task = MulticlassClassification("bus", "tram", "train")
    >>> target = np.array([0, 2])
    >>> scores = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    >>> outputs = task.derive_outputs(None, target, scores)
    >>> task.measure(target, scores, outputs)["accuracy"]
    0.5
    """

    metric = "Log loss"
    gain = "as a share of the log loss"
    constant = "class_shares"
    answer_type = dict[str, float | str]
    output_name = "probabilities"

    def __init__(self, *labels: str) -> None:
        try:
            self._outputs = Outputs(labels)
        except ValueError as error:
            raise ConfigError(f"project.py: {error}.", "Change the labels.") from error

    def scores(self, tensor: np.ndarray) -> np.ndarray:
        """Take the scores from what an exported model gives."""
        return tensor.astype(np.float64)

    def evaluation(self) -> Any:
        """Return the pydantic model of `evaluation` in `conf/config.yaml`."""
        return _evaluation()

    def outputs(self, described: Mapping[str, Any]) -> Outputs:
        """Restore outputs from `metadata.json`; ValueError where the labels are others."""
        outputs = Outputs(**described)
        if [*outputs.labels] != [*self._outputs.labels]:
            raise ValueError(f"labels are {outputs.labels}, expected {self._outputs.labels}")
        return outputs

    def describe(self, outputs: Outputs) -> dict[str, Any]:
        """Describe outputs for `metadata.json`."""
        return {"labels": [*outputs.labels]}

    def derive_outputs(self, model: Any, target: np.ndarray, scores: np.ndarray) -> Outputs:
        """Return the labels, once it is sure that target and scores fit them.

        Parameters
        ----------
        model : object
            Any classifier.
        target : numpy.ndarray of shape (rows,)
        scores : numpy.ndarray of shape (rows, labels)

        Returns
        -------
        Outputs

        Raises
        ------
        ContractError
            When the target has another value than the positions of the labels.
        ModelError
            When the model does not give a probability per label.
        """
        _require_positions(target, self._outputs.labels)
        sums = scores.sum(axis=1) if scores.ndim == 2 else np.zeros(1)
        fit = scores.shape[1:] == (self._outputs.width,) and (scores >= 0).all()
        if not fit or np.abs(sums - 1).max() > _ROUNDING:
            raise ModelError(
                f"training/model.py: predict() gives scores of shape {scores.shape} whose rows add "
                f"up to {sums[0]:.3g}, expected the probabilities of "
                f"{', '.join(self._outputs.labels)}.",
                "Return them, and see that the train window has each label and no other.",
            )
        return self._outputs

    def to_onnx(
        self, model: "Pipeline", numeric: Sequence[str], categorical: Sequence[str]
    ) -> bytes:
        """Convert a trained pipeline, with the output `probabilities` of shape (rows, labels)."""
        from .onnx import convert

        return bytes(convert(model, numeric, categorical, zipmap=False).SerializeToString())

    def measure(self, target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> dict[str, float]:
        """Compute the metrics of a classifier of several labels.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
        scores : numpy.ndarray of shape (rows, labels)
        outputs : Outputs

        Returns
        -------
        dict of str to float
            Accuracy, the mean of the recalls of the labels that occur (balanced accuracy), the
            mean of the F1 scores of all labels, log loss, the calibration error of the likeliest
            label; and for each label its share of the rows, its precision and its recall, 0 where
            there is nothing to divide by.

        Raises
        ------
        ContractError
            When the target has another value than the positions of the labels.
        """
        from sklearn import metrics as m

        _require_positions(target, outputs.labels)
        predicted, every = scores.argmax(axis=1), np.arange(outputs.width)
        precision, recall, f1, rows = m.precision_recall_fscore_support(
            target, predicted, labels=every, zero_division=0.0
        )
        metrics = {
            "rows": target.size,
            "accuracy": float(np.mean(predicted == target)),
            "balanced_accuracy": float(recall[rows > 0].mean()),
            "macro_f1": float(f1.mean()),
            "log_loss": float(_losses(target, scores).mean()),
            "calibration_error": calibration_error(target, scores),
        }
        for index, label in enumerate(outputs.labels):
            metrics |= {
                f"share_{label}": float(rows[index] / target.size),
                f"precision_{label}": float(precision[index]),
                f"recall_{label}": float(recall[index]),
            }
        return metrics

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics in a few words."""
        return f"log loss {metrics['log_loss']:.3f}, accuracy {metrics['accuracy']:.3f}"

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark of what matters most beside the log loss."""
        labels = [each for each in self._outputs.labels if metrics[f"share_{each}"]]
        worst = min(labels, key=lambda label: metrics[f"recall_{label}"])
        remark = f"of {worst}: {100 * metrics[f'recall_{worst}']:.0f} %"
        return "Labels found", f"{100 * metrics['balanced_accuracy']:.0f} %", remark

    def compare(
        self,
        target: np.ndarray,
        scores: Mapping[str, np.ndarray],
        outputs: Outputs,
        config: Any,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Compare models by their log loss, as `compare_losses` does."""
        losses = {name: _losses(target, values) for name, values in scores.items()}
        return compare_losses(losses, config.bootstrap_samples, config.confidence, seed)

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Outputs,
        config: Any,
    ) -> Sequence[Check]:
        """Compare the metrics of a window with the thresholds."""
        return [
            compare(
                "balanced_accuracy",
                "Does the model find each label?",
                metrics["balanced_accuracy"],
                "≥",
                config.minimum_balanced_accuracy,
                window=window,
            ),
            compare(
                "log_loss",
                "Are the probabilities close to the outcomes?",
                metrics["log_loss"],
                "≤",
                config.maximum_log_loss,
                window=window,
            ),
            compare(
                "calibration_error",
                "Is the likeliest label right as often as its probability says?",
                metrics["calibration_error"],
                "≤",
                config.maximum_calibration_error,
                window=window,
            ),
            *compare_gains(window, gains, "log_loss", config.minimum_gain),
        ]

    def constant_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Give every row the share of each label in training."""
        target = train[project.target].to_numpy().astype(int)
        shares = np.bincount(target, minlength=outputs.width) / target.size
        return [np.tile(shares, (frame.height, 1)) for frame in frames]

    def linear_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Score frames with a multinomial logistic regression on some of the features."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        from .linear import encoder

        model = make_pipeline(encoder(project, columns), LogisticRegression(max_iter=1000))
        model.fit(train, train[project.target].to_numpy().astype(int))
        return [model.predict_proba(frame) for frame in frames]

    def curves(
        self, scored: Mapping[str, tuple[np.ndarray, np.ndarray]], outputs: Outputs
    ) -> dict[str, pl.DataFrame]:
        """Compute the curves of a classifier of several labels as tables.

        Parameters
        ----------
        scored : mapping of str to (target, scores)
            By window.
        outputs : Outputs

        Returns
        -------
        dict of str to polars.DataFrame
            `confusion`, `calibration` and `distribution` of the likeliest label, with a `window`
            column each.
        """
        names = np.array([*outputs.labels], dtype=object)
        curves = Curves()
        for window, (target, scores) in scored.items():
            predicted, highest = scores.argmax(axis=1), scores.max(axis=1)
            group = _groups(highest)
            rows = np.bincount(group)
            full = rows > 0
            curves.add(
                "calibration",
                window,
                predicted=np.bincount(group, highest)[full] / rows[full],
                observed=np.bincount(group, predicted == target)[full] / rows[full],
            )
            shares, edges = np.histogram(highest, bins=40, range=(0, 1))
            curves.add("distribution", window, probability=edges[:-1], share=shares / target.size)
            curves.add(
                "confusion",
                window,
                actual=names[target.astype(int)].tolist(),
                predicted=names[predicted].tolist(),
            )
        return curves.tables()

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Return how the report draws the curves."""

        def confusion(axes: "Axes") -> None:
            _draw_confusion(axes, curves["confusion"], self._outputs.labels)

        def calibration(axes: "Axes") -> None:
            lines(axes, curves["calibration"], "predicted", "observed", marker="o", markersize=4)
            axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")

        def distribution(axes: "Axes") -> None:
            table = curves["distribution"]
            lines(axes, table, "probability", "share", drawstyle="steps-post")

        return [
            Drawing("Confusion", "Shares of each label that are called what, in test.", confusion),
            Drawing(
                "Calibration",
                "On the dotted line, the likeliest label is right as often as it says.",
                calibration,
            ),
            Drawing("Distribution", "How sure the model is of the likeliest label.", distribution),
        ]


def _require_positions(target: np.ndarray, labels: Sequence[str]) -> None:
    odd = np.setdiff1d(target, np.arange(len(labels)))
    if odd.size:
        raise ContractError(
            f"preprocessing/features.py: the target is {odd.tolist()[0]!r}, expected 0 to "
            f"{len(labels) - 1}, the positions of {', '.join(labels)}.",
            "Change target(), or the labels in project.py.",
        )


def _losses(target: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Compute the log loss row by row, after Good, *Rational Decisions*, 1952."""
    reached = scores[np.arange(target.size), target.astype(int)]
    return np.asarray(-np.log(np.maximum(reached, np.finfo(float).eps)))


def calibration_error(target: np.ndarray, scores: np.ndarray) -> float:
    """Compute the expected calibration error of the likeliest label, over bins of equal size.

    Parameters
    ----------
    target : numpy.ndarray of shape (rows,)
        Positions of the labels.
    scores : numpy.ndarray of shape (rows, labels)

    Returns
    -------
    float
        Mean distance between the probability of the likeliest label and how often it is right.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, *On Calibration of Modern Neural Networks*, ICML 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.multiclass import calibration_error
    >>> calibration_error(np.array([0, 1]), np.full((2, 2), 0.5))
    0.0
    """
    highest, right = scores.max(axis=1), scores.argmax(axis=1) == target
    group = _groups(highest)
    return float(np.abs(np.bincount(group, highest - right)).sum() / target.size)


def _groups(highest: np.ndarray) -> np.ndarray:
    # Rows of one probability share a bin, in whatever order they come.
    edges = np.quantile(highest, np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.searchsorted(edges, highest)


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
        minimum_balanced_accuracy: Share
        maximum_log_loss: Annotated[float, Field(gt=0)]
        maximum_calibration_error: Share
        parity_tolerance: Annotated[float, Field(gt=0, le=0.01)]

    return Evaluation


def _draw_confusion(axes: "Axes", table: pl.DataFrame, labels: Sequence[str]) -> None:
    last = table.filter(pl.col("window") == table["window"][-1])
    counts = np.array(
        [[last.filter(actual=row, predicted=column).height for column in labels] for row in labels]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour)
    axes.set_xlabel("called")
    axes.set_ylabel("actual")
