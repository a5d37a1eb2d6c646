"""The data contract: what is measured of the cell nuclei of a breast mass."""

from ml_ready.contract import Column

TARGET = "malignant"

COLUMNS = (
    Column("patient", "Int64", "number of the patient, in order of admission", minimum=0),
    Column("mean_radius", "Float64", "mean radius", minimum=0, maximum=100),
    Column("mean_texture", "Float64", "mean deviation of grey values", minimum=0, maximum=100),
    Column("mean_smoothness", "Float64", "mean variation of radii", minimum=0, maximum=1),
    Column("mean_concavity", "Float64", "mean depth of concavities", minimum=0, maximum=1),
    Column("mean_symmetry", "Float64", "mean symmetry", nullable=True, minimum=0, maximum=1),
    Column("worst_area", "Float64", "largest area", minimum=0, maximum=10_000),
    Column(
        "diagnosis",
        "String",
        "what the biopsy found",
        allowed=("malignant", "benign"),
        known_at_prediction=False,
    ),
)
