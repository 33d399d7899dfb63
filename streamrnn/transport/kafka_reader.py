"""Reading one partition from outside the group: a snapshot to its end, and how far back a span of time reaches."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from streamrnn.engine.snapshot import StoredSnapshot
from streamrnn.errors import SnapshotError
from streamrnn.transport.kafka_connection import (
    REQUEST_TIMEOUT,
    KafkaSettings,
    client_options,
    drop_consumer,
    kafka_call,
)
from streamrnn.transport.kafka_group import committed_offsets

HEADER = "header"  # the key of a snapshot's header; pages have keys of their own
FETCH_BYTES = 8 << 20
NEWEST = 512  # offsets before a log's end in which its last records are looked for, the ends of transactions included


async def read_snapshot(settings: KafkaSettings, partition: int) -> StoredSnapshot | None:
    """The newest committed header and pages in a partition of the state topic, None where there is no header.

    Waits for the end of a snapshot that is being written now. Raises SnapshotError, TransportError, FatalError.
    """
    place = TopicPartition(settings.state_topic, partition)
    what = f"the snapshot in {place.topic}[{place.partition}] could not be read"
    pages: dict[bytes | None, bytes] = {}
    written: int | None = None  # ms, when the header was
    async with _reader(settings, place, what, "read_committed") as (consumer, limit):
        async for record in _to_the_end(consumer, limit, place):
            if record.value is None:
                pages.pop(record.key, None)
            else:
                pages[record.key] = record.value
                if record.key == HEADER.encode():
                    written = record.timestamp
    try:
        named = {(key or b"").decode(): page for key, page in pages.items()}
    except UnicodeDecodeError as error:
        raise SnapshotError(
            f"{what}: a page's key is not UTF-8, so it was not written by streamrnn. `streamrnn state drop` forgets "
            "all of it"
        ) from error
    header = named.pop(HEADER, None)
    return None if header is None else StoredSnapshot(header, named, written and written / 1000)


async def stored_keys(
    settings: KafkaSettings, partition: int, since: int | None = None
) -> tuple[dict[bytes, bool], int]:
    """Each key that ever had a value in a partition of the state topic, and the offset behind the last record.

    True where the newest value is not a tombstone. Transactions that were aborted or are still open count like
    others, so that nobody is waited for. since: read from here only.
    """
    place = TopicPartition(settings.state_topic, partition)
    what = f"the keys in {place.topic}[{place.partition}] could not be read"
    keys: dict[bytes, bool] = {}
    async with _reader(settings, place, what, "read_uncommitted") as (consumer, limit):
        async for record in _to_the_end(consumer, limit, place, since):
            if record.key is not None and (record.value is not None or record.key in keys):
                keys[record.key] = record.value is not None
        return keys, await consumer.position(place)


async def newest_values(settings: KafkaSettings, topic: str, partition: int) -> list[bytes]:
    """Values of the last committed records in a partition, oldest first; tombstones are left out."""
    place = TopicPartition(topic, partition)
    what = f"the last records of {topic}[{partition}] could not be read"
    values: list[bytes] = []
    async with _reader(settings, place, what, "read_committed") as (consumer, _):
        earliest = (await consumer.beginning_offsets([place]))[place]
        end = (await consumer.end_offsets([place]))[place]
        consumer.seek(place, max(earliest, end - NEWEST))
        while await consumer.position(place) < end:
            records = _records(await consumer.getmany(timeout_ms=50))
            values += [record.value for record in records if record.value is not None]
    return values


async def committed_and_log(
    settings: KafkaSettings, partition: int, *, exists: bool
) -> tuple[int | None, tuple[int, int] | None]:
    """The group's committed offset in a partition of the input and the log's bounds, None where it has no log.

    The group takes no notice: whoever asks without a subscription does not join.
    """
    place = TopicPartition(settings.input_topic, partition)
    what = f"{place.topic}[{place.partition}]: its offsets could not be read"
    async with _reader(settings, place, what, "read_committed", settings.app_id) as (consumer, _):
        found = await committed_offsets(consumer, [place])
        committed = found[place].offset if place in found else None
        if not exists:
            return committed, None
        earliest = (await consumer.beginning_offsets([place]))[place]
        return committed, (earliest, (await consumer.end_offsets([place]))[place])


async def earlier_offset(settings: KafkaSettings, place: TopicPartition, offset: int, seconds: float) -> int:
    """The first offset of which the timestamp is at most `seconds` before that of the last record before `offset`."""
    what = f"{place.topic}[{place.partition}]: the last {seconds:g} s before offset {offset} could not be found"
    async with _reader(settings, place, what, "read_uncommitted") as (consumer, _):
        earliest: int = (await consumer.beginning_offsets([place]))[place]
        offset = min(offset, (await consumer.end_offsets([place]))[place])
        newest: int | None = None
        step = 16
        while newest is None and offset > earliest:
            start = max(earliest, offset - step)
            consumer.seek(place, start)
            while newest is None and await consumer.position(place) < offset:
                records = _records(await consumer.getmany(timeout_ms=50))
                newest = max((record.timestamp for record in records if record.offset < offset), default=None)
            if start == earliest:
                break
            step *= 16  # a gap: transactions, compaction
        if newest is None:
            return max(earliest, offset)
        since = max(0, newest - round(seconds * 1000))
        found = (await consumer.offsets_for_times({place: since}))[place]
        return offset if found is None else max(earliest, min(offset, found.offset))


async def _to_the_end(
    consumer: AIOKafkaConsumer, limit: asyncio.Timeout, place: TopicPartition, since: int | None = None
) -> AsyncIterator[ConsumerRecord]:
    """Every record from `since` (or the first) to the very end of the log; the limit is put off while it goes on.

    Not only to the last stable offset: a commit is answered before its marker is written, so a snapshot's transaction
    may still look open for some milliseconds.
    """
    position = (await consumer.beginning_offsets([place]))[place] if since is None else since
    consumer.seek(place, position)
    end = None
    while end is None or position < end:
        for record in _records(await consumer.getmany(timeout_ms=50)):
            yield record
        end = consumer.highwater(place)  # None until a first fetch was answered
        # it moves over control records and aborted pages too, also when nothing follows (aiokafka 0.14)
        before, position = position, await consumer.position(place)
        if position > before:
            limit.reschedule(asyncio.get_running_loop().time() + REQUEST_TIMEOUT)


def _records(polled: dict[TopicPartition, list[ConsumerRecord]]) -> Iterator[ConsumerRecord]:
    for records in polled.values():
        yield from records


@contextlib.asynccontextmanager
async def _reader(
    settings: KafkaSettings, place: TopicPartition, what: str, isolation: str, group: str | None = None
) -> AsyncIterator[tuple[AIOKafkaConsumer, asyncio.Timeout]]:
    """A consumer of one partition, or of none that asks as a group; within REQUEST_TIMEOUT unless that is put off."""
    consumer = AIOKafkaConsumer(
        **client_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=isolation,
        fetch_max_bytes=2 * FETCH_BYTES,
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=10,  # an empty topic is known to be empty at once
    )
    try:
        with kafka_call(what, f"Read on topic {place.topic}"):
            async with asyncio.timeout(REQUEST_TIMEOUT) as limit:
                await consumer.start()
                if group is None:
                    consumer.assign([place])
                yield consumer, limit
    finally:
        await drop_consumer(consumer)
