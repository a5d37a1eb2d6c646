"""The predictor: from an exported model, scores for records."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import polars as pl
from polars.io.plugins import register_io_source

from .. import contract
from ..errors import MismatchError, ModelError
from ..prediction import Outputs
from ..preprocessing.features import CATEGORICAL, NUMERIC, features
from ..schema import COLUMNS

MODEL_FILE = "model.onnx"
METADATA_FILE = "metadata.json"
CHECKSUM = "model_crc32"
RECORD_SCHEMA = pl.Schema((column.name, column.polars_type) for column in contract.inputs(COLUMNS))
FEATURES = [*NUMERIC, *CATEGORICAL]
AS_IS = pl.QueryOptFlags.none()
RETRAIN = "Train it: poe pipeline"


class Predictor:
    """A model ready to score records.

    Parameters
    ----------
    folder : pathlib.Path
        Holds `model.onnx` and `metadata.json`.

    Raises
    ------
    ModelError
        When a file is missing or broken.
    MismatchError
        When the model was made for another contract, other features or other outputs.
    """

    def __init__(self, folder: Path) -> None:
        self.metadata = _read_metadata(folder)
        self.outputs = Outputs(**self.metadata["outputs"])
        model = _read_model(folder)
        # First, as a damaged model may look like one of other features.
        if zlib.crc32(model) != self.metadata.get(CHECKSUM, zlib.crc32(model)):
            raise ModelError(
                f"{folder / MODEL_FILE}: not the model that {METADATA_FILE} is of: it is damaged, "
                f"or of another training. {RETRAIN}"
            )
        self._session = load(model, str(folder / MODEL_FILE))
        given = {node.name: node.shape[-1] for node in self._session.get_outputs()}[Outputs.tensor]
        if given != self.outputs.width:
            raise MismatchError(
                f"{folder}: the model gives {given} values for a record, expected "
                f"{self.outputs.width}. {RETRAIN}"
            )
        self._batch = pl.DataFrame(schema=RECORD_SCHEMA)
        # Building the expressions costs more than running them on a few rows, so it is done once,
        # over a source that yields whatever batch is set at the time.
        self._plan = features(
            register_io_source(self._source, schema=RECORD_SCHEMA, is_pure=False)
        ).select(FEATURES)

    def records(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Score a few records as they come from a request; not for several threads at once.

        Parameters
        ----------
        rows : sequence of mappings
            Field name to value, with every input of the contract, already checked.

        Returns
        -------
        numpy.ndarray of shape (rows, …)
            As `Outputs.scores` returns them.

        Raises
        ------
        ModelError
            When the model gives something that is not a number.
        """
        self._batch = pl.DataFrame(rows, schema=RECORD_SCHEMA)
        return self.score(self._plan.collect(engine="in-memory", optimizations=AS_IS))

    def frame(self, records: pl.DataFrame) -> np.ndarray:
        """Score a table of records.

        Parameters
        ----------
        records : polars.DataFrame
            With the contract's inputs, already checked.

        Returns
        -------
        numpy.ndarray of shape (rows, …)
            As `Outputs.scores` returns them.

        Raises
        ------
        ModelError
            When the model gives something that is not a number.
        """
        lazy = records.lazy().select(list(RECORD_SCHEMA)).cast(RECORD_SCHEMA)
        return self.score(features(lazy).select(FEATURES).collect())

    def score(self, table: pl.DataFrame) -> np.ndarray:
        """Score a table that has the features already, such as `data/processed`: see `score`."""
        return score(self._session, table)

    def _source(
        self,
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        yield self._batch


def load(model: bytes, name: str = "the exported model") -> ort.InferenceSession:
    """Load an exported model.

    Parameters
    ----------
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
        When it takes other features than `preprocessing/features.py` makes, or gives something
        else than `prediction.py` answers.
    """
    options = ort.SessionOptions()
    # On several threads the trees are added up in another order: the last digit of a score
    # would depend on the size of the batch and on the machine.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
        raise ModelError(f"{name}: not a model ({_line(error)}). {RETRAIN}") from error
    taken = {node.name for node in session.get_inputs()}
    if taken != set(FEATURES):
        different = ", ".join(sorted(taken ^ set(FEATURES)))
        raise MismatchError(
            f"{name}: the model and preprocessing/features.py differ in {different}. {RETRAIN}"
        )
    given = [node.name for node in session.get_outputs()]
    if Outputs.tensor not in given:
        raise MismatchError(
            f"{name}: the model gives {', '.join(given)}, expected {Outputs.tensor}. {RETRAIN}"
        )
    return session


def score(session: ort.InferenceSession, table: pl.DataFrame) -> np.ndarray:
    """Score feature rows.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    table : polars.DataFrame of shape (rows, columns)
        With the feature columns.

    Returns
    -------
    numpy.ndarray of shape (rows, …)
        As `Outputs.scores` returns them.

    Raises
    ------
    ModelError
        When the model gives something that is not a number.
    """
    columns = {name: table.get_column(name).to_numpy() for name in FEATURES}
    feed = {name: values.reshape(-1, 1) for name, values in columns.items()}
    scores = Outputs.scores(np.asarray(session.run([Outputs.tensor], feed)[0]))
    finite = np.isfinite(scores)
    if not finite.all():
        broken = (~finite.reshape(len(finite), -1)).any(axis=1).sum()
        raise ModelError(
            f"The model gave no number for {broken} of {len(finite)} records. "
            f"Do not serve it. {RETRAIN}"
        )
    return scores


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_FILE
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made_for, outputs = metadata["contract_version"], dict(metadata["outputs"])
    except KeyError as error:
        raise MismatchError(f"{path}: it has no {_line(error)}. {RETRAIN}") from error
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not readable ({_line(error)}). {RETRAIN}") from error
    if made_for != contract.version(COLUMNS):
        raise MismatchError(
            f"{path}: the model was trained for contract {made_for}, schema.py is "
            f"{contract.version(COLUMNS)}. {RETRAIN}"
        )
    try:
        Outputs(**outputs)
    except (TypeError, ValueError) as error:
        raise MismatchError(
            f"{path}: the model was trained for other outputs ({_line(error)}). {RETRAIN}"
        ) from error
    return metadata


def _read_model(folder: Path) -> bytes:
    path = folder / MODEL_FILE
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: not readable ({_line(error)}). {RETRAIN}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
