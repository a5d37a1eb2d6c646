"""The report: curves as tables for DVC, and one self-contained page for people."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"validation": "#4c6ef5", "test": "#f76707"}
POINTS = 200

Scores = Mapping[str, tuple[np.ndarray, np.ndarray]]


def curves(scores: Scores, threshold: float) -> dict[str, pl.DataFrame]:
    """Compute the curves of a binary classifier as tables.

    Parameters
    ----------
    scores : mapping of str to (labels, probabilities)
        By window, each array of shape (rows,).
    threshold : float

    Returns
    -------
    dict of str to polars.DataFrame
        `roc`, `precision_recall`, `calibration`, `distribution` and `confusion`, with a `window`
        column each.
    """
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    tables: dict[str, list[pl.DataFrame]] = {}

    def add(name: str, window: str, **columns: Any) -> None:
        table = pl.DataFrame(columns).select(pl.lit(window).alias("window"), pl.all())
        tables.setdefault(name, []).append(table)

    for window, (labels, probabilities) in scores.items():
        false, true, _ = roc_curve(labels, probabilities)
        precision, recall, _ = precision_recall_curve(labels, probabilities)
        observed, predicted = calibration_curve(
            labels, probabilities, n_bins=10, strategy="quantile"
        )
        shares, edges = np.histogram(probabilities, bins=40, range=(0, 1))
        thinned, kept = _thin(false.size), _thin(recall.size)
        add(
            "roc",
            window,
            false_positive_rate=false[thinned],
            true_positive_rate=true[thinned],
        )
        add("precision_recall", window, recall=recall[kept], precision=precision[kept])
        add("calibration", window, predicted=predicted, observed=observed)
        add("distribution", window, probability=edges[:-1], share=shares / labels.size)
        add(
            "confusion",
            window,
            actual=np.where(labels == 1, "positive", "negative"),
            predicted=np.where(probabilities >= threshold, "positive", "negative"),
        )
    return {name: pl.concat(parts) for name, parts in tables.items()}


def page(tables: Mapping[str, pl.DataFrame], content: Mapping[str, Any]) -> str:
    """Render the page.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        As `curves` returns them.
    content : mapping
        What `report.html.jinja` shows beside the figures.

    Returns
    -------
    str
        HTML with everything in it.
    """
    from jinja2 import Environment, StrictUndefined

    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(template).render(content, figures=_figures(tables))


def _thin(size: int) -> np.ndarray:
    return np.unique(np.linspace(0, size - 1, min(size, POINTS)).astype(int))


def _figures(tables: Mapping[str, pl.DataFrame]) -> list[dict[str, str]]:
    def lines(axes: "Axes", name: str, x: str, y: str, **style: Any) -> None:
        for (window,), part in tables[name].group_by("window", maintain_order=True):
            axes.plot(part[x], part[y], label=str(window), color=COLOURS[str(window)], **style)
        axes.set_xlabel(x.replace("_", " "))
        axes.set_ylabel(y.replace("_", " "))

    def roc(axes: "Axes") -> None:
        lines(axes, "roc", "false_positive_rate", "true_positive_rate")
        axes.plot([0, 1], [0, 1], color="#adb5bd", linestyle=":")

    def precision_recall(axes: "Axes") -> None:
        lines(axes, "precision_recall", "recall", "precision")
        axes.set_ylim(0, 1)

    def calibration(axes: "Axes") -> None:
        lines(axes, "calibration", "predicted", "observed", marker="o", markersize=4)
        top = float(
            tables["calibration"].select(pl.max_horizontal("predicted", "observed").max()).item()
        )
        axes.plot([0, top], [0, top], color="#adb5bd", linestyle=":")

    def distribution(axes: "Axes") -> None:
        lines(axes, "distribution", "probability", "share", drawstyle="steps-post")

    drawings = [
        ("ROC curve", "How many positives are found for a given share of false alarms.", roc),
        ("Precision and recall", "What is right among those called positive.", precision_recall),
        ("Calibration", "On the dotted line, probabilities mean what they say.", calibration),
        ("Distribution", "How the probabilities are spread.", distribution),
    ]
    return [
        {"title": title, "caption": caption, "image": _draw(draw)}
        for title, caption, draw in drawings
    ]


def _draw(draw: Any) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
