"""What every transport must pass: subclass `TransportContract`, give it a world, and its tests are yours.

    class TestFileTransport(TransportContract):
        async def world(self, records):
            return FileWorld(self.folder, records)

A world is one input partition that holds the given records, its outputs, its dead letters and its state. Each
`World.transport()` is another process life over the same world.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest

from streamrnn.engine.snapshot import SnapshotPages
from streamrnn.errors import TransportError
from streamrnn.transport.contract import DeadLetter, EncodedBatch, Partition, PartitionId, Transport

PATIENCE = 30.0  # seconds until a test that waits for records gives up


class Seen(NamedTuple):
    """One dead letter as an operator reads it."""

    offset: int
    value: bytes | None
    stage: str
    exception: str
    message: str


class World(ABC):
    """One input partition and all that belongs to it."""

    partition: PartitionId

    @abstractmethod
    def transport(self) -> Transport:
        """A new process life, not yet started. At most one life of a world is open at a time."""

    @abstractmethod
    async def outputs(self) -> list[tuple[bytes, bytes | None]]:
        """Key and value of every output that a reader sees now, in order; None is a tombstone."""

    @abstractmethod
    async def dead_letters(self) -> list[Seen]:
        """Every dead letter that a reader sees now, in order."""

    @abstractmethod
    async def anomalies(self) -> list[tuple[bytes, bytes | None]]:
        """Key and value of every output that a reader sees now where the anomalies go."""


class Everything:
    """An AssignmentListener that only remembers what it was given."""

    def __init__(self) -> None:
        self.partitions: frozenset[PartitionId] = frozenset()
        self.given = asyncio.Event()

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        self.partitions -= partitions

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        self.partitions = partitions
        if partitions:
            self.given.set()


@asynccontextmanager
async def life(world: World) -> AsyncIterator[Transport]:
    """A transport from its start until its stop, its partition assigned."""
    transport, everything = world.transport(), Everything()
    await transport.start(everything)
    try:
        async with asyncio.timeout(PATIENCE):
            await everything.given.wait()
        assert world.partition in everything.partitions
        yield transport
    finally:
        await transport.stop()


@asynccontextmanager
async def handle(transport: Transport, world: World) -> AsyncIterator[Partition]:
    """A fenced handle on the world's partition, closed at the end."""
    partition = transport.partition(world.partition)
    try:
        await partition.fence()
        yield partition
    finally:
        await partition.close()


async def taken_over(partition: Partition) -> int:
    """Go on where the last life committed, from the start where none did. Returns that offset."""
    offsets = await partition.offsets()
    offset = offsets.earliest if offsets.committed is None else offsets.committed
    await partition.seek(offset)
    return offset


async def fetched(transport: Transport, world: World, count: int) -> list[tuple[int, bytes | None]]:
    """Offset and value of the next records, at least `count` of them."""
    records: list[tuple[int, bytes | None]] = []
    async with asyncio.timeout(PATIENCE):
        while len(records) < count:
            batch = (await transport.fetch(0.2)).get(world.partition)
            if batch is None:
                continue
            columns = (batch.offsets, batch.timestamps, batch.keys, batch.values, batch.headers)
            assert {len(column) for column in columns} == {len(batch)}
            assert batch.next_offset > (batch.offsets[-1] if batch.offsets else 0)
            records += zip(batch.offsets, batch.values, strict=True)
    return records


def stream(n: int) -> bytes:
    return f"s{n}".encode()


def forecast(n: int) -> bytes:
    """An output's value: one line of JSON that names its stream."""
    return f'{{"stream":"s{n}","mean":[{n}]}}'.encode()


def forecasts(*numbers: int) -> EncodedBatch:
    return EncodedBatch([stream(n) for n in numbers], [forecast(n) for n in numbers], [1_000 + n for n in numbers])


def refused(offset: int, value: bytes) -> DeadLetter:
    return DeadLetter(offset, 1_000, None, value, "decode", "RecordError", f"record {offset} is not a number")


def records(count: int) -> list[tuple[bytes, bytes]]:
    """Key and value of the input's records; the value names the stream too, for transports without keys."""
    return [(stream(n), f'{{"stream":"s{n}","value":{n}.5,"time":{1_000 + n}}}'.encode()) for n in range(count)]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


class TransportContract(ABC):
    """The facts. Each test is one world of its own."""

    @abstractmethod
    async def world(self, records: Sequence[tuple[bytes, bytes]]) -> World:
        """A fresh world whose input holds these (key, value) records and no others."""

    def test_records_come_in_order_and_once_from_the_offset_that_was_sought(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(50))
            async with life(world) as transport, handle(transport, world) as partition:
                start = (await partition.offsets()).earliest
                await partition.seek(start)
                whole = await fetched(transport, world, 50)
                assert [value for _, value in whole] == [value for _, value in records(50)]
                assert [offset for offset, _ in whole] == sorted({offset for offset, _ in whole})
                assert whole[0][0] >= start
                assert await transport.fetch(0.2) == {}

                await partition.seek(whole[20][0])
                assert await fetched(transport, world, 30) == whole[20:]

        run(scenario())

    def test_nothing_is_fetched_before_a_partition_was_sought(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(3))
            async with life(world) as transport, handle(transport, world):
                assert await transport.fetch(0.3) == {}

        run(scenario())

    def test_a_fetch_that_was_cancelled_loses_no_record(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(50))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                fetch = asyncio.ensure_future(transport.fetch(5.0))
                await asyncio.sleep(0)
                fetch.cancel()
                await asyncio.gather(fetch, return_exceptions=True)
                assert [value for _, value in await fetched(transport, world, 50)] == [v for _, v in records(50)]

        run(scenario())

    def test_a_new_partition_has_no_committed_offset_and_ends_behind_its_records(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(5))
            async with life(world) as transport, handle(transport, world) as partition:
                offsets = await partition.offsets()
                assert offsets.committed is None
                await partition.seek(offsets.earliest)
                last, _ = (await fetched(transport, world, 5))[-1]
                assert offsets.earliest <= last < offsets.end

        run(scenario())

    def test_outputs_dead_letters_and_offset_become_visible_together(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(4))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                inputs = await fetched(transport, world, 4)
                assert await world.outputs() == []
                assert await world.dead_letters() == []

                letter = refused(inputs[1][0], b"\xff not JSON")
                await partition.commit([forecasts(0), forecasts(2, 3)], [letter], inputs[3][0] + 1)
                assert await world.outputs() == [(stream(n), forecast(n)) for n in (0, 2, 3)]
                assert await world.dead_letters() == [
                    Seen(inputs[1][0], b"\xff not JSON", "decode", "RecordError", letter.message)
                ]
                assert (await partition.offsets()).committed == inputs[3][0] + 1

        run(scenario())

    def test_anomalies_become_visible_with_the_outputs_and_in_the_next_life_what_was_not_committed_is_not(
        self,
    ) -> None:
        async def scenario() -> None:
            world = await self.world(records(4))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                inputs = await fetched(transport, world, 4)
                assert await world.anomalies() == []
                await partition.commit([forecasts(0, 1), forecasts(2)], [], inputs[3][0], [forecasts(1)])
                assert await world.anomalies() == [(stream(1), forecast(1))]
                await partition.commit([forecasts(3)], [], inputs[3][0] + 1)
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                assert await world.anomalies() == [(stream(1), forecast(1))]
                assert await world.outputs() == [(stream(n), forecast(n)) for n in range(4)]

        run(scenario())

    def test_a_commit_may_hold_nothing_but_the_offset(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(4))
            async with life(world) as transport, handle(transport, world) as partition:
                start = await taken_over(partition)
                await partition.commit([], [], start)
                assert (await partition.offsets()).committed == start
                inputs = await fetched(transport, world, 4)
                await partition.commit([], [], inputs[2][0])
                assert (await partition.offsets()).committed == inputs[2][0]
                assert await world.outputs() == []

        run(scenario())

    def test_what_was_not_committed_is_invisible_and_comes_again_in_the_next_life(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(10))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                inputs = await fetched(transport, world, 10)
                await partition.commit([forecasts(0, 1, 2)], [], inputs[3][0])
            assert await world.outputs() == [(stream(n), forecast(n)) for n in range(3)]

            async with life(world) as transport, handle(transport, world) as partition:
                assert await taken_over(partition) == inputs[3][0]
                assert await fetched(transport, world, 7) == inputs[3:]
                await partition.commit([forecasts(*range(3, 10))], [], inputs[9][0] + 1)
            assert await world.outputs() == [(stream(n), forecast(n)) for n in range(10)]
            assert await world.dead_letters() == []

        run(scenario())

    def test_a_new_handle_in_the_same_life_goes_on_at_the_committed_offset(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(10))
            async with life(world) as transport:
                async with handle(transport, world) as partition:
                    await taken_over(partition)
                    inputs = await fetched(transport, world, 10)
                    await partition.commit([forecasts(*range(4))], [], inputs[4][0])
                async with handle(transport, world) as partition:
                    assert await taken_over(partition) == inputs[4][0]
                    assert await fetched(transport, world, 6) == inputs[4:]

        run(scenario())

    def test_a_closed_handle_gets_no_records(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(3))
            async with life(world) as transport:
                async with handle(transport, world) as partition:
                    await taken_over(partition)
                async with handle(transport, world):
                    assert await transport.fetch(0.3) == {}

        run(scenario())

    def test_a_tombstone_is_passed_on(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(2))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                inputs = await fetched(transport, world, 2)
                batch = EncodedBatch([stream(0), "größe-7".encode()], [forecast(0), None], [1_000, 1_001])
                await partition.commit([batch], [], inputs[1][0] + 1)
                assert await world.outputs() == [(stream(0), forecast(0)), ("größe-7".encode(), None)]

        run(scenario())

    def test_restore_without_a_snapshot_is_none(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(1))
            async with life(world) as transport, handle(transport, world) as partition:
                assert await partition.restore() is None

        run(scenario())

    def test_a_snapshot_comes_back_in_the_next_life_as_it_was_saved(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(1))
            pages = {"table/0": bytes(range(256)) * 300, "table/1": b"", "model": b"\x00\xff"}
            async with life(world) as transport, handle(transport, world) as partition:
                assert await partition.restore() is None
                await partition.save(SnapshotPages(0, b'{"layout": "\xc3\xa4"}', pages))

            async with life(world) as transport, handle(transport, world) as partition:
                stored = await partition.restore()
                assert stored is not None
                assert stored.header == b'{"layout": "\xc3\xa4"}'
                assert stored.pages == pages

        run(scenario())

    def test_an_incremental_snapshot_replaces_changed_pages_and_loses_dropped_ones(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(1))
            async with life(world) as transport:
                async with handle(transport, world) as partition:
                    await partition.restore()
                    await partition.save(SnapshotPages(0, b"1", {"a": b"a1", "b": b"b1", "c": b"c1"}))
                    await partition.save(SnapshotPages(0, b"2", {"b": b"b2, longer"}, dropped=("c",)))
                async with handle(transport, world) as partition:
                    stored = await partition.restore()
                    assert stored is not None
                    assert (stored.header, stored.pages) == (b"2", {"a": b"a1", "b": b"b2, longer"})
                    await partition.save(SnapshotPages(0, b"3", {"c": b"c3"}, dropped=("a",)))

            async with life(world) as transport, handle(transport, world) as partition:
                stored = await partition.restore()
                assert stored is not None
                assert (stored.header, stored.pages) == (b"3", {"b": b"b2, longer", "c": b"c3"})

        run(scenario())

    def test_a_snapshot_and_a_commit_leave_each_other_alone(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(6))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                inputs = await fetched(transport, world, 6)
                await partition.commit([forecasts(0, 1)], [], inputs[2][0])
                await partition.save(SnapshotPages(inputs[2][0], b"S", {"a": b"1"}))
                await partition.commit([forecasts(2, 3)], [], inputs[4][0])

            async with life(world) as transport, handle(transport, world) as partition:
                stored = await partition.restore()
                assert stored is not None
                assert stored.header == b"S"
                assert (await partition.offsets()).committed == inputs[4][0]
                await partition.seek(inputs[2][0])  # replay from S
                assert await fetched(transport, world, 4) == inputs[2:]
            assert await world.outputs() == [(stream(n), forecast(n)) for n in range(4)]

        run(scenario())

    def test_after_a_fence_the_predecessor_can_neither_commit_nor_save(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(3))
            async with life(world) as transport, handle(transport, world) as old:
                start = await taken_over(old)
                await old.commit([forecasts(0)], [], start)
                async with handle(transport, world) as new:
                    with pytest.raises(TransportError):
                        await old.commit([forecasts(1)], [refused(start, b"x")], start + 1)
                    with pytest.raises(TransportError):
                        await old.save(SnapshotPages(start, b"old", {"a": b"old"}))
                    assert await new.restore() is None
                    assert (await new.offsets()).committed == start
                    await old.close()
                    await new.seek(start)
                    inputs = await fetched(transport, world, 3)
                    await new.commit([forecasts(2)], [], inputs[2][0] + 1)
                    await new.save(SnapshotPages(inputs[2][0] + 1, b"new", {"a": b"new"}))
            assert await world.outputs() == [(stream(n), forecast(n)) for n in (0, 2)]
            assert await world.dead_letters() == []

        run(scenario())

    def test_pause_and_resume_lose_nothing(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(20))
            async with life(world) as transport, handle(transport, world) as partition:
                await taken_over(partition)
                transport.pause(world.partition)
                assert await transport.fetch(0.3) == {}
                transport.resume(world.partition)
                first = await fetched(transport, world, 1)
                transport.pause(world.partition)
                assert await transport.fetch(0.3) == {}
                transport.resume(world.partition)
                rest = await fetched(transport, world, 20 - len(first)) if len(first) < 20 else []
                assert [value for _, value in first + rest] == [value for _, value in records(20)]

        run(scenario())

    def test_close_and_stop_may_come_twice_and_before_anything_else(self) -> None:
        async def scenario() -> None:
            world = await self.world(records(1))
            async with life(world) as transport:
                unused = transport.partition(world.partition)
                await unused.close()
                async with handle(transport, world) as partition:
                    await partition.close()
                await partition.close()
                await transport.stop()
            await world.transport().stop()

        run(scenario())
