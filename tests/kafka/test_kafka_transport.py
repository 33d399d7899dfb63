"""What is special to Kafka: fencing, transactions that fail, gaps in the log, topics, brokers that hang."""

import asyncio
import gc
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.structs import TopicPartition

from streamrnn.engine.snapshot import SnapshotPages
from streamrnn.errors import FatalError, RefusedError, TransportError
from streamrnn.transport import kafka, kafka_connection, kafka_partition
from streamrnn.transport.contract import DeadLetter, EncodedBatch, PartitionError, PartitionId, RawBatch
from streamrnn.transport.kafka import KafkaPartition, KafkaSettings, KafkaTransport
from streamrnn.transport.kafka_group import committed_offsets
from tests.kafka.broker import BorrowedBroker, Broker, free_port, open_broker
from tests.kafka.plain_clients import PATIENCE, administrator, read, write

ERRORS = "__streamrnn.errors"


class Member:
    """An AssignmentListener that keeps what it was told."""

    def __init__(self) -> None:
        self.mine: set[PartitionId] = set()
        self.taken: list[PartitionId] = []

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        self.mine -= partitions
        self.taken += partitions

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        self.mine = set(partitions)

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.mine) != count:  # noqa: ASYNC110  a rebalance may give and take several times
                await asyncio.sleep(0.02)


@asynccontextmanager
async def life(settings: KafkaSettings, partitions: int = 1) -> AsyncIterator[KafkaTransport]:
    transport, member = KafkaTransport(settings), Member()
    try:
        await transport.start(member)
        await member.has(partitions)
        yield transport
    finally:
        await transport.stop()


@asynccontextmanager
async def handle(
    transport: KafkaTransport, settings: KafkaSettings, number: int = 0
) -> AsyncIterator[KafkaPartition]:
    partition = transport.partition(PartitionId(settings.input_topic, number))
    try:
        await partition.fence()
        yield partition
    finally:
        await partition.close()


async def until(transport: KafkaTransport, partition: PartitionId, offset: int) -> list[RawBatch]:
    """Fetch until the partition's next offset is `offset`."""
    batches: list[RawBatch] = []
    async with asyncio.timeout(PATIENCE):
        while not batches or batches[-1].next_offset < offset:
            batch = (await transport.fetch(0.1)).get(partition)
            if batch is not None:
                batches.append(batch)
    return batches


def outputs(*keys: str) -> EncodedBatch:
    return EncodedBatch([key.encode() for key in keys], [b"{}" for _ in keys], [1_000 for _ in keys])


def letter(value: bytes | None, key: bytes | None = b"k", headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    return DeadLetter(7, 1_234, key, value, "decode", "RecordError", "not a number: größer", headers)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run it, and see that no task is left and that asyncio has nothing to complain about."""
    complaints: list[dict[str, Any]] = []

    def complain(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # aiokafka 0.14 forgets the connection of a cancelled bootstrap; its finaliser closes it and its reader
        reader = "AIOKafkaConnection._read" in repr(context.get("task"))
        if context["message"] != "Unclosed AIOKafkaConnection" and not reader:
            complaints.append(context)

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(complain)
        await scenario
        gc.collect()  # an error that nobody has read is told of when its future goes
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(watched())
    assert complaints == []


def open_sockets() -> int:
    """How many sockets this process has."""
    count = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            count += descriptor.readlink().name.startswith("socket:")
        except OSError:  # the folder's own descriptor
            continue
    return count


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that may be frozen and killed: nobody else uses it."""
    running = open_broker(tmp_path)
    if isinstance(running, BorrowedBroker):
        running.kill()  # says that this test cannot run there
    yield running
    running.kill()


def test_a_commit_of_an_old_life_fails_after_the_successors_fence_and_shows_nothing(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport, handle(transport, settings) as old:
            await old.commit([outputs("a")], [], 1)
            async with handle(transport, settings) as new:
                with pytest.raises(TransportError, match="the commit of offset 2 failed"):
                    await old.commit([outputs("b")], [letter(b"x")], 2)
                await new.commit([outputs("c")], [], 3)
            with pytest.raises(TransportError, match="on a handle that is no more"):
                await old.commit([], [], 4)
        assert [record.key for record in await read(broker.bootstrap_servers, settings.output_topic)] == [b"a", b"c"]
        assert await read(broker.bootstrap_servers, settings.dead_letter_topic) == []

    run(scenario())


@pytest.mark.parametrize("stale_answers", [3, sys.maxsize], ids=["for a while", "for ever"])
def test_offsets_of_a_coordinator_that_has_missed_the_newest_are_not_believed(
    broker: Broker, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch, stale_answers: int
) -> None:
    """A broker that stood still answers as it would have answered then."""
    monkeypatch.setattr(kafka_partition, "SETTLE_TIMEOUT", 1.0)

    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport:
            async with handle(transport, settings) as partition:
                await partition.commit([outputs("a")], [], 1)
                source = TopicPartition(settings.input_topic, 0)
                then = await until_known(transport, source, 1)
                await partition.commit([outputs("b")], [], 2)
            left = itertools.repeat(then, stale_answers)

            async def answer(*asked: Any) -> Any:
                return next(left, None) or await committed_offsets(*asked)

            monkeypatch.setattr(kafka, "committed_offsets", answer)
            async with handle(transport, settings) as partition:
                if stale_answers == sys.maxsize:
                    with pytest.raises(TransportError, match="does not know what was committed just now"):
                        await partition.offsets()
                else:
                    assert (await partition.offsets()).committed == 2
            monkeypatch.undo()

    run(scenario())


async def until_known(transport: KafkaTransport, place: TopicPartition, offset: int) -> Any:
    """What the group's coordinator answers as soon as it tells of this offset."""
    while True:
        found = await committed_offsets(transport._client(), [place])
        if place in found and found[place].offset == offset:
            return found
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("code", [14, 15, 16], ids=["it loads", "there is none", "it is another"])
def test_a_coordinator_that_cannot_answer_is_not_taken_to_know_of_no_offset(
    broker: Broker, settings: KafkaSettings, code: int
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        source = TopicPartition(settings.input_topic, 0)
        async with life(settings) as transport, handle(transport, settings) as partition:
            await partition.commit([outputs("a")], [], 1)
            await until_known(transport, source, 1)
            coordinator = transport._client()._coordinator
            ask = coordinator._send_req
            answers: list[OffsetFetchResponse_v3] = []

            async def answer(request: Any) -> Any:
                if isinstance(request, OffsetFetchRequest) and len(answers) < 3:
                    answers.append(OffsetFetchResponse_v3(throttle_time_ms=0, topics=[], error_code=code))
                    return answers[-1]
                return await ask(request)

            coordinator._send_req = answer
            assert (await partition.offsets()).committed == 1
            assert len(answers) == 3

    run(scenario())


def test_a_commit_that_fails_halfway_shows_nothing_and_moves_no_offset(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport:
            async with handle(transport, settings) as partition:
                await partition.commit([], [], 0)
                huge = EncodedBatch([b"huge"], [bytes(2 << 20)], [1_000])  # the broker refuses it, and it alone
                with pytest.raises(TransportError, match="MessageSizeTooLarge"):
                    await partition.commit([outputs("a", "b"), huge], [letter(b"x")], 5)
                with pytest.raises(TransportError):
                    await partition.save(SnapshotPages(5, b"header"))
            async with handle(transport, settings) as partition:
                assert (await partition.offsets()).committed == 0
                assert await partition.restore() is None
                await partition.commit([outputs("c")], [], 1)
        assert [record.key for record in await read(broker.bootstrap_servers, settings.output_topic)] == [b"c"]
        assert await read(broker.bootstrap_servers, settings.dead_letter_topic) == []

    run(scenario())


def test_an_output_of_the_largest_size_is_taken(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        broker.create_topic(settings.output_topic, configs={"max.message.bytes": "20000"})
        async with life(settings) as transport, handle(transport, settings) as partition:
            assert 19_000 < partition.max_output_bytes < 20_000
            whole = EncodedBatch([b"key"] * 3, [bytes(partition.max_output_bytes - 3)] * 3, [1, 10**12, 3])
            await partition.commit([whole], [], 1)
        assert len(await read(broker.bootstrap_servers, settings.output_topic)) == 3

    run(scenario())


def test_outputs_keep_partition_order_key_and_timestamp(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 3)
        count = 20_000  # several record batches
        batch = EncodedBatch(
            [b"s%d" % n for n in range(count)], [b"%0200d" % n for n in range(count)], [n * 7 for n in range(count)]
        )
        async with life(settings, 3) as transport, handle(transport, settings, 2) as partition:
            await partition.commit([batch, outputs("last")], [], 1)
        records = await read(broker.bootstrap_servers, settings.output_topic, 2)
        assert [record.key for record in records] == [*batch.keys, b"last"]
        assert [record.value for record in records] == [*batch.values, b"{}"]
        assert [record.timestamp for record in records] == [*batch.timestamps, 1_000]

    run(scenario())


def test_a_handle_whose_close_is_cancelled_hangs_up_all_the_same(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport:
            partition = transport.partition(PartitionId(settings.input_topic, 0))
            await partition.fence()
            output, snapshot = partition._output, partition._snapshot
            assert output is not None
            assert snapshot is not None
            closing = asyncio.create_task(partition.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait((closing,))
            assert closing.cancelled()
            await asyncio.sleep(1.0)
            assert all(producer._closed and not producer.client._conns for producer in (output, snapshot))

    run(scenario())


def test_the_newest_outputs_are_those_that_were_committed_last(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport, handle(transport, settings) as partition:
            assert await partition.newest_outputs() == []
            await partition.commit([outputs("a", "b")], [], 2)
            tombstone = EncodedBatch([b"a"], [None], [1])
            await partition.commit([EncodedBatch([b"c"], [b"newest"], [1]), tombstone], [], 4)
        async with life(settings) as transport, handle(transport, settings) as partition:
            assert await partition.newest_outputs() == [b"{}", b"{}", b"newest"]

    run(scenario())


def test_at_least_once_shows_outputs_and_moves_the_groups_offset(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        relaxed = replace(settings, delivery="at_least_once")
        async with life(relaxed) as transport, handle(transport, relaxed) as partition:
            await partition.commit([], [], 0)
            await partition.commit([outputs("a", "b")], [letter(b"x")], 4)
            await partition.save(SnapshotPages(4, b"header", {"page": b"1"}))
        async with life(relaxed) as transport, handle(transport, relaxed) as partition:
            assert (await partition.offsets()).committed == 4
            assert await partition.restore() is not None
        assert len(await read(broker.bootstrap_servers, settings.output_topic)) == 2
        assert len(await read(broker.bootstrap_servers, settings.dead_letter_topic)) == 1

    run(scenario())


def test_a_snapshot_is_read_when_no_other_one_is_but_waits_for_none_that_never_ends(
    broker: Broker, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport, handle(transport, settings) as partition:
            async with transport.turn_to_read():  # of another partition
                reading = asyncio.create_task(partition.restore())
                done, _ = await asyncio.wait((reading,), timeout=1.0)
                assert not done
            assert await reading is None  # there was nothing to read
            monkeypatch.setattr(kafka, "TURN", 0.2)
            async with transport.turn_to_read():
                assert await partition.restore() is None

    run(scenario())


def test_restore_ignores_a_snapshot_that_was_not_finished(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport:
            async with handle(transport, settings) as partition:
                await partition.save(SnapshotPages(1, b"1", {"a": b"a1", "b": b"b1"}))
                refused = SnapshotPages(2, b"2", {"a": b"a2", "b": bytes(2 << 20)}, dropped=("a",))
                with pytest.raises(TransportError, match="the snapshot of 2 failed"):
                    await partition.save(refused)
            async with handle(transport, settings) as partition:
                stored = await partition.restore()
                assert stored is not None
                assert (stored.header, stored.pages) == (b"1", {"a": b"a1", "b": b"b1"})

    run(scenario())


def test_a_snapshot_of_many_large_pages_comes_back(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        pages = {f"page/{n}": bytes([n]) * 900_000 for n in range(40)}
        async with life(settings) as transport, handle(transport, settings) as partition:
            await partition.save(SnapshotPages(1, b"1", pages))
            stored = await partition.restore()
            assert stored is not None
            assert stored.pages == pages

    run(scenario())


def test_delivery_passes_over_aborted_records_and_markers_at_the_end_of_the_log(
    broker: Broker, settings: KafkaSettings, unique: Callable[[str], str]
) -> None:
    async def scenario() -> None:
        servers, topic = broker.bootstrap_servers, settings.input_topic
        broker.create_topic(topic)
        kept = [(b"k", b"%d" % n) for n in range(3)]
        await write(servers, topic, kept[:2], transaction=unique("writer"))
        await write(servers, topic, [(b"k", b"aborted")] * 5, transaction=unique("writer"), commit=False)
        await write(servers, topic, kept[2:], transaction=unique("writer"))
        await write(servers, topic, [(b"k", b"aborted")] * 5, transaction=unique("writer"), commit=False)
        async with life(settings) as transport, handle(transport, settings) as partition:
            offsets = await partition.offsets()
            await partition.seek(0)
            batches = await until(transport, partition.id, offsets.end)
            assert [value for batch in batches for value in batch.values] == [value for _, value in kept]
            assert batches[-1].next_offset == offsets.end
            assert all(batch.next_offset > max(batch.offsets, default=0) for batch in batches)
            last = next(offset for batch in reversed(batches) for offset in reversed(batch.offsets))

            await partition.seek(last + 1)  # nothing but a gap follows
            (batch,) = await until(transport, partition.id, offsets.end)
            assert (len(batch), batch.next_offset) == (0, offsets.end)
            assert await transport.fetch(0.3) == {}

            await write(servers, topic, [(b"k", b"next")])
            (batch,) = await until(transport, partition.id, offsets.end + 1)
            assert (batch.offsets, batch.values) == ([offsets.end], [b"next"])

    run(scenario())


def test_interleaved_transactions_and_compressed_batches_are_read_as_a_plain_consumer_reads_them(
    broker: Broker, settings: KafkaSettings, unique: Callable[[str], str]
) -> None:
    async def scenario() -> None:
        servers, topic = broker.bootstrap_servers, settings.input_topic
        broker.create_topic(topic)
        kept, lost = (
            AIOKafkaProducer(bootstrap_servers=servers, transactional_id=unique(n)) for n in ("kept", "lost")
        )
        packed = AIOKafkaProducer(bootstrap_servers=servers, compression_type="gzip", linger_ms=20)
        async with kept, lost, packed:
            for number in range(3):
                await kept.begin_transaction()
                await lost.begin_transaction()
                for producer in (lost, kept, packed, kept, lost, packed):
                    sent = [await producer.send(topic, b"%d" % n, headers=[("h", b"%d" % n)]) for n in range(50)]
                    await asyncio.gather(*sent)
                first, second = (kept.commit_transaction, lost.abort_transaction)[:: 1 if number % 2 else -1]
                await first()
                await second()
        expected = await read(servers, topic)
        assert len(expected) == 3 * 4 * 50
        async with life(settings) as transport, handle(transport, settings) as partition:
            end = (await partition.offsets()).end
            for start in (0, 3, expected[-7].offset, expected[200].offset + 1):
                await partition.seek(start)
                batches = await until(transport, partition.id, end)
                seen = [
                    record
                    for b in batches
                    for record in zip(b.offsets, b.timestamps, b.keys, b.values, b.headers, strict=True)
                ]
                assert seen == [
                    (r.offset, r.timestamp, r.key, r.value, r.headers) for r in expected if r.offset >= start
                ]

    run(scenario())


def test_a_paused_partition_goes_on_where_it_was_also_over_what_was_already_fetched(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 2)
        first, second = PartitionId(settings.input_topic, 0), PartitionId(settings.input_topic, 1)
        async with (
            life(settings, 2) as transport,
            handle(transport, settings, 0) as one,
            handle(transport, settings, 1) as other,
        ):
            await one.seek(0)
            await other.seek(0)
            fetching = asyncio.ensure_future(transport.fetch(5.0))
            await asyncio.sleep(0.1)
            fetching.cancel()  # its request goes on without it
            await asyncio.gather(fetching, return_exceptions=True)
            for number in (0, 1):
                await write(broker.bootstrap_servers, settings.input_topic, [(b"k", b"v")] * 10, partition=number)
            await asyncio.sleep(0.5)
            transport.pause(first)
            transport.pause(first)
            assert len((await until(transport, second, 10))[0]) == 10
            assert await transport.fetch(0.3) == {}
            transport.resume(first)
            assert [offset for batch in await until(transport, first, 10) for offset in batch.offsets] == [*range(10)]

    run(scenario())


def test_an_offset_that_has_left_the_log_ends_one_partition_and_not_the_others(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 2)
        for number in (0, 1):
            await write(broker.bootstrap_servers, settings.input_topic, [(b"k", b"v")] * 10, partition=number)
        async with administrator(broker.bootstrap_servers) as admin:
            await admin.delete_records({TopicPartition(settings.input_topic, 0): RecordsToDelete(6)})
        async with (
            life(settings, 2) as transport,
            handle(transport, settings, 0) as gone,
            handle(transport, settings, 1) as there,
        ):
            assert (await gone.offsets()).earliest == 6
            await gone.seek(3)
            await there.seek(0)
            with pytest.raises(PartitionError) as raised:
                await until(transport, gone.id, 10)
            assert raised.value.partition == gone.id
            await there.seek(0)
            assert len((await until(transport, there.id, 10))[0]) == 10
            await gone.seek(6)
            assert (await until(transport, gone.id, 10))[0].offsets == [6, 7, 8, 9]

    run(scenario())


def test_a_span_of_time_before_an_offset_is_found_by_the_logs_timestamps(
    broker: Broker, settings: KafkaSettings, unique: Callable[[str], str]
) -> None:
    async def scenario() -> None:
        servers, topic = broker.bootstrap_servers, settings.input_topic
        broker.create_topic(topic)
        async with life(settings) as transport, handle(transport, settings) as partition:
            assert await partition.offset_before(0, 60) == 0
            for minute in range(10):
                await write(servers, topic, [(b"k", b"v")] * 3, timestamp=1_000_000_000_000 + minute * 60_000)
            await write(servers, topic, [(b"k", b"v")] * 50, transaction=unique("writer"), commit=False)
            assert await partition.offset_before(30, 0) == 27
            assert await partition.offset_before(30, 60) == 24
            assert await partition.offset_before(13, 120) == 6
            assert await partition.offset_before(30, 3_600) == 0

    run(scenario())


def test_records_come_with_key_value_timestamp_and_headers(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        records = [(b"k", b"v"), (None, b"v"), (b"k", None), (None, None), (b"", b"")]
        await write(broker.bootstrap_servers, settings.input_topic, records, timestamp=77)
        async with life(settings) as transport, handle(transport, settings) as partition:
            await partition.seek(0)
            (batch,) = await until(transport, partition.id, 5)
            assert list(zip(batch.keys, batch.values, strict=True)) == records
            assert batch.timestamps == [77] * 5
            assert batch.headers == [()] * 5
            assert batch.offsets == [0, 1, 2, 3, 4]

    run(scenario())


def test_a_dead_letter_is_the_record_as_it_came_and_why(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 5)
        broker.create_topic(settings.dead_letter_topic, 3)
        async with life(settings, 5) as transport, handle(transport, settings, 4) as partition:
            await partition.commit([], [letter(b"\xff", headers=(("trace", b"1"),)), letter(None, None)], 8)
        first, second = await read(broker.bootstrap_servers, settings.dead_letter_topic, 4 % 3)
        assert (first.key, first.value, first.timestamp) == (b"k", b"\xff", 1_234)
        assert first.headers == (
            ("trace", b"1"),
            (f"{ERRORS}.topic", settings.input_topic.encode()),
            (f"{ERRORS}.partition", b"4"),
            (f"{ERRORS}.offset", b"7"),
            (f"{ERRORS}.stage", b"decode"),
            (f"{ERRORS}.exception.class.name", b"RecordError"),
            (f"{ERRORS}.exception.message", "not a number: größer".encode()),
        )
        assert (second.key, second.value) == (None, None)

    run(scenario())


@pytest.mark.parametrize(
    ("key", "headers", "left"),
    [
        (b"k", (("trace", b"1"),), {"trace", ".value.bytes"}),
        (b"k", (("trace", bytes(1 << 20)),), {".value.bytes"}),
        (bytes(1 << 20), (), {".value.bytes", ".key.bytes"}),
    ],
)
def test_a_dead_letter_that_is_too_large_loses_first_its_value(
    broker: Broker, settings: KafkaSettings, key: bytes, headers: tuple[tuple[str, bytes], ...], left: set[str]
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        async with life(settings) as transport, handle(transport, settings) as partition:
            await partition.commit([], [letter(bytes(1_048_576), key, headers), letter(b"small")], 8)
        first, second = await read(broker.bootstrap_servers, settings.dead_letter_topic)
        assert first.value is None
        assert first.key == (b"k" if key == b"k" else None)
        told = {name.removeprefix(ERRORS): value for name, value in first.headers}
        assert told[".value.bytes"] == b"1048576"
        assert told[".offset"] == b"7"
        assert left == set(told) & {"trace", ".value.bytes", ".key.bytes"}
        assert second.value == b"small"

    run(scenario())


def test_missing_topics_are_created_with_the_inputs_partitions(broker: Broker, settings: KafkaSettings) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 3)
        anomalies = f"{settings.input_topic}.anomalies"
        async with life(replace(settings, anomaly_topic=anomalies), 3):
            pass
        async with administrator(broker.bootstrap_servers) as admin:
            names = [settings.output_topic, settings.dead_letter_topic, anomalies, settings.state_topic]
            for topic in await admin.describe_topics(names):
                assert len(topic["partitions"]) == 3, topic["topic"]
            (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.state_topic)])
            configs = {entry[0]: entry[1] for entry in answer.resources[0][4]}
        assert configs["cleanup.policy"] == "compact"
        assert 16 << 20 <= int(configs["segment.bytes"]) <= 32 << 20
        assert float(configs["min.cleanable.dirty.ratio"]) == 0.2

    run(scenario())


def test_a_topic_of_anomalies_may_have_fewer_partitions_and_takes_no_less_than_the_output(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        odd = replace(settings, anomaly_topic=f"{settings.input_topic}.anomalies")
        assert odd.anomaly_topic is not None
        broker.create_topic(odd.input_topic, 3)
        broker.create_topic(odd.anomaly_topic, 2, configs={"max.message.bytes": "5000"})
        async with life(odd, 3) as transport, handle(transport, odd, 2) as partition:
            largest = EncodedBatch([b"a"], [b"x" * (partition.max_output_bytes - 1)], [1])
            assert 4800 < partition.max_output_bytes < 5000
            await partition.commit([largest], [], 1, [largest])
        assert [record.value for record in await read(broker.bootstrap_servers, odd.anomaly_topic)] == largest.values

    run(scenario())


def test_an_output_takes_every_timestamp_that_its_input_takes(
    broker: Broker, settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, configs={"message.timestamp.after.max.ms": str(2**63 - 1)})
        broker.create_topic(settings.dead_letter_topic)
        async with life(settings) as transport, handle(transport, settings) as partition:
            await partition.commit([EncodedBatch([b"a"], [b"{}"], [2**45])], [], 1)
        assert [record.timestamp for record in await read(broker.bootstrap_servers, settings.output_topic)] == [2**45]
        assert f"topic {settings.dead_letter_topic} refuses timestamps" in caplog.text
        assert f"topic {settings.output_topic} refuses" not in caplog.text

    run(scenario())


def test_a_missing_input_topic_is_named_and_not_created(settings: KafkaSettings) -> None:
    async def scenario() -> None:
        for _ in range(2):  # the second time would find what the first had created
            with pytest.raises(FatalError, match=f"input topic {settings.input_topic} does not exist"):
                await KafkaTransport(settings).start(Member())
            await asyncio.sleep(0.2)

    run(scenario())


def test_an_output_topic_with_too_few_partitions_is_refused_with_its_mend(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 3)
        broker.create_topic(settings.output_topic, 2)
        with pytest.raises(FatalError, match=f"--alter --topic {settings.output_topic} --partitions 3"):
            await KafkaTransport(settings).start(Member())

    run(scenario())


def test_a_partition_that_was_added_later_gets_its_state_and_is_refused_without_an_output(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 1)
        async with life(settings) as transport:
            broker.add_partitions(settings.input_topic, 2)
            with pytest.raises(RefusedError, match="--partitions 2"):
                async with handle(transport, settings, 1):
                    pass
            broker.add_partitions(settings.output_topic, 2)
            async with handle(transport, settings, 1) as partition:
                await partition.save(SnapshotPages(0, b"header"))
                await partition.commit([outputs("a")], [], 1)
        assert len(await read(broker.bootstrap_servers, settings.output_topic, 1)) == 1

    run(scenario())


def test_a_rebalance_takes_all_partitions_and_a_held_handle_goes_on_after_it(
    broker: Broker, settings: KafkaSettings
) -> None:
    async def scenario() -> None:
        broker.create_topic(settings.input_topic, 2)
        await write(broker.bootstrap_servers, settings.input_topic, [(b"k", b"v")] * 4, partition=0)
        ours, theirs = Member(), Member()
        first, second = KafkaTransport(settings), KafkaTransport(settings)
        try:
            await first.start(ours)
            await ours.has(2)
            handles = {number: first.partition(PartitionId(settings.input_topic, number)) for number in (0, 1)}
            for partition in handles.values():
                await partition.fence()
                await partition.seek(0)
            assert len((await until(first, handles[0].id, 4))[0]) == 4
            await second.start(theirs)
            await theirs.has(1)
            await ours.has(1)
            assert len(ours.taken) == 2
            (kept,), (lost,) = ours.mine, theirs.mine
            assert kept != lost
            assert await first.fetch(0.3) == {}
            held = handles[kept.partition]
            await held.commit([outputs("held")], [], 2)
            assert (await held.offsets()).committed == 2
            if kept.partition == 0:
                await held.seek(2)
                assert (await until(first, held.id, 4))[0].offsets == [2, 3]
            with pytest.raises(TransportError):
                await handles[lost.partition].seek(0)
            for partition in handles.values():
                await partition.close()
        finally:
            await first.stop()
            asked = time.monotonic()
            await theirs.has(2)
            await second.stop()
        assert time.monotonic() - asked < 8  # who leaves is missed at once, not after a session of 10 s

    run(scenario())


def test_what_a_listener_raises_is_raised_by_fetch(broker: Broker, settings: KafkaSettings) -> None:
    class Broken(Member):
        def assigned(self, partitions: frozenset[PartitionId]) -> None:
            raise KeyError(f"{len(partitions)} partitions")

    async def scenario() -> None:
        broker.create_topic(settings.input_topic)
        transport = KafkaTransport(settings)
        await transport.start(Broken())
        try:
            with pytest.raises(TransportError, match="1 partitions"):
                async with asyncio.timeout(PATIENCE):
                    while True:
                        await transport.fetch(0.1)
        finally:
            await transport.stop()

    run(scenario())


def test_a_broker_that_is_away_is_no_reason_to_end(settings: KafkaSettings) -> None:
    async def scenario() -> None:
        away = replace(settings, bootstrap_servers=f"127.0.0.1:{free_port()}")
        with pytest.raises(TransportError, match=away.bootstrap_servers):
            await KafkaTransport(away).start(Member())

    run(scenario())


def test_with_a_frozen_broker_every_call_ends_and_nothing_is_left(
    own_broker: Broker, settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_connection, "CONNECT_TIMEOUT", 1.0)
    hasty = replace(settings, bootstrap_servers=own_broker.bootstrap_servers, transaction_timeout=1.0)

    async def scenario() -> None:
        before = open_sockets()
        transport, member = KafkaTransport(hasty), Member()
        await transport.start(member)
        await member.has(1)
        idle, busy, saving, late = (transport.partition(PartitionId(hasty.input_topic, 0)) for _ in range(4))
        for partition in (idle, busy):
            await partition.fence()
        await busy.seek(0)
        assert await transport.fetch(0.1) == {}
        await busy.commit([outputs("a")], [], 1)
        await saving.fence()
        saved = asyncio.ensure_future(
            saving.save(SnapshotPages(1, b"h", {str(n): bytes(900_000) for n in range(30)}))
        )
        await asyncio.sleep(0.05)
        own_broker.freeze()
        fencing = asyncio.ensure_future(late.fence())
        assert await transport.fetch(0.1) == {}
        asked = time.monotonic()
        with pytest.raises(TransportError):
            await saving.commit([outputs(*"abc"), outputs("d")], [letter(b"x")], 2)
        assert time.monotonic() - asked < 3
        asked = time.monotonic()
        for partition in (late, busy, saving, idle):
            await partition.close()
        assert time.monotonic() - asked < 3
        asked = time.monotonic()
        await transport.stop()
        assert time.monotonic() - asked < 6
        with pytest.raises(TransportError):
            await KafkaTransport(hasty).start(Member())
        results = await asyncio.gather(saved, fencing, return_exceptions=True)
        assert all(isinstance(result, TransportError) for result in results), results
        assert open_sockets() == before

    own_broker.create_topic(settings.input_topic)
    run(scenario())


def test_a_broker_that_was_killed_is_found_again(own_broker: Broker, settings: KafkaSettings) -> None:
    hasty = replace(settings, bootstrap_servers=own_broker.bootstrap_servers, transaction_timeout=2.0)

    async def scenario() -> None:
        own_broker.create_topic(settings.input_topic)
        await write(hasty.bootstrap_servers, hasty.input_topic, [(b"k", b"v")] * 4)
        async with life(hasty) as transport:
            async with handle(transport, hasty) as partition:
                await partition.seek(0)
                await until(transport, partition.id, 4)
                await partition.commit([outputs("a", "b")], [], 2)
                await partition.save(SnapshotPages(2, b"h", {"page": b"1"}))
                own_broker.kill()
                with pytest.raises(TransportError):
                    await partition.commit([outputs("c", "d")], [], 4)
            await asyncio.to_thread(own_broker.start)
            async with handle(transport, hasty) as partition:
                stored = await partition.restore()
                assert stored is not None
                assert stored.pages == {"page": b"1"}
                assert (await partition.offsets()).committed == 2
                await partition.seek(2)
                assert (await until(transport, partition.id, 4))[0].offsets == [2, 3]
                await partition.commit([outputs("c", "d")], [], 4)
        keys = [record.key for record in await read(hasty.bootstrap_servers, hasty.output_topic)]
        assert keys == [b"a", b"b", b"c", b"d"]

    run(scenario())
