"""The data contract: each field of a scheduled flight, joined with weather, plane and history.

Change this list for your own problem; the checks of batches and of requests follow from it.
"""

from ml_ready.contract import Column

{% if cookiecutter.task == 'classification' -%}
TARGET = "late"
LATE_AFTER_MINUTES = 15
{%- else -%}
TARGET = "minutes_late"
{%- endif %}

COLUMNS = (
    Column("time_hour", "Datetime", "hour of the scheduled departure, New York time"),
    Column("sched_dep_time", "Int32", "scheduled departure, HHMM", minimum=0, maximum=2359),
    Column("sched_arr_time", "Int32", "scheduled arrival, HHMM", minimum=0, maximum=2359),
    Column("carrier", "String", "airline, IATA code", pattern="[0-9A-Z]{2}"),
    Column("flight", "Int32", "flight number", minimum=1, maximum=9999),
    Column("tailnum", "String", "tail number of the plane", nullable=True, pattern="[0-9A-Z]{2,8}"),
    Column("origin", "String", "airport of departure", allowed=("EWR", "JFK", "LGA")),
    Column("dest", "String", "airport of arrival, IATA code", pattern="[A-Z]{3}"),
    Column("distance", "Int32", "miles between the airports", minimum=1, maximum=12000),
    Column(
        "scheduled_departures",
        "Int32",
        "flights scheduled to leave the airport in the same hour",
        minimum=1,
        maximum=500,
    ),
    Column("temp", "Float32", "temperature, °F", nullable=True, minimum=-60, maximum=140),
    Column("dewp", "Float32", "dew point, °F", nullable=True, minimum=-80, maximum=100),
    Column("humid", "Float32", "relative humidity, %", nullable=True, minimum=0, maximum=100),
    Column("wind_dir", "Float32", "wind direction, degrees", nullable=True, minimum=0, maximum=360),
    Column("wind_speed", "Float32", "wind speed, mph", nullable=True, minimum=0, maximum=200),
    Column("wind_gust", "Float32", "wind gust, mph", nullable=True, minimum=0, maximum=250),
    Column("precip", "Float32", "rain in that hour, inches", nullable=True, minimum=0, maximum=15),
    Column("pressure", "Float32", "air pressure, hPa", nullable=True, minimum=870, maximum=1090),
    Column("visib", "Float32", "visibility, miles", nullable=True, minimum=0, maximum=100),
    Column("plane_year", "Int32", "year of manufacture", nullable=True, minimum=1930, maximum=2100),
    Column("engines", "Int32", "engines of the plane", nullable=True, minimum=1, maximum=8),
    Column("seats", "Int32", "seats of the plane", nullable=True, minimum=1, maximum=900),
    Column(
        "origin_late_share",
        "Float32",
        "share of yesterday's flights from this airport that arrived late",
        nullable=True,
        minimum=0,
        maximum=1,
    ),
    Column(
        "carrier_late_share",
        "Float32",
        "share of yesterday's flights of this airline that arrived late",
        nullable=True,
        minimum=0,
        maximum=1,
    ),
    Column(
        "dep_delay",
        "Int32",
        "minutes of delay at departure",
        nullable=True,
        minimum=-120,
        maximum=3000,
        known_at_prediction=False,
    ),
    Column(
        "air_time",
        "Int32",
        "minutes in the air",
        nullable=True,
        minimum=1,
        maximum=1500,
        known_at_prediction=False,
    ),
    Column(
        "arr_delay",
        "Int32",
        "minutes of delay at arrival; missing for a cancelled flight",
        nullable=True,
        minimum=-200,
        maximum=3000,
        known_at_prediction=False,
    ),
)
