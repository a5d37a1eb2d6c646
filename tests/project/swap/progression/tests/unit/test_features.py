"""One feature at a time."""

import polars as pl
from PACKAGE.preprocessing.features import NUMERIC, features, target
from PACKAGE.schema import COLUMNS, TARGET

TYPES = {column.name: column.polars_type for column in COLUMNS}
VISIT = dict.fromkeys(TYPES, 50.0) | {"patient": 1, "sex": "a", "progression": 99.0}


def test_numbers_are_float32() -> None:
    frame = features(pl.DataFrame([VISIT], schema=TYPES).lazy()).collect()
    assert {frame.schema[name] for name in NUMERIC} == {pl.Float32()}


def test_the_target_is_the_progression() -> None:
    frame = pl.DataFrame([VISIT], schema=TYPES).lazy()
    assert target(frame).collect()[TARGET].to_list() == [99]
