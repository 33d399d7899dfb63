"""The worker on a transport that does nothing."""

import asyncio
import logging
from typing import cast

import pytest

from streamrnn.service import worker as module
from streamrnn.service.assembly import metrics, task_settings
from streamrnn.service.config import Config
from streamrnn.service.worker import Worker
from streamrnn.transport.contract import Transport


class Idle:
    """A group that nobody coordinates: no error, no partition, no record."""

    ended, recoverable = False, True

    async def start(self, listener: object) -> None: ...

    async def stop(self) -> None: ...

    async def fetch(self, max_wait: float) -> dict[object, object]:
        await asyncio.sleep(min(max_wait, 0.01))
        return {}


def test_what_a_worker_waits_for_is_told_again_and_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TELL_EVERY", 0.1)

    async def run() -> None:
        config = Config()
        worker = Worker(lambda: cast(Transport, Idle()), task_settings(config), metrics(config), shutdown_timeout=1.0)
        asyncio.get_running_loop().call_later(0.5, worker._stop.set)
        assert await worker.run() == 0

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert 2 <= caplog.text.count("still not ready: the consumer group is not joined yet") <= 6
