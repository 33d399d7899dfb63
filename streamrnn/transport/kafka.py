"""The Kafka transport: one member of a consumer group, and a handle on each partition that the group gives it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streamrnn.errors import FatalError, TransportError
from streamrnn.transport.contract import AssignmentListener, Offsets, PartitionError, PartitionId, RawBatch
from streamrnn.transport.kafka_connection import (
    REQUEST_TIMEOUT,
    KafkaSecurity,
    KafkaSettings,
    client_options,
    drop_consumer,
    kafka_call,
    knock,
    log,
    refusal,
)
from streamrnn.transport.kafka_group import committed_offsets
from streamrnn.transport.kafka_partition import KafkaPartition
from streamrnn.transport.kafka_records import BulkResults, empty_batch, raw_batch
from streamrnn.transport.kafka_topics import Topics, prepare_topics, too_few_partitions

__all__ = ["KafkaPartition", "KafkaSecurity", "KafkaSettings", "KafkaTransport"]

STOP_TIMEOUT = 3.0  # to leave the group; then the connections are cut
METADATA_AGE = 60.0  # new partitions of the input are noticed after this long
TOPICS_AGE = 5.0  # seconds: a task that begins later looks at the topics again
TURN = 10.0  # seconds that a snapshot waits for the end of another one's reading
POLL = 10.0  # one request for records; nobody waits for its end


class KafkaTransport:
    """Implements `Transport`. When `fetch` has raised anything but a PartitionError it is of no more use."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._topics: Topics | None = None
        self._looked = 0.0  # when, monotonic seconds
        self._looking = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._turns = 0  # snapshots that were read
        self._failure: FatalError | TransportError | None = None
        self._owners: dict[PartitionId, KafkaPartition] = {}  # the handles that have sought
        self._positions: dict[PartitionId, int] = {}  # where delivery of each of them goes on
        self._paused: set[PartitionId] = set()
        self._arrived: dict[PartitionId, RawBatch] = {}  # fetched, not yet delivered
        self._polling: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        return False

    @property
    def recoverable(self) -> bool:
        return True

    async def start(self, listener: AssignmentListener) -> None:
        """Check the topics and join the group; the assignment follows, and no one waits for it here."""
        settings = self._settings
        await knock(settings)
        self._topics = topics = await prepare_topics(settings)
        self._looked = time.monotonic()
        if topics.output_partitions < topics.input_partitions:
            raise FatalError(too_few_partitions(settings, topics.input_partitions, topics.output_partitions))
        self._consumer = consumer = AIOKafkaConsumer(
            **client_options(settings),
            group_id=settings.app_id,
            group_instance_id=settings.group_instance_id,
            enable_auto_commit=False,
            # never a jump to another offset than the one that was sought
            auto_offset_reset="none",
            isolation_level="read_committed",
            # exactly one: the sticky assignor is broken (aiokafka 0.14), a second one invites disagreement
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(min(3.0, settings.session_timeout / 3) * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout * 1000),
            metadata_max_age_ms=int(METADATA_AGE * 1000),
            max_partition_fetch_bytes=settings.fetch_bytes,
            # a partition that was sought waits for the request under way, which knows nothing of it
            fetch_max_wait_ms=100,
        )
        with kafka_call(f"group {settings.app_id} could not be joined"):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await consumer.start()
            consumer._fetcher._records = BulkResults()
            # only now: start() would wait for the assignment, for as long as the group takes
            consumer.subscribe([settings.input_topic], listener=_Rebalances(self, listener))

    async def fetch(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        """As promised; a batch without records, its next_offset moved on, steps over a gap at the log's end."""
        if self._failure is not None:
            raise self._failure
        if not self._arrived:
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())
            # never cancelled: a getmany() that is cancelled leaks the client's count of readers (aiokafka 0.14)
            await asyncio.wait((self._polling,), timeout=max_wait)
        if self._polling is not None and self._polling.done():
            polled, self._polling = self._polling, None
            await self._judge(polled.exception())
        if self._failure is not None:  # also one that the listener left meanwhile
            raise self._failure
        delivered, self._arrived = self._arrived, {}
        for partition, batch in delivered.items():
            self._positions[partition] = batch.next_offset
        for partition, position in self._positions.items():
            if partition not in delivered and partition not in self._paused:
                reached = await self._position(partition)
                if reached > position:
                    delivered[partition] = empty_batch(reached)
                    self._positions[partition] = reached
        return delivered

    def pause(self, partition: PartitionId) -> None:
        if partition not in self._positions or partition in self._paused:
            return
        self._paused.add(partition)
        self._client().pause(_topic_partition(partition))
        if self._arrived.pop(partition, None) is not None:  # the client does the same with what it has prefetched
            self._client().seek(_topic_partition(partition), self._positions[partition])

    def resume(self, partition: PartitionId) -> None:
        if partition in self._paused:
            self._paused.discard(partition)
            self._client().resume(_topic_partition(partition))

    def partition(self, partition: PartitionId) -> KafkaPartition:
        return KafkaPartition(self, self._settings, partition)

    async def stop(self) -> None:
        """Leave the group (a static member stays in it), then cut whatever is left."""
        consumer, self._consumer = self._consumer, None
        self._failure = self._failure or TransportError("the transport was stopped")
        self._forget(frozenset(self._positions))
        if consumer is not None:
            try:
                with kafka_call("leaving the group"):
                    async with asyncio.timeout(STOP_TIMEOUT):
                        await consumer.stop()
            except (FatalError, TransportError) as error:
                log.warning("group %s was not left: %s", self._settings.app_id, error)
            finally:
                await drop_consumer(consumer)
        if self._polling is not None:
            polling, self._polling = self._polling, None
            polling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((polling,))
            if not polling.cancelled():
                polling.exception()

    # What the handles need.

    async def topics_for(self, number: int) -> Topics:
        """The topics as they are, made anew where one was deleted; tasks that begin together look once."""
        async with self._looking:
            topics = self._topics
            stale = time.monotonic() - self._looked > TOPICS_AGE
            if topics is None or stale or number >= min(topics.state_partitions, topics.output_partitions):
                self._topics = topics = await prepare_topics(self._settings)
                self._looked = time.monotonic()
            return topics

    @contextlib.asynccontextmanager
    async def turn_to_read(self) -> AsyncIterator[None]:
        """Snapshots are read one after the other: the next one while this one is unpacked, and not all kept twice.

        Where none has ended for a while, since another's broker is away, nobody waits.
        """
        mine, turns = False, -1
        while not mine and turns != self._turns:
            turns = self._turns
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TURN):
                    mine = await self._reading.acquire()
        try:
            yield
        finally:
            self._turns += 1
            if mine:
                self._reading.release()

    async def offsets_of(self, source: TopicPartition, marked: TopicPartition) -> tuple[Offsets, str]:
        """Where the group stands in an input partition, and what stands beside its offset in another."""
        with kafka_call(
            f"{source.topic}[{source.partition}]: its offsets could not be read", f"Read on topic {source.topic}"
        ):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                consumer = self._client()
                found = await committed_offsets(consumer, [source, marked])
                earliest = (await consumer.beginning_offsets([source]))[source]
                end = (await consumer.end_offsets([source]))[source]
        committed = found[source].offset if source in found else None
        return Offsets(committed, earliest, end), found[marked].metadata if marked in found else ""

    async def end_of(self, place: TopicPartition) -> int:
        """Where this partition's log ends."""
        end: int = (await self._client().end_offsets([place]))[place]
        return end

    async def commit_offset(self, source: TopicPartition, offset: int) -> None:
        """Commit as the group's member: at least once."""
        await self._client().commit({source: OffsetAndMetadata(offset, "")})

    def deliver(self, owner: KafkaPartition, offset: int) -> None:
        """Deliver the records of this handle's partition from here on."""
        source = _topic_partition(owner.id)
        with kafka_call(f"{owner.id}: seek to {offset} failed"):
            consumer = self._client()
            consumer.seek(source, offset)
            consumer.resume(source)
        self._arrived.pop(owner.id, None)
        self._paused.discard(owner.id)
        self._positions[owner.id] = offset
        self._owners[owner.id] = owner

    def deliver_no_more(self, owner: KafkaPartition) -> None:
        """Hold this handle's partition back, unless a newer handle has sought."""
        if self._owners.get(owner.id) is owner:
            if _topic_partition(owner.id) in self._client().assignment():
                self.pause(owner.id)
            self._forget(frozenset((owner.id,)))

    # What the rebalances need.

    def lost(self, partitions: frozenset[PartitionId]) -> None:
        self._forget(partitions)

    def gained(self, partitions: frozenset[PartitionId]) -> None:
        """Hold all of them back until their handles seek."""
        consumer = self._client()
        for source in map(_topic_partition, partitions):
            consumer.pause(source)
            # any position at all: without one the client looks for a committed offset, also while paused
            consumer.seek(source, 0)

    def failed(self, error: Exception) -> None:
        """A listener has raised: the client would only log it."""
        self._failure = self._failure or TransportError(f"the assignment could not be handled: {error!r}")
        self._failure.__cause__ = error

    async def _poll(self) -> None:
        """One request for records. What it returns is in `_arrived` before anything else can run."""
        polled = await self._client().getmany(timeout_ms=int(POLL * 1000))
        for source, records in polled.items():
            partition = PartitionId(source.topic, source.partition)
            if partition in self._positions:
                self._arrived[partition] = raw_batch(records, await self._position(partition))

    async def _judge(self, error: BaseException | None) -> None:
        """Raise what ends one partition, note what ends all."""
        if error is None or isinstance(error, NoOffsetForPartitionError):
            return  # the latter: a partition that has not been sought yet
        if isinstance(error, OffsetOutOfRangeError) and error.args and isinstance(error.args[0], dict):
            (source, offset), *_ = error.args[0].items()
            partition = PartitionId(source.topic, source.partition)
            if self._positions.get(partition) != offset:
                return  # it was sought elsewhere meanwhile
            self.pause(partition)
            self._forget(frozenset((partition,)))
            raise PartitionError(partition, f"{partition}: offset {offset} is no longer in the log")
        self._failure = self._failure or refusal(
            f"fetching for group {self._settings.app_id}", error, f"Read on topic {self._settings.input_topic}"
        )
        self._failure.__cause__ = error

    async def _position(self, partition: PartitionId) -> int:
        """Where the client reads on: past control records and aborted data too. Never waits after a seek."""
        reached: int = await self._client().position(_topic_partition(partition))
        return reached

    def _forget(self, partitions: frozenset[PartitionId]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)
            self._owners.pop(partition, None)
            self._arrived.pop(partition, None)
            self._paused.discard(partition)

    def _client(self) -> Any:
        if self._consumer is None:
            raise TransportError("the transport is not started, or it was stopped")
        return self._consumer


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes the group's decisions on. The client swallows what a listener raises, so it is kept here."""

    def __init__(self, transport: KafkaTransport, listener: AssignmentListener) -> None:
        self._transport = transport
        self._listener = listener

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        partitions = frozenset(PartitionId(*source) for source in revoked)
        self._transport.lost(partitions)
        if partitions:
            try:
                await self._listener.revoked(partitions)
            except Exception as error:
                self._transport.failed(error)

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        try:
            partitions = frozenset(PartitionId(*source) for source in assigned)
            self._transport.gained(partitions)
            self._listener.assigned(partitions)
        except Exception as error:
            self._transport.failed(error)


def _topic_partition(partition: PartitionId) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)
