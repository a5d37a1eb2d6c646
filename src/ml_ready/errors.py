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
    """A setting is wrong, or lacks what it needs: a package, a host, a folder."""


class ContractError(ProjectError):
    """Data cannot be read, break the contract of `schema.py`, or cannot be split."""


class ParityError(ProjectError):
    """The model cannot be exported, or the export does not predict what the model predicts."""


class GateError(ProjectError):
    """The model is not good enough to be used."""


class ModelError(ProjectError):
    """A model, or what was measured of it, cannot be read or used."""


class MismatchError(ModelError):
    """The model was made for another contract, other features or other outputs."""


def one_line(error: BaseException) -> str:
    """Return the message of an error as one line, or its class where it has none.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        Never empty.
    """
    return " ".join(str(error).split()) or type(error).__name__
