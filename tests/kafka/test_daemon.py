"""The daemon as a user meets it: fed from a topic, asked over HTTP, stopped and started again."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import ROOT, Daemon, get, status
from tests.kafka.plain_clients import read, write

PATIENCE = 60.0


class World:
    """A topic of one partition, a worker on it, and what comes out."""

    def __init__(self, broker: Broker, unique: Callable[[str], str], folder: Path) -> None:
        self.broker, self.topic, self.port = broker, unique("sensors"), free_port()
        self.settings: dict[str, object] = {
            "app_id": unique("daemon"),
            "kafka.bootstrap_servers": broker.bootstrap_servers,
            "input.topic": self.topic,
            "output.topic": f"{self.topic}.forecast",
            "http.port": self.port,
        }
        self.worker = Daemon(folder / "worker.log", self.settings)
        self.log = folder / "worker.log"

    def write(self, *records: tuple[bytes | None, bytes | None]) -> None:
        asyncio.run(write(self.broker.bootstrap_servers, self.topic, records))

    def outputs(self, number: int, suffix: str = "forecast") -> list[tuple[bytes, bytes | None]]:
        """The output's records, when there are so many (or patience is over)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = asyncio.run(read(self.broker.bootstrap_servers, f"{self.topic}.{suffix}"))
            if len(found) >= number or time.monotonic() > deadline:
                return [(record.key, record.value) for record in found]
            time.sleep(0.2)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        sets = [f"--set={key}={value}" for key, value in self.settings.items()]
        command = [sys.executable, "-m", "streamrnn", words[0], "-c", "config/streamrnn.yaml", *sets, *words[1:]]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    made = World(broker, unique, tmp_path)
    broker.create_topic(made.topic, 1)
    yield made
    made.worker.end()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def answers(world: World, path: str) -> int:
    try:
        return get(world.port, path)[0]
    except OSError:
        return 0


def test_poison_goes_to_the_dead_letters_with_its_reason_and_the_rest_is_forecast(world: World) -> None:
    world.write(
        (b"a", b"1.5"),
        (b"a", b"not json"),
        (b"a", b'{"values": [1, 2, 3]}'),
        (None, b'{"value": 1}'),
        (b"b", b'{"value": 2}'),
        (b"a", None),
        (b"a", b'{"value": 7}'),
    )
    world.worker.start()
    made = world.outputs(4)
    assert [key for key, _ in made] == [b"a", b"b", b"a", b"a"]
    assert made[2][1] is None
    assert [json.loads(value or b"")["mean"] for _, value in (made[0], made[1], made[3])] == [[1.5], [2.0], [7.0]]
    letters = asyncio.run(read(world.broker.bootstrap_servers, f"{world.topic}.dead-letter"))
    told = [{name: value.decode() for name, value in letter.headers} for letter in letters]
    assert [letter.value for letter in letters] == [b"not json", b'{"values": [1, 2, 3]}', b'{"value": 1}']
    assert [headers["__streamrnn.errors.offset"] for headers in told] == ["1", "2", "3"]
    assert [headers["__streamrnn.errors.stage"] for headers in told] == ["decode", "validate", "validate"]
    assert "input.features is 1" in told[1]["__streamrnn.errors.exception.message"]
    until(lambda: answers(world, "/readyz") == 200)
    metrics = {
        (sample.name, sample.labels.get("stage")): sample.value
        for family in text_string_to_metric_families(get(world.port, "/metrics")[1])
        for sample in family.samples
    }
    assert metrics["streamrnn_dead_letters_total", "decode"] == 1
    assert metrics["streamrnn_dead_letters_total", "validate"] == 2
    assert metrics["streamrnn_records_consumed_total", None] == 7


def test_after_sigterm_and_a_new_start_nothing_is_repeated_and_the_state_is_there(world: World) -> None:
    world.write(*[(b"a", b"%d" % i) for i in range(100)])
    world.worker.start()
    assert len(world.outputs(100)) == 100
    began = time.monotonic()
    assert world.worker.stop() == 0
    assert time.monotonic() - began < 10.0
    world.write(*[(b"a", b"%d" % i) for i in range(100, 110)])
    world.worker.start()
    made = [json.loads(value or b"") for _, value in world.outputs(110)]
    assert [line["offset"] for line in made] == list(range(110))
    assert made[-1]["model"] > made[99]["model"] > 0
    assert abs(made[-1]["mean"][0] - 110) < 0.5  # the ramp that the first life has learnt
    assert "replayed" not in world.log.read_text()  # a snapshot was written at the end of the first life


def test_the_status_tells_where_each_task_is(world: World) -> None:
    world.write((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))
    world.worker.start()
    world.outputs(3)
    until(lambda: status(world.port)["tasks"][0]["committed"] == 3)
    (task,) = status(world.port)["tasks"]
    assert list(task) == ["topic", "partition", "state", "position", "committed", "snapshot", "lag", "streams"]
    assert (task["topic"], task["partition"], task["state"]) == (world.topic, 0, "running")
    assert (task["position"], task["streams"]) == (3, 2)
    assert answers(world, "/healthz") == 200


def test_a_table_is_produced_into_the_topic_and_forecast(world: World, tmp_path: Path) -> None:
    table = tmp_path / "two.csv"
    table.write_text("time,a,b\n2024-01-01 00:00,1,2\n2024-01-01 01:00,3,\n")
    told = world.command("produce", str(table))
    assert told.returncode == 0, told.stderr
    assert "4 records sent" in told.stdout
    world.worker.start()
    made = [json.loads(value or b"") for _, value in world.outputs(4)]
    assert [line["stream"] for line in made] == ["a", "b", "a", "b"]
    assert [line["mean"] for line in made] == [[1.0], [2.0], [3.0], [2.0]]
    assert made[0]["time"] == 1_704_067_200_000


def test_check_reaches_the_broker_and_says_what_it_found(world: World) -> None:
    told = world.command("check")
    assert told.returncode == 0, told.stderr
    assert f"{world.topic} has 1 partitions" in told.stdout


def test_a_missing_input_topic_ends_run_with_one_clear_line(world: World) -> None:
    world.settings["input.topic"] = "nobody-made-this"
    told = world.command("run")
    assert told.returncode == 1
    assert told.stderr.count("nobody-made-this") >= 1
    assert "Traceback" not in told.stderr
