"""The encoding of features for the linear models that a model is compared with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.compose import ColumnTransformer

    from ..project import Project


def encoder(project: "Project", columns: Sequence[str]) -> "ColumnTransformer":
    """Return an encoder that is not fitted.

    Numbers are standardised, missing ones take the median; categories are one-hot encoded.

    Parameters
    ----------
    project : Project
    columns : sequence of str
        Features to use.

    Returns
    -------
    sklearn.compose.ColumnTransformer
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [name for name in project.numeric if name in columns]
    texts = [name for name in project.categorical if name in columns]
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore")
    return ColumnTransformer([("numbers", scaled, numbers), ("texts", one_hot, texts)])
