"""The model: a logistic regression, and the hyperparameter it takes."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..config import Section
from ..preprocessing.features import NUMERIC

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class Hyperparameters(Section):
    """What `conf/model` sets."""

    inverse_regularization: Annotated[float, Field(gt=0)]


def build(hyperparameters: Hyperparameters, seed: int) -> "Pipeline":
    """Build the untrained model."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    columns = ColumnTransformer([("numeric", SimpleImputer(strategy="median"), list(NUMERIC))])
    classifier = LogisticRegression(C=hyperparameters.inverse_regularization, random_state=seed)
    return Pipeline([("columns", columns), ("scaled", StandardScaler()), ("linear", classifier)])
