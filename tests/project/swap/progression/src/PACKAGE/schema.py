"""The data contract: what is measured of a patient at a visit."""

from ml_ready.contract import Column

TARGET = "progression"

COLUMNS = (
    Column("patient", "Int64", "number of the patient", minimum=0),
    Column("age", "Float64", "years", minimum=0, maximum=120),
    Column("sex", "String", "as coded in the source", allowed=("a", "b")),
    Column("bmi", "Float64", "body mass index", minimum=10, maximum=80),
    Column("bp", "Float64", "average blood pressure", nullable=True, minimum=30, maximum=200),
    Column(
        "progression",
        "Float64",
        "how far the disease has come after a year",
        minimum=0,
        maximum=1000,
        known_at_prediction=False,
    ),
)
