"""`streamrnn tail` and `streamrnn check` against a real broker, beside real workers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kafka.broker import Broker
from tests.kafka.daemon import ROOT
from tests.kafka.world import World, until


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    """Two partitions, and horizons 1 and 3."""
    made = World(broker, unique, tmp_path, forecast__horizons="[1, 3]")
    broker.create_topic(made.topic, 2)
    yield made
    made.worker.end()


def feed(world: World, first: int, end: int) -> None:
    """Records first .. end of both partitions, one stream each."""
    for partition, stream in enumerate((b"a", b"b")):
        values = [(stream, b'{"value": %d, "time": %d}' % (i % 7, i * 60_000)) for i in range(first, end)]
        world.write(*values, partition=partition)


def forecast(world: World, number: int) -> None:
    """Start the worker; return when so many records of each partition are forecast."""
    world.worker.start()
    until(lambda: world.answers("/readyz") == 200)
    for partition in range(2):
        assert len(world.outputs(number, partition=partition)) == number


def cells(said: str, stream: str) -> list[list[str]]:
    """The lines of a stream, cell by cell."""
    return [line.split() for line in said.splitlines() if line.split()[1] == stream]


def beside(world: World, partition: int, number: int) -> list[tuple[str, str, float, float]]:
    """Time, horizon, mean and value of each line to expect of a partition with so many records."""
    made = [json.loads(value or b"") for _, value in world.outputs(number, partition=partition)]
    return [
        (f"1970-01-01T{i // 60:02}:{i % 60:02}:00Z", f"+{h}", made[i - h]["mean"][p], float(i % 7))
        for i in range(number)
        for p, h in enumerate((1, 3))
        if i >= h
    ]


def test_every_value_stands_beside_its_forecasts_and_the_group_takes_no_notice(world: World) -> None:
    feed(world, 0, 60)
    world.write((b"a", b"not json"), partition=0)
    forecast(world, 60)
    told = world.command("tail", "--from-beginning", "--no-follow")
    assert (told.returncode, told.stderr) == (0, "")
    for partition, stream in enumerate("ab"):
        lines, expected = cells(told.stdout, stream), beside(world, partition, 60)
        assert [(line[0], line[2], float(line[5])) for line in lines] == [
            (moment, ahead, value) for moment, ahead, _, value in expected
        ]
        assert [float(line[3]) for line in lines] == pytest.approx([mean for *_, mean, _ in expected], abs=0.5)
    log = world.log.read_text()
    assert log.count("→ running") == 2 and "held" not in log
    last = world.command("tail", "--no-follow", "--stream", "b")
    assert last.stdout.splitlines() == [line for line in told.stdout.splitlines() if line.split()[1] == "b"][-10:]


def test_lines_come_as_records_are_forecast(world: World, tmp_path: Path) -> None:
    feed(world, 0, 20)
    forecast(world, 20)
    sets = [f"--set={key}={value}" for key, value in world.settings.items()]
    command = [sys.executable, "-m", "streamrnn", "tail", "-c", "config/streamrnn.yaml", "--count", "30", *sets]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
    try:
        until(lambda: len((tmp_path / "said").read_text().splitlines()) == 10)
        feed(world, 20, 25)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    lines = (tmp_path / "said").read_text().splitlines()[10:]
    for stream in "ab":
        found = [(line[0], line[2], float(line[5])) for line in cells("\n".join(lines), stream)]
        assert found == [(f"1970-01-01T00:{i}:00Z", f"+{h}", float(i % 7)) for i in range(20, 25) for h in (1, 3)]


def test_where_nobody_has_forecast_yet_it_is_1_with_one_line_and_makes_no_topic(world: World) -> None:
    told = world.command("tail")
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"streamrnn: topic {world.topic}.forecast does not exist at ")
    assert len(told.stderr.splitlines()) == 1
    assert f"{world.topic}.forecast" not in world.broker.topics()


def test_a_broker_that_goes_away_ends_it_with_1_and_one_line(tmp_path: Path, unique: Callable[[str], str]) -> None:
    broker = Broker(tmp_path / "own")
    broker.start()
    world = World(broker, unique, tmp_path)
    broker.create_topic(world.topic, 1)
    broker.create_topic(f"{world.topic}.forecast", 1)
    sets = [f"--set={key}={value}" for key, value in world.settings.items()]
    command = [sys.executable, "-m", "streamrnn", "tail", "-c", "config/streamrnn.yaml", *sets]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=8)
        broker.kill()
        said, complained = process.communicate(timeout=90)
        assert (process.returncode, said) == (1, "")
        assert complained.startswith(f"streamrnn: topic {world.topic}.forecast could not be read: ")
        assert len(complained.splitlines()) == 1
        told = world.command("tail")
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.startswith("streamrnn: Kafka at 127.0.0.1:")
        assert len(told.stderr.splitlines()) == 1
    finally:
        process.kill()
        process.wait()
        broker.kill()


def test_check_tells_what_is_there_and_what_will_be_created_and_creates_nothing(world: World) -> None:
    state = f"{world.settings['app_id']}-{world.topic}-state"
    world.broker.create_topic(state, 1, configs={"cleanup.policy": "compact"})
    before = set(world.broker.topics())
    told = world.command("check")
    assert (told.returncode, told.stderr) == (0, "")
    found = [line.split(maxsplit=2) for line in told.stdout.partition("What there is\n")[2].splitlines()]
    rows = {" ".join(row): None for row in found}
    assert any(row.startswith(f"records {world.topic} 2 partitions") for row in rows)
    assert any(row.startswith(f"forecasts {world.topic}.forecast will be created with 2 partitions") for row in rows)
    assert any("1 partition, will grow to 2" in row for row in rows)
    assert "One worker that has all 2 partitions" in told.stdout
    assert set(world.broker.topics()) == before


def test_check_is_1_where_the_output_has_too_few_partitions(world: World) -> None:
    world.broker.create_topic(f"{world.topic}.forecast", 1)
    told = world.command("check")
    assert told.returncode == 1
    assert "has 1 partitions" in told.stderr and "kafka-topics.sh --alter" in told.stderr
