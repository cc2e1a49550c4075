"""The one error family. Each message names the file or argument, what was expected and what came."""


class MegasegError(Exception):
    """Base of every error that megaseg raises on purpose."""


class CheckpointError(MegasegError):
    """A checkpoint file that cannot be trusted or does not fit its own config."""


class FeatureError(MegasegError, ValueError):
    """Features that the model cannot take: shape, dtype, width, modality, NaN, times or labels."""


class UnsupportedError(MegasegError):
    """A device, compute type, target or extra that is not there; lists what is."""


class OverloadedError(MegasegError):
    """A full queue refused the request at once."""


class DeadlineExceeded(MegasegError):
    """The request's deadline passed before its result was ready."""


class ResourceLimitError(MegasegError):
    """The work does not fit the given memory limit."""


class SearchIndexError(MegasegError):
    """A search index that cannot be trusted, or that is of another encoder."""
