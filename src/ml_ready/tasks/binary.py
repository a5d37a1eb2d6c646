"""Binary classification: a probability, and the label that follows at the model's threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypedDict

import numpy as np
import polars as pl

from ..checks import Check, Interval, compare, compare_gains, percentiles
from ..project import Drawing
from .curves import GREY, Curves, lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.pipeline import Pipeline

    from ..project import Project

POINTS = 200


class Prediction(TypedDict):
    """The answer to one record."""

    probability: float
    label: int


@dataclass(frozen=True)
class Outputs:
    """What is answered from the scores of a model.

    Parameters
    ----------
    threshold : float
        A record is labelled 1 where its probability is at or above it.

    Raises
    ------
    ValueError
        When the threshold is no probability.

    Examples
    --------
    >>> from ml_ready.tasks.binary import Outputs
    >>> Outputs(threshold=0.5).predictions([0.25, 0.75])
    [{'probability': 0.25, 'label': 0}, {'probability': 0.75, 'label': 1}]
    """

    threshold: float

    width: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("probability", "label")

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, expected 0 to 1")

    def predictions(self, scores: Sequence[float]) -> list[Prediction]:
        """Answer each record of a request."""
        return [{"probability": each, "label": int(each >= self.threshold)} for each in scores]

    def table(self, scores: np.ndarray) -> pl.DataFrame:
        """Answer a file of records, in `columns`."""
        label = (scores >= self.threshold).astype(np.int8)
        return pl.DataFrame({"probability": scores, "label": label})


class BinaryClassification:
    """A task whose target is 0 or 1, and whose scores are probabilities of 1, of shape (rows,).

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.binary import BinaryClassification
    >>> target, scores = np.array([0, 1, 1]), np.array([0.25, 0.5, 0.75])
    >>> task = BinaryClassification()
    >>> outputs = task.derive_outputs(None, target, scores)
    >>> outputs
    Outputs(threshold=0.375)
    >>> task.measure(target, scores, outputs)["roc_auc"]
    1.0
    """

    metric = "ROC-AUC"
    gain = "ROC-AUC"
    constant = "class_prior"
    answer_type = Prediction
    output_name = "probabilities"

    def scores(self, tensor: np.ndarray) -> np.ndarray:
        """Take the scores from what an exported model gives.

        Parameters
        ----------
        tensor : numpy.ndarray of shape (rows, 2)

        Returns
        -------
        numpy.ndarray of shape (rows,)
            Probability of label 1.
        """
        return tensor[:, 1].astype(np.float64)

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

    def derive_outputs(self, model: Any, target: np.ndarray, scores: np.ndarray) -> Outputs:
        """Choose the decision threshold with the highest F1 score.

        It is halfway between two scores, so that rounding moves no row across it.

        Parameters
        ----------
        model : object
            Any classifier: the threshold depends on its scores alone.
        target : numpy.ndarray of shape (rows,)
            0 or 1.
        scores : numpy.ndarray of shape (rows,)
            Those of the validation window, whose F1 score the threshold flatters.

        Returns
        -------
        Outputs
        """
        from sklearn.metrics import precision_recall_curve

        precision, recall, thresholds = precision_recall_curve(target, scores)
        f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
        best = int(np.argmax(f1[:-1]))
        return Outputs(float(thresholds[max(best - 1, 0) : best + 1].mean()))

    def to_onnx(
        self, model: "Pipeline", numeric: Sequence[str], categorical: Sequence[str]
    ) -> bytes:
        """Convert a trained pipeline to ONNX.

        Parameters
        ----------
        model : sklearn.pipeline.Pipeline
            Fitted on a frame with the features as columns.
        numeric, categorical : sequence of str
            Names of the features.

        Returns
        -------
        bytes
            A model with one input of shape (rows, 1) per feature, and the outputs `label` and
            `probabilities` of shape (rows, 2).

        Raises
        ------
        ParityError
            When skl2onnx cannot convert the pipeline.
        """
        from .onnx import convert

        return bytes(convert(model, numeric, categorical, zipmap=False).SerializeToString())

    def measure(self, target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> dict[str, float]:
        """Compute the metrics of a binary classifier.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
            0 or 1, both present.
        scores : numpy.ndarray of shape (rows,)
        outputs : Outputs
            With the threshold at or above which a row is called positive.

        Returns
        -------
        dict of str to float
            Area under the ROC and the precision-recall curve, log loss, Brier score, expected
            calibration error, and at the threshold precision, recall, F1 and the four counts.
        """
        from sklearn import metrics as m

        predicted = (scores >= outputs.threshold).astype(int)
        matrix = m.confusion_matrix(target, predicted, labels=[0, 1])
        negative, false_alarms, missed, hits = matrix.ravel()
        return {
            "rows": target.size,
            "positive_share": float(target.mean()),
            "roc_auc": float(m.roc_auc_score(target, scores)),
            "pr_auc": float(m.average_precision_score(target, scores)),
            "log_loss": float(m.log_loss(target, scores, labels=[0, 1])),
            "brier": float(m.brier_score_loss(target, scores)),
            "calibration_error": calibration_error(target, scores),
            "precision": float(m.precision_score(target, predicted, zero_division=0.0)),
            "recall": float(m.recall_score(target, predicted, zero_division=0.0)),
            "f1": float(m.f1_score(target, predicted, zero_division=0.0)),
            "true_positives": int(hits),
            "false_positives": int(false_alarms),
            "false_negatives": int(missed),
            "true_negatives": int(negative),
        }

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics in a few words."""
        return f"ROC-AUC {metrics['roc_auc']:.3f}, log loss {metrics['log_loss']:.3f}"

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark of what matters most beside the score."""
        remark = f"{100 * metrics['precision']:.0f} % of the alarms are right"
        return "Positives found", f"{100 * metrics['recall']:.0f} %", remark

    def compare(
        self,
        target: np.ndarray,
        scores: Mapping[str, np.ndarray],
        outputs: Outputs,
        config: Any,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Bootstrap the area under the ROC curve of several models on the same resampled rows.

        The rows are drawn as if they were independent.

        Parameters
        ----------
        target : numpy.ndarray of shape (rows,)
        scores : mapping of str to numpy.ndarray of shape (rows,)
            Those of the model under the name `model`, and those of its rivals.
        outputs : Outputs
            Not needed: an area has no threshold.
        config : pydantic.BaseModel
            As `evaluation` returns its class.
        seed : int

        Returns
        -------
        dict
            The area of each model, and the gain of `model` over it, with percentile intervals.

        References
        ----------
        The area is computed from ranks, as the Mann-Whitney statistic: Hanley, McNeil, *Radiology*
        143, 1982.
        """
        random = np.random.default_rng(seed)
        areas: dict[str, list[float]] = {name: [] for name in scores}
        every = np.arange(target.size)
        for draw in range(config.bootstrap_samples + 1):
            rows = random.integers(target.size, size=target.size) if draw else every
            for name, values in scores.items():
                areas[name].append(_area(target[rows], values[rows]))
        model = np.array(areas["model"])
        return {
            name: (
                percentiles(values, config.confidence),
                percentiles(model - np.array(values), config.confidence),
            )
            for name, values in areas.items()
        }

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
        return [
            compare(
                "roc_auc",
                "Does the model rank positives above negatives?",
                metrics["roc_auc"],
                "≥",
                config.minimum_roc_auc,
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
                "Are the probabilities those that are observed?",
                metrics["calibration_error"],
                "≤",
                config.maximum_calibration_error,
                window=window,
            ),
            *compare_gains(window, gains, "roc_auc", config.minimum_gain),
        ]

    def constant_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Give every row the share of positives in training.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame
        frames : sequence of polars.DataFrame
        outputs : Outputs
            Not needed: a share has no threshold.

        Returns
        -------
        list of numpy.ndarray of shape (rows,)
            Probabilities, an array per frame.
        """
        share = float(np.mean(train[project.target].to_numpy()))
        return [np.full(frame.height, share) for frame in frames]

    def linear_baseline(
        self,
        project: "Project",
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Outputs,
    ) -> list[np.ndarray]:
        """Score frames with a logistic regression on some of the features.

        Parameters
        ----------
        project : Project
        train : polars.DataFrame
        frames : sequence of polars.DataFrame
        columns : sequence of str
            Features to use.
        outputs : Outputs
            Not needed, as above.

        Returns
        -------
        list of numpy.ndarray of shape (rows,)
            Probabilities, an array per frame.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        from .linear import encoder

        model = make_pipeline(encoder(project, columns), LogisticRegression(max_iter=1000))
        model.fit(train, train[project.target].to_numpy())
        return [model.predict_proba(frame)[:, 1] for frame in frames]

    def curves(
        self, scored: Mapping[str, tuple[np.ndarray, np.ndarray]], outputs: Outputs
    ) -> dict[str, pl.DataFrame]:
        """Compute the curves of a binary classifier as tables.

        Parameters
        ----------
        scored : mapping of str to (target, scores)
            By window, each array of shape (rows,).
        outputs : Outputs

        Returns
        -------
        dict of str to polars.DataFrame
            `roc`, `precision_recall`, `calibration`, `distribution` and `confusion`, with a
            `window` column each.
        """
        from sklearn.calibration import calibration_curve
        from sklearn.metrics import precision_recall_curve, roc_curve

        curves = Curves()
        for window, (target, scores) in scored.items():
            false, true, _ = roc_curve(target, scores)
            precision, recall, _ = precision_recall_curve(target, scores)
            observed, predicted = calibration_curve(target, scores, n_bins=10, strategy="quantile")
            shares, edges = np.histogram(scores, bins=40, range=(0, 1))
            points, thinned = _thin(false.size), _thin(recall.size)
            curves.add(
                "roc",
                window,
                false_positive_rate=false[points],
                true_positive_rate=true[points],
            )
            curves.add(
                "precision_recall", window, recall=recall[thinned], precision=precision[thinned]
            )
            curves.add("calibration", window, predicted=predicted, observed=observed)
            curves.add("distribution", window, probability=edges[:-1], share=shares / target.size)
            curves.add(
                "confusion",
                window,
                actual=np.where(target == 1, "positive", "negative"),
                predicted=np.where(scores >= outputs.threshold, "positive", "negative"),
            )
        return curves.tables()

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Return how the report draws the curves.

        Parameters
        ----------
        curves : mapping of str to polars.DataFrame
            As `curves` returns them.

        Returns
        -------
        list of Drawing
        """

        def roc(axes: "Axes") -> None:
            lines(axes, curves["roc"], "false_positive_rate", "true_positive_rate")
            axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")

        def precision_recall(axes: "Axes") -> None:
            lines(axes, curves["precision_recall"], "recall", "precision")
            axes.set_ylim(0, 1)

        def calibration(axes: "Axes") -> None:
            table = curves["calibration"]
            lines(axes, table, "predicted", "observed", marker="o", markersize=4)
            top = float(table.select(pl.max_horizontal("predicted", "observed").max()).item())
            axes.plot([0, top], [0, top], color=GREY, linestyle=":")

        def distribution(axes: "Axes") -> None:
            table = curves["distribution"]
            lines(axes, table, "probability", "share", drawstyle="steps-post")

        return [
            Drawing("ROC curve", "How many positives are found for a share of false alarms.", roc),
            Drawing(
                "Precision and recall",
                "What is right among those called positive.",
                precision_recall,
            ),
            Drawing(
                "Calibration", "On the dotted line, probabilities mean what they say.", calibration
            ),
            Drawing("Distribution", "How the probabilities are spread.", distribution),
        ]


def calibration_error(target: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> float:
    """Compute the expected calibration error over bins of equal size.

    Parameters
    ----------
    target, probabilities : numpy.ndarray of shape (rows,)
    bins : int

    Returns
    -------
    float
        Mean distance between predicted probability and observed share, 0 to 1.

    References
    ----------
    Naeini, Cooper, Hauskrecht, *Obtaining Well Calibrated Probabilities Using Bayesian Binning*,
    AAAI 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.tasks.binary import calibration_error
    >>> calibration_error(np.array([0, 1, 1, 1]), np.full(4, 0.5))
    0.25
    """
    edges = np.quantile(probabilities, np.linspace(0, 1, bins + 1)[1:-1])
    # Rows of one probability share a bin, in whatever order they come.
    group = np.searchsorted(edges, probabilities)
    return float(np.abs(np.bincount(group, probabilities - target)).sum() / target.size)


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
        minimum_roc_auc: Share
        maximum_log_loss: Annotated[float, Field(gt=0)]
        maximum_calibration_error: Share
        parity_tolerance: Annotated[float, Field(gt=0, le=0.01)]

    return Evaluation


def _area(target: np.ndarray, scores: np.ndarray) -> float:
    from scipy.stats import rankdata

    positives = int(target.sum())
    pairs = positives * (target.size - positives)
    ranks = rankdata(scores)[target == 1].sum()
    return float((ranks - positives * (positives + 1) / 2) / pairs) if pairs else np.nan


def _thin(size: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, POINTS)).astype(int))
