"""A model that is written by hand, so that a test of the server trains nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from ml_ready import artifact
from ml_ready.contract import polars_schema
from ml_ready.project import Project
from onnx import TensorProto, helper, numpy_helper
from synthetic import parcels

OUTPUTS: dict[str, dict[str, Any]] = {
    "binary": {"threshold": 0.5},
    "quantiles": {"columns": ["q0.5", "q0.9"]},
    "mean": {"columns": ["mean"]},
}
LAST: dict[str, list[tuple[str, list[str], str]]] = {
    "binary": [("Sub", ["one", "answer"], "other")],
    "quantiles": [("Add", ["answer", "one"], "upper")],
    "mean": [],
}
ORDER = {"binary": ["other", "answer"], "quantiles": ["answer", "upper"], "mean": ["answer"]}


def model(project: Project, task: str, *, broken_above: float = np.inf) -> bytes:
    """Return a weighted sum squeezed between 0 and 1, and not a number above a limit."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1])
        for name in project.numeric
    ]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.STRING, [None, 1])
        for name in project.categorical
    ]
    weights = np.random.default_rng(0).uniform(-1, 1, (len(project.numeric), 1))
    constants = {
        "zero": np.zeros(1, np.float32),
        "half": np.full(1, 0.5, np.float32),
        "one": np.ones(1, np.float32),
        "lowest": np.array(-1e6, np.float32),
        "highest": np.array(1e6, np.float32),
        "limit": np.full(1, broken_above, np.float32),
        "nan": np.full(1, np.nan, np.float32),
        "weights": weights.astype(np.float32),
    }
    steps = [
        ("IsNaN", ["numbers"], "missing"),
        ("Where", ["missing", "zero", "numbers"], "filled"),
        ("Clip", ["filled", "lowest", "highest"], "clipped"),
        ("MatMul", ["clipped", "weights"], "sum"),
        ("Softsign", ["sum"], "squeezed"),
        ("Mul", ["squeezed", "half"], "halved"),
        ("Add", ["halved", "half"], "score"),
        ("Greater", ["score", "limit"], "above"),
        ("Where", ["above", "nan", "score"], "answer"),
        *LAST[task],
    ]
    tensor, order = project.task.output_name, ORDER[task]
    nodes = [
        helper.make_node("Concat", list(project.numeric), ["numbers"], axis=1),
        *(helper.make_node(kind, taken, [name]) for kind, taken, name in steps),
        helper.make_node("Concat", order, [tensor], axis=1),
    ]
    outputs = [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, len(order)])]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "by hand", inputs, outputs, stored)
    opset = helper.make_opsetid("", 21)
    whole: bytes = helper.make_model(
        graph, opset_imports=[opset], ir_version=10
    ).SerializeToString()
    return whole


def metadata(project: Project, task: str) -> dict[str, Any]:
    """Return what is known of the model."""
    return {"contract_version": project.contract_version, "outputs": OUTPUTS[task]}


def write(project: Project, task: str, folder: Path, *, broken_above: float = np.inf) -> Path:
    """Write a model folder, and return it."""
    whole = model(project, task, broken_above=broken_above)
    artifact.write_model(folder, whole, metadata(project, task))
    return folder


def records(project: Project) -> pl.DataFrame:
    """Return records, with all columns of the contract."""
    table, staff = parcels()
    joined = table.join(staff, on=["depot", "day"], how="left", maintain_order="left")
    schema = polars_schema(project.columns)
    return joined.select(*schema).cast(schema)
