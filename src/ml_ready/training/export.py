"""Export of a fitted model to ONNX, and the proof that it predicts the same."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ParityError

if TYPE_CHECKING:
    from ..project import Project


def export(project: "Project", fitted: Any) -> bytes:
    """Convert a fitted model to ONNX.

    Parameters
    ----------
    project : Project
        Its model may have `export(fitted) -> bytes`; otherwise its task converts.
    fitted : object
        As `fit` of the model returns it.

    Returns
    -------
    bytes
        A model with an input of shape (rows, 1) per feature, and the output that the task names.

    Raises
    ------
    ParityError
        When the model cannot be converted.
    """
    own = getattr(project.training, "export", None)
    if own is not None:
        return bytes(own(fitted))
    return project.task.to_onnx(fitted, project.numeric, project.categorical)


def require_parity(trained: np.ndarray, exported: np.ndarray, tolerance: float) -> float:
    """Compare what an exported model predicts with what the trained one does.

    Parameters
    ----------
    trained, exported : numpy.ndarray of shape (rows,) or (rows, outputs)
        Scores of the same held-out rows.
    tolerance : float
        In the unit of the scores.

    Returns
    -------
    float
        The largest absolute difference.

    Raises
    ------
    ParityError
        When shapes differ, a difference is above the tolerance, or a score is not a number.

    Examples
    --------
    >>> import numpy as np
    >>> from ml_ready.training.export import require_parity
    >>> require_parity(np.array([0.5, 0.25]), np.array([0.5, 0.375]), tolerance=0.2)
    0.125
    >>> require_parity(np.array([0.5, 0.25]), np.array([0.5, 0.375]), tolerance=0.1)
    Traceback (most recent call last):
    ml_ready.errors.ParityError: The exported model differs from the trained one by up to 0.12 on...
    """
    if trained.shape != exported.shape:
        raise ParityError(
            f"The trained model predicts the shape {trained.shape}, the exported {exported.shape}.",
            "Return the shape of the export in predict() of training/model.py.",
        )
    differences = np.abs(trained - exported).reshape(len(trained), -1)
    worst = float(np.nan_to_num(differences, nan=np.inf).max())
    if worst > tolerance:
        broken = int((~(differences <= tolerance)).any(axis=1).sum())
        raise ParityError(
            f"The exported model differs from the trained one by up to {worst:.2g} on {broken} of "
            f"{len(exported)} rows, {tolerance:.2g} is allowed (evaluation.parity_tolerance).",
            "Use only float32 features and estimators that skl2onnx converts exactly, and a "
            "tolerance that fits the size of the target: float32 has seven digits.",
        )
    return worst
