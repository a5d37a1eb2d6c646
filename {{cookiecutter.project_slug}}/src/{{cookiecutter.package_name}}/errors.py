"""What a user can put right: printed as one line, without a traceback."""


class ProjectError(Exception):
    """Base of the errors whose message says what was got, what was expected and what to do."""


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
    """The model was made for another contract, other features or other outputs than these."""
