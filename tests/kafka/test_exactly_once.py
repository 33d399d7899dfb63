"""The promise, from outside: workers die and freeze, and every record still has one forecast, the right one."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from importlib.resources import as_file
from pathlib import Path

import numpy as np
from aiokafka import AIOKafkaProducer

from streamrnn.data import WEATHER
from streamrnn.engine.settings import ForecastSettings
from streamrnn.service.backtest import backtest
from streamrnn.transport.csv_table import CsvTable, read_csv
from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import Daemon, status
from tests.kafka.plain_clients import read

PARTITIONS, STREAMS, ROWS = 8, 500, 120
HORIZONS = (1, 6)
ODD = 0.9  # `anomaly` from which a forecast also goes to a topic of its own
FEED_SECONDS = 30.0
PATIENCE = 120.0


def real_streams() -> CsvTable:
    """500 pieces of the bundled weather, each 120 hours of one variable at one airport, gaps included."""
    with as_file(WEATHER) as path:
        year = read_csv(path)
    columns, names = [], []
    for piece in range(-(-STREAMS // len(year.names))):
        first = piece * 240
        for column, name in enumerate(year.names):
            columns.append(year.values[first : first + ROWS, column])
            names.append(f"{name}/{piece}")
    return CsvTable(tuple(names[:STREAMS]), year.times[:ROWS], np.stack(columns[:STREAMS], axis=1))


def part_of(table: CsvTable, partition: int) -> CsvTable:
    chosen = np.arange(STREAMS) % PARTITIONS == partition
    names = tuple(name for name, mine in zip(table.names, chosen, strict=True) if mine)
    return CsvTable(names, table.times, table.values[:, chosen])


async def feed(bootstrap: str, topic: str, table: CsvTable) -> None:
    """Row by row, left to right, evenly over FEED_SECONDS."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=10)
    await producer.start()
    began = time.monotonic()
    for row in range(ROWS):
        await asyncio.sleep(max(0.0, began + FEED_SECONDS * row / ROWS - time.monotonic()))
        for column, name in enumerate(table.names):
            value = table.values[row, column]
            body = {"value": None if np.isnan(value) else value, "time": int(table.times[row])}
            await producer.send(topic, json.dumps(body).encode(), name.encode(), partition=column % PARTITIONS)
    await producer.stop()


async def torture(workers: list[Daemon], ports: list[int]) -> None:
    """Two kills of one worker, then the other is frozen beyond its session and its transaction: each in full work."""
    first, second = workers
    for _ in range(2):
        await settled(ports)
        first.kill()
        first.start()
    await settled(ports)
    second.send(signal.SIGSTOP)
    await asyncio.sleep(9.0)
    second.send(signal.SIGCONT)


async def settled(ports: list[int]) -> None:
    """Both workers forecast, all partitions are theirs, and each task has been at it for a while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        try:
            tasks = [task for port in ports for task in status(port)["tasks"]]
        except OSError:
            continue
        if len(tasks) == PARTITIONS and all(task["state"] == "running" for task in tasks):
            await asyncio.sleep(2.0)
            return
    raise AssertionError("the workers did not come to rest")


async def visible(bootstrap: str, topic: str) -> list[list[dict[str, object]]]:
    """The output of each partition as a read_committed reader sees it, once all of it is there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = [await read(bootstrap, topic, partition) for partition in range(PARTITIONS)]
        if sum(map(len, seen)) >= STREAMS * ROWS or time.monotonic() > deadline:
            return [[json.loads(record.value) | {"key": record.key} for record in records] for records in seen]
        await asyncio.sleep(1.0)


def test_killed_and_frozen_workers_lose_no_record_repeat_none_and_forecast_as_if_nothing_had_happened(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    topic = unique("weather")
    table = real_streams()
    broker.create_topic(topic, PARTITIONS)
    settings: dict[str, object] = {
        "app_id": unique("exactly-once"),
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.session_timeout": "6s",
        "kafka.transaction_timeout": "5s",
        "input.topic": topic,
        "output.topic": f"{topic}.forecast",
        "forecast.horizons": "[1, 6]",
        "state.snapshot_interval": "1s",
        "anomalies.topic": f"{topic}.odd",
        "anomalies.threshold": ODD,
    }
    ports = [free_port(), free_port()]
    workers = [Daemon(tmp_path / f"worker-{port}.log", settings | {"http.port": port}) for port in ports]
    for worker in workers:
        worker.start()

    async def run() -> list[list[dict[str, object]]]:
        await asyncio.gather(feed(broker.bootstrap_servers, topic, table), torture(workers, ports))
        made = await visible(broker.bootstrap_servers, f"{topic}.forecast")
        odd = [await read(broker.bootstrap_servers, f"{topic}.odd", partition) for partition in range(PARTITIONS)]
        assert sum(map(len, odd)) > 100
        for published, chosen in zip(made, odd, strict=True):
            above = [forecast["offset"] for forecast in published if (forecast["anomaly"] or 0) >= ODD]  # type: ignore[operator]
            assert [json.loads(record.value)["offset"] for record in chosen] == above
        return made

    try:
        made = asyncio.run(run())
        assert [worker.stop() for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.end()

    for partition in range(PARTITIONS):
        part, found = part_of(table, partition), made[partition]
        offsets = [forecast["offset"] for forecast in found]
        assert offsets == list(range(len(part.names) * ROWS)), (
            f"partition {partition} lost, repeated or mixed up records"
        )
        sample = tmp_path / "backtest.jsonl"
        with sample.open("wb") as output:
            backtest(
                part,
                ForecastSettings(horizons=HORIZONS),
                topic=topic,
                stem=topic,
                multivariate=False,
                output=output,
            )
        scale = np.sqrt(np.nanmean(np.diff(part.values, axis=0) ** 2, axis=0))
        by_name = dict(zip(part.names, scale, strict=True))
        for forecast, line in zip(found, sample.open(), strict=True):
            expected = json.loads(line)
            assert forecast["stream"] == expected["stream"] == forecast["key"].decode()  # type: ignore[attr-defined]
            for name in ("mean", "lower", "upper"):
                np.testing.assert_allclose(
                    np.array(forecast[name], float),
                    np.array(expected[name], float),
                    rtol=0,
                    atol=1e-4 * by_name[str(forecast["stream"])],
                    err_msg=f"{forecast['stream']} at offset {forecast['offset']}: {name}",
                )
