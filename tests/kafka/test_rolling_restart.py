"""An upgrade as it is done: one worker after the other is stopped and started again, and records flow on."""

import asyncio
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.feed import Feed
from tests.chaos.verdict import judge
from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import Daemon, get, status

PARTITIONS, WORKERS, STREAMS, RATE = 6, 3, 300, 400.0
PATIENCE = 60.0


async def ready(ports: list[int]) -> None:
    """All workers are, and together they have all partitions: what the next pod of a StatefulSet waits for."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        try:
            answers = [await asyncio.to_thread(get, port, "/readyz") for port in ports]
            tasks = [task for port in ports for task in (await asyncio.to_thread(status, port))["tasks"]]
        except OSError:
            continue
        if all(code == 200 for code, _ in answers) and len(tasks) == PARTITIONS:
            return
    raise AssertionError("the workers did not come to rest")


async def committed_all(ports: list[int]) -> None:
    """Nothing is left to do."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        tasks = [task for port in ports for task in (await asyncio.to_thread(status, port))["tasks"]]
        if len(tasks) == PARTITIONS and all(t["lag"] == 0 and t["committed"] == t["position"] for t in tasks):
            await asyncio.sleep(6.0)  # the lag is looked at every 5 s
            return
    raise AssertionError("not all that was fed was committed")


@pytest.mark.parametrize("static", [True, False], ids=["each keeps its partitions", "partitions move each time"])
def test_a_rolling_restart_loses_no_record_repeats_none_and_changes_no_forecast(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path, *, static: bool
) -> None:
    topic = unique("weather")
    broker.create_topic(topic, PARTITIONS)
    settings: dict[str, object] = {
        "app_id": unique("rolling"),
        "input.topic": topic,
        "output.topic": f"{topic}.forecast",
        "forecast.horizons": "[1, 6]",
        "kafka.session_timeout": "30s",
    }
    ports = [free_port() for _ in range(WORKERS)]
    workers = [
        Daemon(
            tmp_path / f"worker-{number}.log",
            settings | {"http.port": port, "kafka.bootstrap_servers": broker.bootstrap_servers},
            environment={"STREAMRNN__KAFKA__GROUP_INSTANCE_ID": f"streamrnn-{number}"} if static else {},
        )
        for number, port in enumerate(ports)
    ]

    def begun() -> int:
        """Tasks begun so far, by all workers together."""
        return sum(len(re.findall(r"created → fencing", worker.log.read_text())) for worker in workers)

    async def roll() -> int:
        """Tasks begun because of the restarts."""
        stop = asyncio.Event()
        feed = Feed(7, STREAMS, PARTITIONS, poison=0.01)
        feeding = asyncio.create_task(feed.run(broker.bootstrap_servers, topic, RATE, stop))
        await ready(ports)
        before = begun()
        for worker in workers:
            await asyncio.sleep(2.0)
            assert await asyncio.to_thread(worker.stop) == 0
            worker.start()
            await ready(ports)
        await asyncio.sleep(2.0)
        stop.set()
        await feeding
        await committed_all(ports)
        return begun() - before

    for worker in workers:
        worker.start()
    try:
        moved = asyncio.run(roll())
        assert [worker.stop() for worker in workers] == [0] * WORKERS
    finally:
        for worker in workers:
            worker.end()

    verdict = asyncio.run(judge(broker.bootstrap_servers, settings, tmp_path / "reference", PARTITIONS, topic))
    assert verdict.wrong == []
    assert verdict.forecasts > 10 * RATE
    if static:
        assert moved == PARTITIONS, "a worker that is back within its session takes up what it had, no more"
    else:
        assert moved > PARTITIONS
