"""One feature at a time."""

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from ml_ready import contract

from {{ cookiecutter.package_name }}.preprocessing.features import (
    AIRLINES,
    CATEGORICAL,
    NUMERIC,
    RARE,
    features,
    target,
)
from {{ cookiecutter.package_name }}.schema import COLUMNS, {% if cookiecutter.task == 'classification' %}LATE_AFTER_MINUTES, {% endif %}TARGET

FLIGHT: dict[str, Any] = dict.fromkeys(column.name for column in COLUMNS) | {
    "time_hour": datetime(2013, 7, 4, 17),
    "sched_dep_time": 1745,
    "sched_arr_time": 5,
    "carrier": "UA",
    "flight": 1545,
    "origin": "EWR",
    "dest": "IAH",
    "distance": 1400,
    "scheduled_departures": 25,
    "plane_year": 1999,
    "seats": 149,
    "temp": 91.0,
}
TYPES = {column.name: column.polars_type for column in COLUMNS}


def of(**changes: Any) -> dict[str, Any]:
    """The features of one flight."""
    frame = pl.DataFrame([FLIGHT | changes], schema=TYPES)
    return features(frame.lazy()).collect().row(0, named=True)


@pytest.mark.parametrize(
    ("departure", "arrival", "minutes"),
    [(1745, 1800, 15), (2350, 5, 15), (5, 2350, 1425), (0, 0, 0)],
)
def test_the_scheduled_duration_bears_midnight(departure: int, arrival: int, minutes: int) -> None:
    assert of(sched_dep_time=departure, sched_arr_time=arrival)["scheduled_minutes"] == minutes


def test_hour_and_weekday_are_those_of_the_schedule() -> None:
    assert of()["departure_hour"] == 17
    assert of()["weekday"] == 4


def test_the_age_of_the_plane_is_in_years() -> None:
    assert of()["plane_age"] == 14
    assert of(plane_year=None)["plane_age"] is None


@pytest.mark.parametrize("airline", AIRLINES)
def test_a_frequent_airline_is_kept(airline: str) -> None:
    assert of(carrier=airline)["carrier"] == airline


def test_unknown_airline_is_scored_as_rare() -> None:
    assert of(carrier="ZZ")["carrier"] == RARE


def test_a_missing_measurement_stays_missing() -> None:
    assert of()["visib"] is None


def test_numbers_are_float32_and_categories_are_text() -> None:
    schema = features(pl.DataFrame([FLIGHT], schema=TYPES).lazy()).collect_schema()
    assert {schema[name] for name in NUMERIC} == {pl.Float32()}
    assert {schema[name] for name in CATEGORICAL} == {pl.String()}


def test_features_need_nothing_that_is_known_only_later() -> None:
    known = {column.name: column.polars_type for column in contract.inputs(COLUMNS)}
    frame = pl.DataFrame([{name: FLIGHT[name] for name in known}], schema=known)
    assert features(frame.lazy()).collect().height == 1
{% if cookiecutter.task == 'classification' %}

@pytest.mark.parametrize(
    ("delay", "expected"),
    [(LATE_AFTER_MINUTES, 0), (LATE_AFTER_MINUTES + 1, 1), (-20, 0), (600, 1)],
)
def test_a_flight_is_late_above_the_limit(delay: int, expected: int) -> None:
    frame = pl.DataFrame([FLIGHT | {"arr_delay": delay}], schema=TYPES)
    assert target(frame.lazy()).collect()[TARGET].to_list() == [expected]
{%- else %}

@pytest.mark.parametrize("delay", [-20, 0, 600])
def test_the_target_is_the_delay_at_arrival(delay: int) -> None:
    frame = pl.DataFrame([FLIGHT | {"arr_delay": delay}], schema=TYPES)
    assert target(frame.lazy()).collect()[TARGET].to_list() == [delay]
{%- endif %}


def test_a_cancelled_flight_has_no_target_and_is_dropped() -> None:
    assert target(pl.DataFrame([FLIGHT], schema=TYPES).lazy()).collect().is_empty()
