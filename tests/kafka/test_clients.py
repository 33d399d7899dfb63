"""The programs in examples/clients, run as a reader runs them, with a real daemon between them."""

import asyncio
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kafka.broker import Broker
from tests.kafka.daemon import ROOT
from tests.kafka.plain_clients import read, write
from tests.kafka.world import World, until

CLIENTS = ["aiokafka", "confluent"]
START = datetime(2024, 1, 1, tzinfo=UTC)
LINE = re.compile(r"(\S+) (\S+) \+1: (\S+), (\S+) to (\S+?)( !)?")


def example(name: str, *arguments: str, lines: str = "") -> list[str]:
    """The lines that one of the programs prints."""
    command = [sys.executable, str(ROOT / "examples" / "clients" / f"{name}.py"), *arguments]
    told = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout.splitlines()


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    made = World(broker, unique, tmp_path)
    broker.create_topic(made.topic, 3)
    yield made
    made.worker.end()


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_producer_sends_is_forecast_and_shown_by_a_consumer(client: str, world: World) -> None:
    broker, noise = world.broker.bootstrap_servers, random.Random(1)
    sent = {stream: [base + noise.gauss(0, 0.1) for _ in range(200)] for stream, base in (("a", 5.0), ("b", 50.0))}
    sent["b"][180] += 20.0
    times = [(START + timedelta(minutes=n)).isoformat() for n in range(200)]
    lines = "".join(f"{stream},{times[n]},{sent[stream][n]}\n" for n in range(200) for stream in sent)
    world.worker.start()
    until(lambda: world.answers("/readyz") == 200)
    told = example(f"produce_{client}", "--bootstrap-servers", broker, "--topic", world.topic, lines=lines)
    assert told == ["400 records sent"]
    where = "--bootstrap-servers", broker, "--topic", f"{world.topic}.forecast"
    shown = [LINE.fullmatch(line) for line in example(f"consume_{client}", *where, "--count", "400")]
    for stream, values in sent.items():
        forecasts = [found.groups() for found in shown if found and found[1] == stream]
        assert [forecast[1] for forecast in forecasts] == times
        bounds = [(float(lower), float(mean), float(upper)) for _, _, mean, lower, upper, _ in forecasts]
        assert all(lower <= mean <= upper for lower, mean, upper in bounds)
        calm = range(100, 180)
        assert sum(bounds[n][0] <= values[n + 1] <= bounds[n][2] for n in calm[:-1]) > 0.8 * len(calm)
        assert [n for n, forecast in enumerate(forecasts) if forecast[5]] == ([180] if stream == "b" else [])


@pytest.mark.parametrize("client", CLIENTS)
def test_a_producer_sends_no_value_as_a_missing_one(client: str, world: World) -> None:
    broker = world.broker
    where = "--bootstrap-servers", broker.bootstrap_servers, "--topic", world.topic
    example(f"produce_{client}", *where, lines="a,2024-01-01T00:00:00Z,\n")
    sent = [record for n in range(3) for record in asyncio.run(read(broker.bootstrap_servers, world.topic, n))]
    assert [(record.key, json.loads(record.value)) for record in sent] == [
        (b"a", {"value": None, "time": "2024-01-01T00:00:00Z"})
    ]


def test_both_producers_put_a_stream_into_the_same_partition(world: World) -> None:
    broker = world.broker
    lines = "".join(f"pump-{n},2024-01-01T00:00:00Z,1\n" for n in range(30))
    for client in CLIENTS:
        where = "--bootstrap-servers", broker.bootstrap_servers, "--topic", world.topic
        assert example(f"produce_{client}", *where, lines=lines) == ["30 records sent"]
    keys = [[r.key for r in asyncio.run(read(broker.bootstrap_servers, world.topic, n))] for n in range(3)]
    assert sum(len(set(each)) for each in keys) == 30
    assert sum(len(each) for each in keys) == 60
    assert all(keys)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_consumer_shows_what_was_committed_and_nothing_else(client: str, world: World) -> None:
    def line(time: int, mean: float | None) -> bytes:
        bounds = {"horizons": [1], "mean": [mean], "lower": [mean], "upper": [mean]}
        return json.dumps({"stream": "a", "time": time, **bounds, "anomaly": None}).encode()

    broker = world.broker.bootstrap_servers
    asyncio.run(write(broker, world.topic, [(b"a", line(0, 1.5))], transaction="first", commit=False))
    asyncio.run(
        write(broker, world.topic, [(b"a", line(0, None)), (b"a", line(1000, 2.5)), (b"a", None)], transaction="next")
    )
    told = example(f"consume_{client}", "--bootstrap-servers", broker, "--topic", world.topic, "--count", "3")
    assert told == [
        "a 1970-01-01T00:00:00+00:00 +1: None, None to None",
        "a 1970-01-01T00:00:01+00:00 +1: 2.5, 2.5 to 2.5",
        "a was forgotten",
    ]
