"""Draw the source table: masses of a breast, and what a biopsy found."""

import polars as pl
from sklearn.datasets import load_breast_cancer

data = load_breast_cancer()
names = [name.replace(" ", "_") for name in data.feature_names]
wanted = "mean_radius mean_texture mean_smoothness mean_concavity mean_symmetry worst_area"
frame = pl.DataFrame(data.data, schema=names).select(wanted.split())
frame = frame.with_row_index("patient").with_columns(
    diagnosis=pl.Series([data.target_names[each] for each in data.target]),
)
frame.write_csv("data/sample/masses.csv")
