"""What the library is given of this project: one value that every command takes."""

from pathlib import Path

from ml_ready.project import Project
{%- if cookiecutter.task == 'classification' %}
from ml_ready.tasks.binary import BinaryClassification
{%- else %}
from ml_ready.tasks.regression import Regression
{%- endif %}

from .preprocessing.features import CATEGORICAL, NUMERIC, features, target
from .schema import COLUMNS, TARGET

PROJECT = Project(
    root=Path(__file__).parents[2],
    columns=COLUMNS,
    target=TARGET,
    numeric=NUMERIC,
    categorical=CATEGORICAL,
    features=features,
    add_target=target,
{%- if cookiecutter.task == 'classification' %}
    task=BinaryClassification(),
{%- else %}
    task=Regression(),
{%- endif %}
    # By name: serving does not import it.
    model=f"{__package__}.training.model",
)
