"""Errors that a user can fix: each is shown as one line, without a traceback."""


class ProjectError(Exception):
    """Base of the errors that a user can fix.

    Parameters
    ----------
    problem : str
        What was wrong with which value, and what was expected.
    remedy : str
        What to do about it, where `problem` does not say so.

    Examples
    --------
    >>> from ml_ready.errors import ConfigError
    >>> error = ConfigError("seed=-1: expected 0 or more.", "Change conf/config.yaml.")
    >>> str(error)
    'seed=-1: expected 0 or more. Change conf/config.yaml.'
    >>> error.remedy
    'Change conf/config.yaml.'
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return " ".join(filter(None, (self.problem, self.remedy)))


class ConfigError(ProjectError):
    """The configuration has an unknown key or a value that is not allowed."""


class ContractError(ProjectError):
    """Data break the contract of `schema.py`."""


class ParityError(ProjectError):
    """The exported model does not predict what the trained model predicts."""


class GateError(ProjectError):
    """The model is not good enough to be used."""


class ModelError(ProjectError):
    """The model folder cannot be served."""


class MismatchError(ModelError):
    """The model was made for another contract, other features or other outputs."""
