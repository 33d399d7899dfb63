"""Every error that streamrnn raises on purpose. A subclass exists only where a caller handles it differently."""


class StreamRNNError(Exception):
    """Base of all: the message says where, what was found, what was expected and what to do."""


class ConfigError(StreamRNNError):
    """Wrong usage or configuration: the command ends with exit code 2."""


class RecordError(StreamRNNError):
    """One record cannot be forecast: it becomes a dead letter and touches no state.

    stage is one of decode, validate, forecast, encode.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


class SnapshotError(StreamRNNError):
    """A snapshot is damaged, foreign or of another layout: the task is refused, nothing is guessed."""


class RefusedError(StreamRNNError):
    """A task cannot go on without an operator (impossible offsets, too few output partitions)."""


class TransportError(StreamRNNError):
    """Reading or writing failed in a way that a later attempt may mend: the task starts again."""


class FatalError(StreamRNNError):
    """Nothing that this process can do will mend it (refused credentials, no such topic): exit code 1."""
