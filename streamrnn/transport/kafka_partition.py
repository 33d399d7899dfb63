"""One life of one input partition on Kafka: its two transactional producers, its snapshot, its commits.

The client speaks only the first versions of the transaction requests, which know nothing of a group's generation
(aiokafka 0.14). So each input partition has transactional ids of its own, and to start their producers is to fence
whoever had the partition before.
"""

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streamrnn.engine.snapshot import SnapshotPages, StoredSnapshot
from streamrnn.errors import FatalError, RefusedError, TransportError
from streamrnn.transport.contract import DeadLetter, EncodedBatch, Offsets, PartitionId
from streamrnn.transport.kafka_connection import (
    REQUEST_TIMEOUT,
    KafkaSettings,
    client_options,
    drop_producer,
    hush,
    kafka_call,
    read_error,
    refusal,
)
from streamrnn.transport.kafka_reader import HEADER, earlier_offset, newest_values, read_snapshot
from streamrnn.transport.kafka_records import (
    SentHeaders,
    dead_letter_record,
    max_record_bytes,
    output_batches,
    record_batches,
)
from streamrnn.transport.kafka_topics import Topics, too_few_partitions

if TYPE_CHECKING:
    from streamrnn.transport.kafka import KafkaTransport

FENCE_TIMEOUT = 30.0  # a predecessor's open transaction is aborted meanwhile
SETTLE_TIMEOUT = 5.0  # until a commit that was answered is also seen; some milliseconds in fact
SNAPSHOT_TRANSACTION = 600.0  # seconds; a successor does not wait for it, it fences
BATCH_BYTES = 1 << 20


class KafkaPartition:
    """Implements `Partition`. After an error it is dead: only `close` is left."""

    def __init__(self, transport: "KafkaTransport", settings: KafkaSettings, partition: PartitionId) -> None:
        self.id = partition
        self._transport = transport
        self._settings = settings
        self._source = TopicPartition(partition.topic, partition.partition)
        self._topics: Topics | None = None
        self._output: AIOKafkaProducer | None = None
        self._snapshot: AIOKafkaProducer | None = None
        self._dead: str | None = None
        self._committed = -1  # the newest offset that this handle has committed
        self._state = TopicPartition(settings.state_topic, partition.partition)
        self._mark: str | None = None  # what `fence` committed beside the offset, until it has been seen

    @property
    def max_output_bytes(self) -> int:
        """The largest key plus value that one output may have; known after `fence`."""
        return max_record_bytes(self._known_topics().output_max_bytes)

    async def fence(self) -> None:
        """Start both producers: the broker aborts what a predecessor left open and refuses its next request."""
        settings, number = self._settings, self.id.partition
        try:
            self._topics = topics = await self._transport.topics_for(number)
            if number >= topics.output_partitions:
                raise RefusedError(
                    f"{self.id}: {too_few_partitions(settings, topics.input_partitions, topics.output_partitions)}"
                )
            batch = min(BATCH_BYTES, topics.output_max_bytes, topics.dead_letter_max_bytes)
            self._alive("fence")
            if settings.exactly_once:
                output = self._producer(batch, settings.transactional_id(number), settings.transaction_timeout)
            else:
                output = self._producer(batch)
            state_batch = min(BATCH_BYTES, topics.state_max_bytes)
            snapshot = self._producer(state_batch, settings.snapshot_transactional_id(number), SNAPSHOT_TRANSACTION)
            self._output, self._snapshot = output, snapshot
            # the mark is an offset in the state topic, which is a reader's to commit
            needs = f"Read on topic {settings.state_topic}"
            with kafka_call(f"{self.id}: the producers could not be started", needs):
                async with asyncio.timeout(FENCE_TIMEOUT):
                    async with asyncio.TaskGroup() as starting:
                        starting.create_task(output.start())
                        starting.create_task(snapshot.start())
                    self._alive("fence")  # close() ends a start without an error
                    # so that the first commit need not wait for it
                    await output.partitions_for(settings.output_topic)
                    await output.partitions_for(settings.dead_letter_topic)
                    if settings.anomaly_topic is not None:
                        await output.partitions_for(settings.anomaly_topic)
                    await snapshot.partitions_for(settings.state_topic)
                    if settings.exactly_once:
                        await self._leave_mark(output)
        except BaseException as error:
            self._dead = self._dead or "it could not be fenced"
            if isinstance(error, BaseExceptionGroup):  # of the two producers, the first that failed
                raise refusal(f"{self.id}: the producers could not be started", error.exceptions[0]) from error
            raise

    async def _leave_mark(self, producer: AIOKafkaProducer) -> None:
        """Commit a mark as the group's offset in the state topic: who reads it reads all that was committed before.

        A broker that stood still for a while answers with the offsets of that time, until it learns that another one
        coordinates the group. It cannot commit, and the client cannot tell (aiokafka 0.14).
        """
        self._mark = uuid.uuid4().hex
        end = await self._transport.end_of(self._state)  # so that nobody sees a lag there
        await producer.begin_transaction()
        await producer.send_offsets_to_transaction(
            {self._state: OffsetAndMetadata(end, self._mark)}, self._settings.app_id
        )
        await producer.commit_transaction()

    async def restore(self) -> StoredSnapshot | None:
        self._live("restore")
        async with self._transport.turn_to_read():
            return await read_snapshot(self._settings, self.id.partition)

    async def offsets(self) -> Offsets:
        """As promised; what this handle and its predecessors have committed is in it.

        The broker answers a commit before a reader sees the offset, and the client cannot ask for the stable one
        (aiokafka 0.14).
        """
        give_up = asyncio.get_running_loop().time() + SETTLE_TIMEOUT
        while True:
            offsets, mark = await self._transport.offsets_of(self._source, self._state)
            late = asyncio.get_running_loop().time() > give_up
            if self._mark is None or mark == self._mark:
                self._mark = None
                if late or self._committed <= (-1 if offsets.committed is None else offsets.committed):
                    return offsets
            elif late:
                raise TransportError(f"{self.id}: the group's coordinator does not know what was committed just now")
            await asyncio.sleep(0.01)

    async def newest_outputs(self) -> list[bytes]:
        if not self._settings.exactly_once:
            return []  # they are ahead of the offset after every crash
        return await newest_values(self._settings, self._settings.output_topic, self.id.partition)

    async def offset_before(self, offset: int, seconds: float) -> int:
        return await earlier_offset(self._settings, self._source, offset, seconds)

    async def seek(self, offset: int) -> None:
        self._live("seek")
        self._transport.deliver(self, offset)

    async def commit(
        self,
        outputs: Sequence[EncodedBatch],
        dead_letters: Sequence[DeadLetter],
        next_offset: int,
        anomalies: Sequence[EncodedBatch] = (),
    ) -> None:
        producer, what = self._live("commit", self._output), f"{self.id}: the commit of offset {next_offset} failed"
        settings = self._settings
        try:
            async with asyncio.timeout(settings.transaction_timeout):
                if settings.exactly_once:
                    await producer.begin_transaction()
                    hush(producer)  # an error may be put in the place of an earlier one
                await self._send_records(producer, outputs, dead_letters, anomalies)
                if settings.exactly_once:
                    offset = {self._source: OffsetAndMetadata(next_offset, "")}
                    await producer.send_offsets_to_transaction(offset, settings.app_id)
                    await producer.commit_transaction()
                else:
                    await self._transport.commit_offset(self._source, next_offset)
        except Exception as error:  # a producer that was fenced fails in many ways (aiokafka 0.14)
            hush(producer)
            raise self._died(what, error, settings.output_topic) from error
        except BaseException:
            self._dead = f"{what}: cancelled"
            raise
        self._committed = next_offset

    async def save(self, snapshot: SnapshotPages) -> None:
        """All pages in one transaction, the header last."""
        producer, what = self._live("save", self._snapshot), f"{self.id}: the snapshot of {snapshot.offset} failed"
        changed: list[tuple[str, bytes | None]] = [*snapshot.pages.items()]
        changed += [(key, None) for key in snapshot.dropped]
        changed.append((HEADER, snapshot.header))
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT) as limit:
                await producer.begin_transaction()
                sent = []
                for records in _portions(changed, BATCH_BYTES):
                    for batch in record_batches(producer, records):
                        # waits until the one before it was taken, so only a few are in memory
                        sent += [await _send(producer, batch, self._settings.state_topic, self.id.partition)]
                        limit.reschedule(asyncio.get_running_loop().time() + REQUEST_TIMEOUT)
                await asyncio.gather(*sent)
                await producer.commit_transaction()
        except Exception as error:  # as in commit
            hush(producer)
            raise self._died(what, error, self._settings.state_topic) from error
        except BaseException:
            self._dead = f"{what}: cancelled"
            raise

    async def close(self) -> None:
        self._dead = self._dead or "it was closed"
        self._transport.deliver_no_more(self)
        producers = [producer for producer in (self._output, self._snapshot) if producer is not None]
        self._output = self._snapshot = None
        # whoever is cancelled while he closes leaves no producer half dropped
        await asyncio.shield(asyncio.gather(*map(drop_producer, producers)))

    async def _send_records(
        self,
        producer: AIOKafkaProducer,
        outputs: Sequence[EncodedBatch],
        dead_letters: Sequence[DeadLetter],
        anomalies: Sequence[EncodedBatch],
    ) -> None:
        """Send all of it and wait until all of it was taken."""
        topics, settings = self._known_topics(), self._settings
        sent = [
            await _send(producer, batch, settings.output_topic, self.id.partition)
            for batch in output_batches(producer, outputs)
        ]
        if settings.anomaly_topic is not None and anomalies:
            number = self.id.partition % topics.anomaly_partitions
            sent += [
                await _send(producer, batch, settings.anomaly_topic, number)
                for batch in output_batches(producer, anomalies)
            ]
        if dead_letters:
            largest = max_record_bytes(topics.dead_letter_max_bytes)
            letters = (dead_letter_record(letter, self.id, largest) for letter in dead_letters)
            number = self.id.partition % topics.dead_letter_partitions
            sent += [
                await _send(producer, batch, settings.dead_letter_topic, number)
                for batch in record_batches(producer, letters)
            ]
        # a transaction is committed although one of its batches failed: await every one before (aiokafka 0.14)
        await asyncio.gather(*sent)

    def _producer(
        self, batch_bytes: int, transactional_id: str | None = None, transaction_timeout: float = 60.0
    ) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            **client_options(self._settings),
            enable_idempotence=True,
            # a transaction of offsets only waits this long where the one before it is not quite over (aiokafka 0.14)
            retry_backoff_ms=20,
            max_batch_size=batch_bytes,
            transactional_id=transactional_id,
            transaction_timeout_ms=int(transaction_timeout * 1000),
        )

    def _known_topics(self) -> Topics:
        if self._topics is None:
            raise TransportError(f"{self.id}: fence comes before everything else")
        return self._topics

    def _live(self, call: str, producer: AIOKafkaProducer | None = None) -> AIOKafkaProducer:
        self._alive(call)
        self._known_topics()
        return producer

    def _alive(self, call: str) -> None:
        if self._dead is not None:
            raise TransportError(f"{self.id}: {call} on a handle that is no more: {self._dead}")

    def _died(self, what: str, error: Exception, topic: str) -> FatalError | TransportError:
        told = refusal(what, error, f"Write on topic {topic}")
        self._dead = self._dead or str(told)
        return told


async def _send(producer: AIOKafkaProducer, batch: BatchBuilder, topic: str, partition: int) -> "asyncio.Future[Any]":
    sent: asyncio.Future[Any] = await producer.send_batch(batch, topic, partition=partition)
    sent.add_done_callback(read_error)  # whatever comes first is raised; the others must not complain
    return sent


def _portions(
    pages: Iterable[tuple[str, bytes | None]], size: int
) -> Iterable[list[tuple[bytes, bytes | None, int | None, SentHeaders]]]:
    """Pages as records, in portions of about `size` bytes."""
    portion: list[tuple[bytes, bytes | None, int | None, SentHeaders]] = []
    held = 0
    for key, page in pages:
        if portion and held + len(page or b"") > size:
            yield portion
            portion, held = [], 0
        portion.append((key.encode(), page, None, []))
        held += len(page or b"") + len(key) + 50
    yield portion
