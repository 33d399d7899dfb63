"""What the endpoints of a whole worker say, and how soon, while something of it stands still."""

import asyncio
import contextlib
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamrnn.engine.snapshot import StoredSnapshot
from streamrnn.service import assembly, compute
from streamrnn.service.config import load_config
from streamrnn.service.http import HttpSettings
from streamrnn.service.worker import Worker
from streamrnn.transport.contract import Partition, PartitionId
from streamrnn.transport.file import FileTransport
from streamrnn.transport.file_partition import FilePartition
from tests.kafka.broker import free_port

SOON, LATEST = 2.0, 20.0  # seconds after which a probe gives up, and an answer must have come on any machine
PATIENCE = 120.0
STANDING = b'{"stream": "s", "value": 5}\n' * 200


class Slow(FileTransport):
    """Files of which the state comes back only when it is told to."""

    released = threading.Event()

    def partition(self, partition: PartitionId) -> Partition:
        made = super().partition(partition)
        assert isinstance(made, FilePartition)
        restore = made.restore

        async def slowly() -> StoredSnapshot | None:
            await asyncio.to_thread(self.released.wait, PATIENCE)
            return await restore()

        made.restore = slowly  # type: ignore[method-assign]
        return made


class Asked:
    """A worker and its endpoints, asked by a thread that knows nothing of the worker's loop."""

    def __init__(self, worker: Worker, port: int) -> None:
        self.worker, self._base = worker, f"http://127.0.0.1:{port}"

    def now(self, path: str, patience: float = LATEST) -> tuple[int, str]:
        """Status and body. Raises TimeoutError."""
        try:
            with urllib.request.urlopen(self._base + path, timeout=patience) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def get(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(self.now, path)

    async def state(self) -> str:
        (task,) = json.loads((await self.get("/status"))[1])["tasks"]
        found: str = task["state"]
        return found

    async def until(self, path: str, status: int, holds: str) -> None:
        """Return once the answer has this status and holds this text."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(urllib.error.URLError):  # nobody listens yet
                    found, text = await self.get(path)
                    if found == status and holds in text:
                        return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def living(folder: Path) -> AsyncIterator[Asked]:
    """A worker from a named pipe, in which some lines wait, to a file."""
    pipe = folder / "in.jsonl"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, STANDING)
    given = [f"file={{input: {pipe}, output: {folder}/out.jsonl, state: {folder}/state}}", "transport=file"]
    config = load_config(None, [*given, "model.hidden=4"], {})
    port = free_port()
    worker = Worker(
        lambda: Slow(assembly.file_settings(config)),
        assembly.task_settings(config),
        assembly.metrics(config),
        shutdown_timeout=2.0,
        http=HttpSettings("127.0.0.1", port),
    )
    life = asyncio.create_task(worker.run())
    try:
        asked = Asked(worker, port)
        await asked.until("/healthz", 200, "ok")
        yield asked
    finally:
        worker._stop.set()
        await life
        os.close(writer)


@pytest.fixture(autouse=True)
def _released() -> None:
    Slow.released.set()


def test_a_worker_that_restores_is_alive_and_not_ready_and_says_so(tmp_path: Path) -> None:
    Slow.released.clear()

    async def scenario() -> None:
        async with living(tmp_path) as asked:
            await asked.until("/readyz", 503, "in.jsonl[0] is restoring")
            assert await asked.get("/healthz") == (200, "ok\n")
            assert await asked.state() == "restoring"
            Slow.released.set()
            await asked.until("/readyz", 200, "ok")
            assert await asked.state() == "running"

    asyncio.run(scenario())


def test_a_compute_thread_that_is_stuck_is_neither_alive_nor_ready_until_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with living(tmp_path) as asked:
            await asked.until("/readyz", 200, "ok")
            monkeypatch.setattr(compute, "STUCK", 0.2)
            let_go = threading.Event()
            stuck = asyncio.create_task(asked.worker._compute.run(let_go.wait, PATIENCE))
            await asyncio.sleep(0.3)
            for path in ("/healthz", "/readyz"):
                status, reason = await asked.get(path)
                assert status == 503 and reason.startswith("the compute thread has not come back"), path
            assert await asked.state() == "running"
            let_go.set()
            await stuck
            assert await asked.get("/healthz") == (200, "ok\n")
            assert await asked.get("/readyz") == (200, "ok\n")

    asyncio.run(scenario())


def test_a_loop_that_stands_still_answers_nobody_and_all_again_when_it_turns(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with living(tmp_path) as asked:
            await asked.until("/readyz", 200, "ok")
            unanswered = []

            def ask() -> None:
                for path in ("/healthz", "/readyz", "/status"):
                    with pytest.raises(TimeoutError):
                        asked.now(path, SOON)
                    unanswered.append(path)

            asking = threading.Thread(target=ask)
            asking.start()
            time.sleep(3 * SOON + 1.0)  # noqa: ASYNC251
            asking.join()
            assert unanswered == ["/healthz", "/readyz", "/status"]
            assert await asked.get("/healthz") == (200, "ok\n")
            assert await asked.get("/readyz") == (200, "ok\n")
            assert await asked.state() == "running"

    asyncio.run(scenario())


def test_streams_that_stand_still_are_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with living(tmp_path) as asked:
            frozen = 'streamrnn_streams_frozen{partition="0",topic="in.jsonl"} 1.0'
            await asked.until("/metrics", 200, frozen)

    asyncio.run(scenario())
