"""What the service asks of a transport, and what it is promised. `kafka.py` and `file.py` pass one test class.

A transport delivers the records of input partitions and keeps, for each, what belongs together:

    commit(outputs, dead letters, next offset, anomalies)   all of it becomes visible, or none
    save(snapshot)                                          the newest whole snapshot is what `restore` returns

The order in which a partition is taken over is part of the contract, because every other order reads what the
predecessor can still change: fence -> restore -> offsets -> seek -> fetch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from streamrnn.engine.snapshot import SnapshotPages, StoredSnapshot
from streamrnn.errors import TransportError

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, order=True)
class PartitionId:
    """One partition of the input topic (a file is partition 0 of the topic named after it)."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(slots=True)
class RawBatch:
    """Undecoded records of one partition in offset order, as columns of equal length."""

    offsets: list[int]
    timestamps: list[int]  # epoch milliseconds; -1: none of its own (its "time", else that of the record before it)
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: list[Headers]
    next_offset: int  # where reading goes on: past the last record and past any gap behind it

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(slots=True)
class EncodedBatch:
    """Forecasts ready to be written, in order, as columns of equal length. A value of None is a tombstone."""

    keys: list[bytes]
    values: list[bytes | None]
    timestamps: list[int]  # epoch milliseconds, those of the input messages

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that got no forecast, as it came, and why."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    stage: str  # decode | validate | forecast | encode
    exception: str  # class name
    message: str
    headers: Headers = field(default=())


@dataclass(frozen=True, slots=True)
class Offsets:
    """Where a partition stands: the group's committed offset (None: never committed) and the log's bounds."""

    committed: int | None
    earliest: int
    end: int  # of the records that a read_committed reader may see; sys.maxsize where nobody knows (a pipe)


class PartitionError(TransportError):
    """Fetching from one partition failed (its offset left the log): its task starts again, the others go on."""

    def __init__(self, partition: PartitionId, message: str) -> None:
        super().__init__(message)
        self.partition = partition


@dataclass(frozen=True, slots=True)
class StoredState:
    """What the lives of a partition have left, seen from outside, also while one goes on."""

    committed: int | None  # None: never committed
    log: tuple[int, int] | None  # its bounds, as in Offsets; None where there is no such log, or nobody knows its end
    snapshot: StoredSnapshot | None
    refusal: str | None = None  # why a task would be refused before it has seen the snapshot


class AssignmentListener(Protocol):
    """Told which partitions this process has. Neither method may raise."""

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        """A rebalance has begun: stop committing for these. The rebalance waits until this returns."""

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        """These are ours now, all others are not. Nothing is fetched from them before `Partition.seek`."""


class Partition(Protocol):
    """One life of one input partition: made anew for each attempt, never used again after an error."""

    @property
    def max_output_bytes(self) -> int:
        """The largest key plus value that one output may have: a larger one is a dead letter. Known after `fence`."""

    async def fence(self) -> None:
        """From here on no predecessor can commit or save. First call of all."""

    async def restore(self) -> StoredSnapshot | None:
        """The newest whole snapshot, None where there is none. Raises SnapshotError if it cannot be read."""

    async def offsets(self) -> Offsets:
        """The committed offset and the bounds of the log, read now."""

    async def newest_outputs(self) -> list[bytes]:
        """Values of the last outputs that were committed with an offset, by whomever; of a few hundred at most."""

    async def offset_before(self, offset: int, seconds: float) -> int:
        """Where the last `seconds` of records before this offset begin, as the log's own timestamps say."""

    async def seek(self, offset: int) -> None:
        """Deliver records from this offset on."""

    async def commit(
        self,
        outputs: Sequence[EncodedBatch],
        dead_letters: Sequence[DeadLetter],
        next_offset: int,
        anomalies: Sequence[EncodedBatch] = (),
    ) -> None:
        """Write outputs, dead letters, anomalies and the next offset, all or nothing. Raises TransportError.

        anomalies: those of the outputs that also go to a place of their own; none where there is no such place.
        """

    async def save(self, snapshot: SnapshotPages) -> None:
        """Make this the snapshot that `restore` returns, all or nothing. Raises TransportError."""

    async def close(self) -> None:
        """Give up every connection and file, within a bounded time, whatever their state. Never raises."""


class Transport(Protocol):
    """A source of partitions and of their records."""

    @property
    def ended(self) -> bool:
        """True once every record there will ever be has been fetched (a file that was read to its end)."""

    @property
    def recoverable(self) -> bool:
        """False where nothing can be cut back or read again (a pipe): state is then saved at the end only."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join. Raises FatalError where trying again is useless, TransportError where it is not."""

    async def fetch(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        """What has arrived for partitions that were sought and are not paused; empty after max_wait seconds.

        A batch may hold no records: its next_offset has moved over a gap. Raises PartitionError for one partition
        that must start again; after any other TransportError only `stop` is left, after a FatalError too.
        """

    def pause(self, partition: PartitionId) -> None:
        """Deliver nothing for this partition until it is resumed."""

    def resume(self, partition: PartitionId) -> None:
        """Deliver again, from where delivery stopped."""

    def partition(self, partition: PartitionId) -> Partition:
        """A fresh handle on an assigned partition."""

    async def stop(self) -> None:
        """Leave. Never raises, ends within a bounded time."""


class StateStore(Protocol):
    """The stored state of an application's partitions, for an operator. Each call stands alone."""

    async def partitions(self) -> list[PartitionId]:
        """Those that may have state. Raises FatalError where there is nothing of this application."""

    async def look(self, partition: PartitionId) -> StoredState:
        """What is stored now; changes nothing. Raises TransportError, FatalError."""

    async def drop(self, partition: PartitionId) -> bool:
        """Forget the snapshot, so that `restore` returns None. Returns whether there was anything to forget."""


class Tap(Protocol):
    """Outputs, and the inputs that they speak of, as a bystander reads them: joins nothing, changes nothing.

    Only what is committed is read. After an error only `stop` is left.
    """

    async def start(self, back: int | None) -> None:
        """Begin with about the last `back` outputs of each partition, with the first for None.

        Raises FatalError where there is no input or no output, TransportError where nobody answers.
        """

    async def outputs(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        """The next outputs, by the partition of their records; none after max_wait seconds without."""

    async def inputs(self, partition: PartitionId, offset: int) -> RawBatch:
        """What the input holds from this offset on, up to some next_offset: asked where an output speaks of it.

        It need not hold a record of each offset. Cheap where the offset is the next_offset of the answer before.
        """

    @property
    def caught_up(self) -> bool:
        """Whether all outputs that were there at the start have been delivered."""

    async def stop(self) -> None:
        """Hang up. Never raises."""
