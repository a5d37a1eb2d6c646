"""A task of a project's own, which inherits nothing: how often something happens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import narwhals as nw
import numpy as np
import onnx
import polars as pl
from ml_ready.checks import Check, Interval, compare, compare_gains, percentiles
from ml_ready.config import Section
from ml_ready.project import Drawing, Project
from ml_ready.tasks.curves import Curves, lines
from ml_ready.tasks.linear import encoder as linear_encoder
from ml_ready.tasks.onnx import convert
from ml_ready.training.checkpoints import NONE, Checkpoints
from onnx import TensorProto, helper, numpy_helper
from pydantic import Field
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance
from sklearn.pipeline import Pipeline, make_pipeline
from synthetic import TARGET
from synthetic_classifier import Hyperparameters, encoder

__all__ = ["Counts", "Hyperparameters", "add_count", "fit", "predict"]


class Evaluation(Section):
    """What `evaluation` in `conf/config.yaml` sets."""

    baseline_features: list[str]
    bootstrap_samples: int
    confidence: float
    minimum_gain: float
    maximum_deviance: float = Field(gt=0)
    parity_tolerance: float


class Answer(TypedDict):
    """The answer to one record."""

    count: float


@dataclass(frozen=True)
class Outputs:
    """A count per record."""

    width: int = 1
    columns: tuple[str, ...] = ("count",)

    def predictions(self, scores: Sequence[float]) -> list[Answer]:
        """Answer each record of a request."""
        return [{"count": score} for score in scores]

    def table(self, scores: np.ndarray) -> pl.DataFrame:
        """Answer a file of records."""
        return pl.DataFrame({"count": scores})


class Counts:
    """Expected counts, of shape (rows,), judged by the Poisson deviance."""

    metric = "Deviance"
    gain = "less deviance"
    constant = "mean_count"
    answer_type = Answer
    output_name = "counts"

    def scores(self, tensor: np.ndarray) -> np.ndarray:
        """Take the scores."""
        return tensor[:, 0].astype(np.float64)

    def evaluation(self) -> Any:
        """Return the type of `evaluation`."""
        return Evaluation

    def outputs(self, described: Mapping[str, Any]) -> Outputs:
        """Restore outputs."""
        if [*described] != ["columns"]:
            raise ValueError(f"outputs are {[*described]}, expected columns")
        return Outputs()

    def describe(self, outputs: Outputs) -> dict[str, Any]:
        """Describe outputs."""
        return {"columns": [*outputs.columns]}

    def derive_outputs(self, model: Any, target: np.ndarray, scores: np.ndarray) -> Outputs:
        """Return outputs, which depend on no model."""
        return Outputs()

    def to_onnx(self, model: Pipeline, numeric: Sequence[str], categorical: Sequence[str]) -> bytes:
        """Export the logarithm, and raise it."""
        whole = convert(model, numeric, categorical)
        whole.graph.node.append(
            helper.make_node("Exp", [whole.graph.output[0].name], ["raised"]),
        )
        whole.graph.node.append(helper.make_node("Sub", ["raised", "one"], [self.output_name]))
        whole.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), "one"))
        del whole.graph.output[:]
        whole.graph.output.append(
            helper.make_tensor_value_info(self.output_name, TensorProto.FLOAT, [None, 1])
        )
        onnx.checker.check_model(whole)
        return bytes(whole.SerializeToString())

    def measure(self, target: np.ndarray, scores: np.ndarray, outputs: Outputs) -> dict[str, float]:
        """Compute the deviance."""
        return {"rows": target.size, "deviance": deviance(target, scores)}

    def summary(self, metrics: Mapping[str, float]) -> str:
        """Summarize the metrics."""
        return f"deviance {metrics['deviance']:.3f}"

    def tile(self, metrics: Mapping[str, float]) -> tuple[str, str, str]:
        """Return title, value and remark."""
        return "Rows", f"{metrics['rows']}", "that were counted"

    def compare(
        self,
        target: np.ndarray,
        scores: Mapping[str, np.ndarray],
        outputs: Outputs,
        config: Evaluation,
        seed: int,
    ) -> dict[str, tuple[Interval, Interval]]:
        """Bootstrap the deviance."""
        random = np.random.default_rng(seed)
        draws = [np.arange(target.size)] + [
            random.integers(target.size, size=target.size) for _ in range(config.bootstrap_samples)
        ]
        table = {
            name: np.array([deviance(target[rows], values[rows]) for rows in draws])
            for name, values in scores.items()
        }
        return {
            name: (
                percentiles(values, config.confidence),
                percentiles(values - table["model"], config.confidence),
            )
            for name, values in table.items()
        }

    def checks(
        self,
        window: str,
        metrics: Mapping[str, float],
        gains: Mapping[str, Interval],
        outputs: Outputs,
        config: Evaluation,
    ) -> list[Check]:
        """Compare the deviance with its threshold."""
        check = compare(
            "deviance",
            "Are the counts close?",
            metrics["deviance"],
            "≤",
            config.maximum_deviance,
            window=window,
        )
        return [check, *compare_gains(window, gains, "deviance", config.minimum_gain)]

    def constant_baseline(
        self, project: Project, train: pl.DataFrame, frames: Sequence[pl.DataFrame], outputs: Any
    ) -> list[np.ndarray]:
        """Give every row the mean."""
        mean = train[project.target].to_numpy().mean()
        return [np.full(frame.height, mean) for frame in frames]

    def linear_baseline(
        self,
        project: Project,
        train: pl.DataFrame,
        frames: Sequence[pl.DataFrame],
        columns: Sequence[str],
        outputs: Any,
    ) -> list[np.ndarray]:
        """Score frames with a Poisson regression."""
        model = make_pipeline(linear_encoder(project, columns), PoissonRegressor(max_iter=1000))
        model.fit(train, train[project.target].to_numpy())
        return [model.predict(frame) for frame in frames]

    def curves(
        self, scored: Mapping[str, tuple[np.ndarray, np.ndarray]], outputs: Any
    ) -> dict[str, pl.DataFrame]:
        """Sort the counts."""
        curves = Curves()
        for window, (target, scores) in scored.items():
            curves.add("counts", window, expected=np.sort(scores), actual=np.sort(target))
        return curves.tables()

    def drawings(self, curves: Mapping[str, pl.DataFrame]) -> list[Drawing]:
        """Draw the sorted counts."""
        return [
            Drawing(
                "Counts",
                "Expected and actual, each in its order.",
                lambda axes: lines(axes, curves["counts"], "expected", "actual"),
            )
        ]


def deviance(target: np.ndarray, scores: np.ndarray) -> float:
    """Compute the mean Poisson deviance."""
    return float(mean_poisson_deviance(target, np.maximum(scores, 1e-6)))


def add_count(records: Any) -> Any:
    """Add for how many spans of four hours a parcel was on its way."""
    frame = nw.from_native(records).filter(~nw.col("hours").is_null())
    return frame.with_columns((nw.col("hours") / 4).floor().alias(TARGET)).to_native()


def fit(
    train: pl.DataFrame,
    validation: pl.DataFrame,
    hyperparameters: Hyperparameters,
    seed: int,
    checkpoints: Checkpoints = NONE,
) -> Pipeline:
    """Fit the logarithm of the count and one."""
    trees = HistGradientBoostingRegressor(max_iter=hyperparameters.max_iter, random_state=seed)
    pipeline = Pipeline([("columns", encoder()), ("trees", trees)])
    return pipeline.fit(train, np.log1p(train[TARGET].to_numpy()))


def predict(model: Pipeline, frame: pl.DataFrame) -> np.ndarray:
    """Score rows: the expected count."""
    return np.asarray(np.expm1(model.predict(frame)))
