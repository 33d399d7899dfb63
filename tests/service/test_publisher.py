"""Commits and snapshots in the background, over a real file partition."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import restore
from streamrnn.service.metrics import Metrics
from streamrnn.service.processor import Captured, Processor
from streamrnn.service.publisher import Publisher
from streamrnn.transport.contract import Partition, PartitionId, RawBatch
from streamrnn.transport.file import FileSettings, FileTransport


class Nobody:
    async def revoked(self, partitions: frozenset[PartitionId]) -> None: ...

    def assigned(self, partitions: frozenset[PartitionId]) -> None: ...


MANY = 2000  # streams: more than one page of them


def raw(first: int, stop: int) -> RawBatch:
    """A record for each of MANY streams, then some more for the first of them alone."""
    streams = [i if i < MANY else 0 for i in range(first, stop)]
    values: list[bytes | None] = [json.dumps({"stream": f"s{i}", "value": i, "time": i}).encode() for i in streams]
    n = stop - first
    return RawBatch(list(range(first, stop)), [-1] * n, [None] * n, values, [()] * n, stop)


@asynccontextmanager
async def published(
    folder: Path, records: int, copies: set[Publisher] | None = None
) -> AsyncIterator[tuple[Partition, Processor, Publisher]]:
    """A partition of so many lines, a processor for it, and a publisher of what that makes."""
    (folder / "input.jsonl").write_bytes(b"\n" * records)
    settings = FileSettings(str(folder / "input.jsonl"), str(folder / "out.jsonl"), folder / "state", "", "app")
    transport = FileTransport(settings)
    await transport.start(Nobody())
    handle = transport.partition(settings.partition)
    await handle.fence()
    await handle.seek(0)
    processor = Processor(settings.partition, ForecastSettings(hidden=4), InputFormat(lines=True), every_step=False)
    metrics = Metrics(version="0", backend="numpy", cell="gru", horizons=(1,))

    async def capture(offset: int) -> Captured:
        return processor.capture(offset)

    async def check(portion: Callable[[], None]) -> None:
        portion()

    yield (
        handle,
        processor,
        Publisher(
            handle,
            capture,
            check,
            (metrics, metrics.partition("input.jsonl", 0)),
            commit_interval=0.0,
            snapshot_interval=0.0,
            copies=set() if copies is None else copies,
            ended=lambda: None,
        ),
    )
    await handle.close()
    await transport.stop()


def test_a_snapshot_that_was_captured_and_not_yet_saved_is_not_lost_for_the_next_one(tmp_path: Path) -> None:
    end = MANY + 20

    async def live() -> None:
        async with published(tmp_path, end) as (handle, processor, publisher):
            publisher.add(processor.process(raw(0, MANY), 1 << 20), MANY)
            await publisher.advance(MANY)  # the commit is on its way, the state is captured and waits for it
            publisher.add(processor.process(raw(MANY, end), 1 << 20), 20)
            await publisher.finish()
            await publisher.save(end)
            stored = await handle.restore()
            assert stored is not None
            revived, _, offset = restore(stored)
            assert offset == publisher.snapshot == publisher.committed == end
            assert revived.step_number == processor.forecaster.step_number == end

    asyncio.run(live())


def test_a_hand_over_leaves_the_newest_state_once_it_is_known_that_this_is_quick(tmp_path: Path) -> None:
    async def live() -> None:
        async with published(tmp_path, 30) as (handle, processor, publisher):
            publisher.add(processor.process(raw(0, 10), 1 << 20), 10)
            await publisher.finish()
            await publisher.hand_over(10)
            assert publisher.snapshot is None, "nobody knows yet how long it takes"
            await publisher.save(10)
            publisher.add(processor.process(raw(10, 30), 1 << 20), 20)
            await publisher.finish()
            await publisher.hand_over(30)
            stored = await handle.restore()
            assert stored is not None
            assert restore(stored)[2] == publisher.snapshot == 30

    asyncio.run(live())


def test_a_handle_is_closed_also_where_its_dropping_is_cancelled(tmp_path: Path) -> None:
    async def live() -> None:
        async with published(tmp_path, MANY) as (handle, processor, publisher):
            closed, close = asyncio.Event(), handle.close

            async def commit(*_: object) -> None:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
                await asyncio.sleep(0.1)  # a client that takes its time to give up

            async def noted() -> None:
                closed.set()
                await close()

            handle.commit, handle.close = commit, noted  # type: ignore[method-assign, assignment]
            publisher.add(processor.process(raw(0, MANY), 1 << 20), MANY)
            await publisher.advance(MANY)
            await asyncio.sleep(0.01)
            dropping = asyncio.create_task(publisher.drop())
            await asyncio.sleep(0.01)
            dropping.cancel()
            await asyncio.wait((dropping,))
            assert closed.is_set()

    asyncio.run(live())


def test_a_snapshot_that_is_due_waits_until_no_other_partition_s_is_in_memory(tmp_path: Path) -> None:
    copies: set[Publisher] = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()

    async def live() -> None:
        async with (
            published(tmp_path / "one", MANY, copies) as (_, processor, one),
            published(tmp_path / "other", MANY, copies) as (_, _, other),
        ):
            one.add(processor.process(raw(0, MANY), 1 << 20), MANY)
            await one.advance(MANY)  # its commit is on its way, its state is captured and waits for it
            await other.advance(0)
            assert copies == {one}
            assert 0 < other.due(0) < 1
            await one.finish()
            await one.advance(MANY)
            await one.finish()
            assert one.snapshot == MANY
            await other.advance(0)
            assert copies == {other}
            await other.drop()
            assert not copies

    asyncio.run(live())


def test_a_state_that_no_commit_under_way_will_reach_is_not_copied(tmp_path: Path) -> None:
    """As where the log begins beyond the committed offset, and no record has come since."""
    copies: set[Publisher] = set()

    async def live() -> None:
        async with published(tmp_path, MANY, copies) as (_, _, publisher):
            publisher.committed = 5
            await publisher.advance(9)
            assert not copies
            assert publisher.due(9) > 1
            await publisher.advance(5)
            assert copies == {publisher}
            await publisher.drop()

    asyncio.run(live())
