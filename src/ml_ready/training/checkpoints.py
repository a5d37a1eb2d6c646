"""Checkpoints: saved states of a training, which the next run continues."""

import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_SHARES = 20


class Checkpoints:
    """The states of one training, in a folder that outlives an interruption.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Without one, nothing is kept.
    identity : str
        A hash of what the result depends on. A state with another identity is ignored.

    Examples
    --------
    In an empty `folder`; a training with other settings has another identity:

    >>> from ml_ready.training.checkpoints import Checkpoints
    >>> checkpoints = Checkpoints(folder, identity="4f53cda18c2baa0c")
    >>> checkpoints.save("model", {"rounds": 20})
    >>> checkpoints.load("model")
    {'rounds': 20}
    >>> Checkpoints(folder, identity="9c56cc51b374c3ba").load("model")
    """

    def __init__(self, folder: Path | None = None, identity: str = "") -> None:
        self._folder = folder
        self._identity = identity

    def due(self, completed: int, total: int) -> Iterator[int]:
        """Yield the round numbers to save at, ending with `total`.

        Parameters
        ----------
        completed : int
            Rounds that are done.
        total : int
            Rounds in the end.

        Yields
        ------
        int

        Examples
        --------
        In an empty `folder`, with 90 of 100 rounds done:

        >>> from ml_ready.training.checkpoints import Checkpoints
        >>> list(Checkpoints(folder).due(90, 100))
        [95, 100]
        >>> list(Checkpoints().due(90, 100))
        [100]
        """
        step = max(1, total // _SHARES) if self._folder else total
        yield from range(completed + step - completed % step, total, step)
        if completed < total:
            yield total

    def save(self, name: str, state: Any) -> None:
        """Keep a state, in place of the one before; an interruption leaves one or the other.

        Parameters
        ----------
        name : str
            Which of several models it is the state of.
        state : object
            It has to be picklable.
        """
        if self._folder is None:
            return
        path = self._path(self._folder, name)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(state))
        part.replace(path)

    def load(self, name: str) -> Any:
        """Return the state that was kept, or None.

        Parameters
        ----------
        name : str

        Returns
        -------
        object or None
        """
        path = self._folder and self._path(self._folder, name)
        if not path or not path.is_file():
            return None
        try:
            # Jobs alone write there (aws/policies/job.json), and they run this code anyway.
            state = pickle.loads(path.read_bytes())  # noqa: S301
        except Exception as error:  # a damaged pickle raises almost anything
            _log.warning("%s: not readable (%s), training starts again", path, type(error).__name__)
            return None
        _log.info("Going on from %s", path)
        return state

    def _path(self, folder: Path, name: str) -> Path:
        return folder / f"{name}-{self._identity[:16]}.checkpoint"


NONE = Checkpoints()
