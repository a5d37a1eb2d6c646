"""One feature at a time."""

import polars as pl
import pytest
from PACKAGE.preprocessing.features import features, target
from PACKAGE.schema import COLUMNS, TARGET

TYPES = {column.name: column.polars_type for column in COLUMNS}
MASS = dict.fromkeys(TYPES, 0.5) | {"patient": 1, "diagnosis": "malignant"}


@pytest.mark.parametrize(("radius", "expected"), [(10.0, 10.0), (90.0, 50.0)])
def test_the_radius_is_clipped(radius: float, expected: float) -> None:
    frame = pl.DataFrame([MASS | {"mean_radius": radius}], schema=TYPES)
    assert features(frame.lazy()).collect()["radius"].to_list() == [expected]


@pytest.mark.parametrize(("diagnosis", "expected"), [("malignant", 1), ("benign", 0)])
def test_a_malignant_mass_is_positive(diagnosis: str, expected: int) -> None:
    frame = pl.DataFrame([MASS | {"diagnosis": diagnosis}], schema=TYPES)
    assert target(frame.lazy()).collect()[TARGET].to_list() == [expected]
