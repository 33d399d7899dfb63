"""What has been fetched of one partition and not been computed yet, cut into slices of the right size."""

from collections import deque

from streamrnn.errors import TransportError
from streamrnn.transport.contract import RawBatch

SLICE_RECORDS = 4096
SLICE_BYTES = 4 << 20
FULL_RECORDS, FULL_BYTES = 16 * SLICE_RECORDS, 64 << 20  # fetching pauses above these
LOW = 4  # and resumes below a quarter of them: pausing throws away what the client has fetched ahead


class SliceQueue:
    """Batches in the order of their offsets."""

    def __init__(self) -> None:
        self._batches: deque[RawBatch] = deque()
        self._bytes: deque[int] = deque()
        self.records = 0
        self.bytes = 0
        self.next_offset: int | None = None  # where the next batch must begin or lie beyond

    @property
    def full(self) -> bool:
        """More is here than should be fetched ahead."""
        return self.records > FULL_RECORDS or self.bytes > FULL_BYTES

    @property
    def low(self) -> bool:
        """Little enough is here to fetch again."""
        return self.records * LOW < FULL_RECORDS and self.bytes * LOW < FULL_BYTES

    @property
    def ready(self) -> bool:
        """A whole slice is here."""
        return self.records >= SLICE_RECORDS or self.bytes >= SLICE_BYTES

    def __bool__(self) -> bool:
        return bool(self._batches)

    def clear(self, next_offset: int) -> None:
        """Forget everything; what comes next begins at this offset."""
        self._batches.clear()
        self._bytes.clear()
        self.records = self.bytes = 0
        self.next_offset = next_offset

    def put(self, batch: RawBatch) -> None:
        """Add what was fetched. Raises TransportError where it repeats what was delivered before."""
        if self.next_offset is None:
            return  # nothing was asked for
        if batch.offsets and batch.offsets[0] < self.next_offset:
            raise TransportError(f"offset {batch.offsets[0]} was delivered after {self.next_offset - 1}")
        self.next_offset = max(self.next_offset, batch.next_offset)
        self._append(batch)

    def take(self, before: int | None = None, most: int = SLICE_RECORDS) -> RawBatch:
        """At most one slice and so many records, of offsets below `before`; next_offset: where processing stands."""
        taken: list[RawBatch] = []
        records = size = 0
        most = min(most, SLICE_RECORDS)
        while self._batches and records < most and size < SLICE_BYTES:
            batch, bytes_ = self._batches[0], self._bytes[0]
            room = most - records
            limit = len(batch) if before is None else sum(offset < before for offset in batch.offsets)
            count = min(room, limit)
            if count < len(batch):
                if count == 0:
                    break
                self._pop()
                head, tail = _split(batch, count)
                self._prepend(tail)
                taken.append(head)
                break
            self._pop()
            taken.append(batch)
            records += len(batch)
            size += bytes_
        return _joined(taken)

    def _append(self, batch: RawBatch) -> None:
        size = _size(batch)
        self._batches.append(batch)
        self._bytes.append(size)
        self.records += len(batch)
        self.bytes += size

    def _prepend(self, batch: RawBatch) -> None:
        size = _size(batch)
        self._batches.appendleft(batch)
        self._bytes.appendleft(size)
        self.records += len(batch)
        self.bytes += size

    def _pop(self) -> None:
        self.records -= len(self._batches.popleft())
        self.bytes -= self._bytes.popleft()


def _size(batch: RawBatch) -> int:
    return sum(map(len, filter(None, batch.values)))


def _split(batch: RawBatch, count: int) -> tuple[RawBatch, RawBatch]:
    return (
        _part(batch, slice(0, count), batch.offsets[count]),
        _part(batch, slice(count, None), batch.next_offset),
    )


def _part(batch: RawBatch, where: slice, next_offset: int) -> RawBatch:
    return RawBatch(
        batch.offsets[where],
        batch.timestamps[where],
        batch.keys[where],
        batch.values[where],
        batch.headers[where],
        next_offset,
    )


def _joined(batches: list[RawBatch]) -> RawBatch:
    if len(batches) == 1:
        return batches[0]
    return RawBatch(
        offsets=[offset for batch in batches for offset in batch.offsets],
        timestamps=[timestamp for batch in batches for timestamp in batch.timestamps],
        keys=[key for batch in batches for key in batch.keys],
        values=[value for batch in batches for value in batch.values],
        headers=[headers for batch in batches for headers in batch.headers],
        next_offset=batches[-1].next_offset if batches else -1,
    )
