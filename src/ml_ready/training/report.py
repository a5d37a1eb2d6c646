"""The report: one self-contained page for people."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..project import Drawing


def page(drawings: Sequence["Drawing"], content: Mapping[str, Any]) -> str:
    """Render the page.

    Parameters
    ----------
    drawings : sequence of Drawing
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
    figures = [each._asdict() | {"image": _image(each)} for each in drawings]
    return environment.from_string(template).render(content, figures=figures)


def _image(drawing: "Drawing") -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    drawing.draw(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e9ecef", linewidth=0.8)
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
