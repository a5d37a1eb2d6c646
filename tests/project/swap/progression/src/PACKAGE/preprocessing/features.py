"""Features: what the model sees of a patient."""

import narwhals as nw
from narwhals.typing import IntoLazyFrameT

NUMERIC = ("age", "bmi", "bp")
CATEGORICAL = ("sex",)


def features(records: IntoLazyFrameT) -> IntoLazyFrameT:
    """Turn records into model features."""
    frame = nw.from_native(records)
    return frame.with_columns(nw.col(*NUMERIC).cast(nw.Float32)).to_native()


def target(records: IntoLazyFrameT) -> IntoLazyFrameT:
    """Leave the target as it is recorded."""
    return records
