"""Features: what the model sees of a flight, from what is known when it is scheduled.

They work on a lazy frame of any engine that narwhals drives, row by row: the same code runs over
the training data and inside the server.
"""

import narwhals as nw
from narwhals.typing import IntoLazyFrameT

from ..schema import {% if cookiecutter.task == 'classification' %}LATE_AFTER_MINUTES, {% endif %}TARGET

NUMERIC = (
    "departure_hour",
    "weekday",
    "scheduled_minutes",
    "distance",
    "seats",
    "plane_age",
    "scheduled_departures",
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
    "origin_late_share",
    "carrier_late_share",
)
CATEGORICAL = ("carrier", "origin")
AIRLINES = ("9E", "AA", "B6", "DL", "EV", "MQ", "UA", "US", "VX", "WN")
RARE = "rare"
MINUTES_OF_A_DAY = 24 * 60


def features(records: IntoLazyFrameT) -> IntoLazyFrameT:
    """Turn records into model features.

    Parameters
    ----------
    records : lazy frame with the columns of `schema.py` known at prediction time

    Returns
    -------
    lazy frame
        The columns of the records with `NUMERIC` (Float32, may be missing) and `CATEGORICAL`
        (String, never missing) among them.
    """
    frame = nw.from_native(records)
    frame = frame.with_columns(
        departure_hour=nw.col("time_hour").dt.hour(),
        # Sunday is 7 in polars and 0 in Spark.
        weekday=(nw.col("time_hour").dt.weekday() + 6) % 7 + 1,
        scheduled_minutes=minutes_between("sched_dep_time", "sched_arr_time"),
        plane_age=nw.col("time_hour").dt.year() - nw.col("plane_year"),
        carrier=grouped("carrier", AIRLINES),
    )
    return frame.with_columns(nw.col(*NUMERIC).cast(nw.Float32)).to_native()


def target(records: IntoLazyFrameT) -> IntoLazyFrameT:
{%- if cookiecutter.task == 'classification' %}
    """Add the target: 1 for a flight that arrived late, 0 on time; drop rows where it is unknown.
{%- else %}
    """Add the target, the minutes of delay at arrival; drop rows where it is unknown.
{%- endif %}

    Parameters
    ----------
    records : lazy frame with the outcome

    Returns
    -------
    lazy frame
    """
    frame = nw.from_native(records).filter(~nw.col("arr_delay").is_null())
{%- if cookiecutter.task == 'classification' %}
    late = nw.col("arr_delay") > LATE_AFTER_MINUTES
    return frame.with_columns(late.cast(nw.Int8).alias(TARGET)).to_native()
{%- else %}
    return frame.with_columns(nw.col("arr_delay").cast(nw.Float64).alias(TARGET)).to_native()
{%- endif %}


def minutes_between(start: str, end: str) -> nw.Expr:
    """Minutes from one time of day to the next, both written as HHMM in their own time zone."""
    first, last = (nw.col(name) // 100 * 60 + nw.col(name) % 100 for name in (start, end))
    return (last - first + MINUTES_OF_A_DAY) % MINUTES_OF_A_DAY


def grouped(column: str, levels: tuple[str, ...]) -> nw.Expr:
    """Keep the listed levels and call every other one, or a missing one, rare."""
    known = nw.col(column).is_in(levels)
    return nw.when(known).then(nw.col(column)).otherwise(nw.lit(RARE))
