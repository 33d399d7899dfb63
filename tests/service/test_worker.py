"""The worker on a transport that does nothing."""

import asyncio
import contextlib
import gc
import logging
import threading
import time
from typing import cast

import pytest

from streamrnn.service import allocation
from streamrnn.service import worker as module
from streamrnn.service.assembly import metrics, task_settings
from streamrnn.service.config import Config
from streamrnn.service.worker import Worker
from streamrnn.transport.contract import PartitionId, Transport


class Idle:
    """A group that nobody coordinates: no error, no partition, no record."""

    ended, recoverable = False, True

    async def start(self, listener: object) -> None: ...

    async def stop(self) -> None: ...

    async def fetch(self, max_wait: float) -> dict[object, object]:
        await asyncio.sleep(min(max_wait, 0.01))
        return {}


def idle_worker() -> Worker:
    config = Config()
    return Worker(lambda: cast(Transport, Idle()), task_settings(config), metrics(config), shutdown_timeout=1.0)


def test_what_a_worker_waits_for_is_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TELL_EVERY", 0.1)

    def told() -> int:
        return caplog.text.count("still not ready: the consumer group is not joined yet")

    async def run() -> float:
        worker, began = idle_worker(), time.monotonic()
        running = asyncio.create_task(worker.run())
        while told() < 3 and time.monotonic() < began + 30:  # noqa: ASYNC110 (a log has no event)
            await asyncio.sleep(0.02)
        worker._stop.set()
        assert await running == 0
        return time.monotonic() - began

    with caplog.at_level(logging.WARNING):
        seconds = asyncio.run(run())
    assert 3 <= told() <= 1 + seconds / 0.1


def test_garbage_is_collected_in_the_thread_of_the_loop_and_never_amid_a_computation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(allocation, "COLLECT_EVERY", 0.05)
    collected_by = set()

    class Lost:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            collected_by.add(threading.get_ident())

    def compute() -> None:
        for _ in range(100_000):  # far more than are allocated between two collections
            Lost()

    async def run() -> None:
        worker = idle_worker()
        running = asyncio.create_task(worker.run())
        await asyncio.sleep(0.1)
        await worker._compute.run(compute)
        await asyncio.sleep(0.2)
        worker._stop.set()
        await running

    asyncio.run(run())
    assert collected_by == {threading.get_ident()}
    assert gc.isenabled()


def test_a_task_is_held_before_anything_else_can_run() -> None:
    async def run() -> None:
        worker = idle_worker()
        worker._transport = cast(Transport, Idle())
        partition = PartitionId("sensors", 0)
        worker.assigned(frozenset({partition}))
        revoked = worker.revoked(frozenset({partition}))
        with contextlib.suppress(StopIteration):
            revoked.send(None)  # as far as it goes before it waits for the first time
        assert worker.tasks[partition]._undelivered
        revoked.close()
        worker._lives[partition].cancel()
        await asyncio.wait((worker._lives[partition],))

    asyncio.run(run())


def test_a_task_that_is_given_up_ends_also_where_its_cancellation_is_swallowed() -> None:
    fenced = asyncio.Event()

    class Deaf:
        async def fence(self) -> None:
            fenced.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

        async def restore(self) -> None: ...

        async def close(self) -> None: ...

    async def run() -> None:
        worker, partition = idle_worker(), PartitionId("sensors", 0)
        worker._transport = cast(Transport, Idle())
        worker._transport.partition = lambda _: Deaf()  # type: ignore[assignment, method-assign, return-value]
        worker.assigned(frozenset({partition}))
        life = worker._lives[partition]
        async with asyncio.timeout(5):
            await fenced.wait()
            worker.assigned(frozenset())
            await asyncio.wait((life,))
        worker._compute.close()

    asyncio.run(run())
