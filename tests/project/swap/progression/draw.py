"""Draw the source table: patients with diabetes, and how far it had come a year later."""

import polars as pl
from sklearn.datasets import load_diabetes

data = load_diabetes(scaled=False)
frame = pl.DataFrame(data.data, schema=data.feature_names).with_row_index("patient")
frame = frame.with_columns(
    sex=pl.when(pl.col("sex") > 1).then(pl.lit("b")).otherwise(pl.lit("a")),
    progression=pl.Series(data.target),
)
visit = ["age", "sex", "bmi", "bp"]
frame.select("patient", *visit, "progression").write_parquet("data/sample/visits.parquet")
