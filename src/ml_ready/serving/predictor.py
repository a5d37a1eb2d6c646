"""The predictor: from an exported model, scores for records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from polars.io.plugins import register_io_source

from .. import contract
from ..artifact import METADATA_FILE, RETRAIN, read_metadata, read_model
from ..errors import MismatchError, ModelError, one_line
from ..project import Outputs, Project

_AS_IS = pl.QueryOptFlags.none()


class Predictor:
    """A model ready to score records.

    Parameters
    ----------
    project : Project
    folder : pathlib.Path
        Holds `model.onnx` and `metadata.json`.

    Raises
    ------
    ModelError
        When a file is missing or broken.
    MismatchError
        When the model was made for another contract, other features or other outputs.

    Examples
    --------
    With a `project`, the folder `models` of its trained model, and a `record`:

    >>> from ml_ready.serving.predictor import Predictor
    >>> predictor = Predictor(project, models)
    >>> scores = predictor.records([record])
    >>> predictor.outputs.predictions(scores.tolist())
    [{'probability': 0..., 'label': 0}]
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self.project = project
        self.metadata = read_metadata(folder)
        self.outputs = _outputs(project, self.metadata, folder / METADATA_FILE)
        # The checksum is compared first: a damaged model may look like one of other features.
        model = read_model(folder, self.metadata)
        self._session = load(project, model, str(folder / self.metadata["model"]["file"]))
        widths = {node.name: node.shape[-1] for node in self._session.get_outputs()}
        width = widths[project.task.output_name]
        if width != self.outputs.width:
            raise MismatchError(
                f"{folder}: the model gives {width} values for a record, expected "
                f"{self.outputs.width}.",
                RETRAIN,
            )
        self._schema = contract.polars_schema(project.inputs)
        self._batch = pl.DataFrame(schema=self._schema)
        # Building the expressions costs more than running them on a few rows, so it is done once,
        # over a source that yields whatever batch is set at the time.
        source = register_io_source(self._source, schema=self._schema, is_pure=False)
        self._plan = project.features(source).select(project.feature_names)

    def records(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Score a few records as they come from a request; not for several threads at once.

        Parameters
        ----------
        rows : sequence of mappings
            Field name to value, with every input of the contract, already checked.

        Returns
        -------
        numpy.ndarray of shape (rows, …)
            As `Task.scores` returns them.

        Raises
        ------
        ModelError
            When the model gives something that is not a number.
        """
        self._batch = pl.DataFrame(rows, schema=self._schema)
        return self.score(self._plan.collect(engine="in-memory", optimizations=_AS_IS))

    def frame(self, records: pl.DataFrame) -> np.ndarray:
        """Score a table of records.

        Parameters
        ----------
        records : polars.DataFrame
            With the contract's inputs, already checked.

        Returns
        -------
        numpy.ndarray of shape (rows, …)
            As `Task.scores` returns them.

        Raises
        ------
        ModelError
            When the model gives something that is not a number.
        """
        lazy = records.lazy().select(list(self._schema)).cast(self._schema)
        table = self.project.features(lazy).select(self.project.feature_names)
        return self.score(table.collect())

    def score(self, table: pl.DataFrame) -> np.ndarray:
        """Score a table that has the features already, such as `data/processed`.

        Parameters
        ----------
        table : polars.DataFrame of shape (rows, columns)
            With the feature columns.

        Returns
        -------
        numpy.ndarray of shape (rows, ...)
            As `Task.scores` returns them.

        Raises
        ------
        ModelError
            When the model gives something that is not a number.
        """
        return score(self.project, self._session, table)

    def _source(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        yield self._batch


def load(project: Project, model: bytes, name: str = "the exported model") -> ort.InferenceSession:
    """Load an exported model.

    Parameters
    ----------
    project : Project
    model : bytes
    name : str
        What to call it in an error.

    Returns
    -------
    onnxruntime.InferenceSession

    Raises
    ------
    ModelError
        When it is damaged.
    MismatchError
        When it takes other features than `preprocessing/features.py` makes, or lacks the output
        that the task reads.
    """
    options = ort.SessionOptions()
    # On several threads the trees are added up in another order: the last digit of a score
    # would depend on the size of the batch and on the machine.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
        raise ModelError(f"{name}: not a model ({one_line(error)}).", RETRAIN) from error
    taken = {node.name for node in session.get_inputs()}
    if taken != {*project.feature_names}:
        missing = ", ".join(sorted(taken - {*project.feature_names})) or "nothing"
        new = ", ".join(sorted({*project.feature_names} - taken)) or "nothing"
        raise MismatchError(
            f"{name}: preprocessing/features.py lacks {missing} of the model's features, and has "
            f"{new} that the model does not know.",
            RETRAIN,
        )
    tensors = [node.name for node in session.get_outputs()]
    if project.task.output_name not in tensors:
        raise MismatchError(
            f"{name}: the model gives {', '.join(tensors)}, expected {project.task.output_name}.",
            RETRAIN,
        )
    return session


def score(project: Project, session: ort.InferenceSession, table: pl.DataFrame) -> np.ndarray:
    """Score feature rows.

    Parameters
    ----------
    project : Project
    session : onnxruntime.InferenceSession
    table : polars.DataFrame of shape (rows, columns)
        With the feature columns.

    Returns
    -------
    numpy.ndarray of shape (rows, …)
        As `Task.scores` returns them.

    Raises
    ------
    ModelError
        When the model gives something that is not a number.
    """
    columns = {name: table.get_column(name).to_numpy() for name in project.feature_names}
    feed = {name: values.reshape(-1, 1) for name, values in columns.items()}
    task = project.task
    scores = task.scores(np.asarray(session.run([task.output_name], feed)[0]))
    finite = np.isfinite(scores)
    if not finite.all():
        broken = (~finite.reshape(len(finite), -1)).any(axis=1).sum()
        raise ModelError(
            f"The model returned NaN or infinity for {broken} of {len(finite)} records.",
            RETRAIN,
        )
    return scores


def _outputs(project: Project, metadata: Mapping[str, Any], path: Path) -> Outputs:
    trained_for = metadata["contract_version"]
    if trained_for != project.contract_version:
        raise MismatchError(
            f"{path}: the model was trained for contract {trained_for}, schema.py is "
            f"{project.contract_version}.",
            RETRAIN,
        )
    try:
        return project.task.outputs(metadata["outputs"])
    except (TypeError, ValueError) as error:
        raise MismatchError(
            f"{path}: the model was trained for other outputs ({one_line(error)}).", RETRAIN
        ) from error
