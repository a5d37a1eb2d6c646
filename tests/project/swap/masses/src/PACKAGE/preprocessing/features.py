"""Features: what the model sees of a mass, from what is measured before the biopsy."""

import narwhals as nw
from narwhals.typing import IntoLazyFrameT

from ..schema import TARGET

NUMERIC = (
    "radius",
    "mean_texture",
    "mean_smoothness",
    "mean_concavity",
    "mean_symmetry",
    "log_worst_area",
)
CATEGORICAL: tuple[str, ...] = ()


def features(records: IntoLazyFrameT) -> IntoLazyFrameT:
    """Turn records into model features."""
    frame = nw.from_native(records)
    frame = frame.with_columns(
        radius=nw.col("mean_radius").clip(0, 50), log_worst_area=(nw.col("worst_area") + 1).log()
    )
    return frame.with_columns(nw.col(*NUMERIC).cast(nw.Float32)).to_native()


def target(records: IntoLazyFrameT) -> IntoLazyFrameT:
    """Add the target: 1 for a malignant mass."""
    frame = nw.from_native(records)
    malignant = nw.col("diagnosis") == "malignant"
    return frame.with_columns(malignant.cast(nw.Int8).alias(TARGET)).to_native()
