"""Every error a user can cause: it names the file, the value, and what would be right."""


class IvreidError(Exception):
    """Base of all errors the command line prints as one message, without a traceback."""

    exit_status = 2


class UsageError(IvreidError):
    """A wrong call: an option that does not fit the data, an unknown name."""


class ConfigError(IvreidError):
    """A configuration file or value that cannot be used."""


class DataError(IvreidError):
    """A dataset, image or features file that cannot be used."""


class ImageError(DataError):
    """One image that cannot be decoded."""


class ProtocolError(IvreidError):
    """Data that does not fit the evaluation protocol, or an evaluation that would leak."""


class CheckpointError(IvreidError):
    """A weights or checkpoint file that is damaged, foreign, or does not fit."""


class TrainingError(IvreidError):
    """Training that cannot go on: diverged loss, too few identities, a run folder in use."""


class CheckFailed(IvreidError):
    """A check that ran and found problems (`ivreid data check`)."""

    exit_status = 1
