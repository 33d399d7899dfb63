"""Scripted disasters, each with the outcome that was promised for it."""

import json
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamrnn.service.demo import weather
from tests.chaos.world import World
from tests.kafka.broker import Broker
from tests.kafka.daemon import Daemon, get


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    made = World(broker, unique, tmp_path, poison=0.0)
    yield made
    made.worker.end()


def worked(world: World, records: int = 300) -> None:
    """The worker has forecast so many records and has stopped."""
    world.feed(records)
    world.worker.start()
    world.all_forecast()
    assert world.worker.stop() == 0


def test_without_its_state_topic_a_task_rebuilds_its_state_from_the_input_and_publishes_nothing_twice(
    world: World,
) -> None:
    worked(world)
    committed = world.offsets()[0]
    world.broker.delete_topic(world.state_topic)
    worked(world, 100)
    world.says(f"there is no state for the committed offset {committed}: rebuilding it from the input")
    # all of the input is less than an hour old, so that the state is what it was
    assert world.verdict().wrong == []


def test_a_state_topic_deleted_under_a_running_worker_is_made_anew(world: World) -> None:
    world.feed(200)
    world.worker.start()
    world.all_forecast()
    world.broker.delete_topic(world.state_topic)
    for _ in range(5):
        world.feed(50)
        time.sleep(1.0)
    world.all_forecast()
    world.until(lambda: world.state_topic in world.broker.topics(), "the state topic is not made anew")
    world.ready()
    assert world.worker.stop() == 0
    assert world.verdict().wrong == []


def test_input_that_expired_before_it_was_replayed_is_counted_and_the_rest_goes_on(world: World) -> None:
    world.feed(200)
    world.worker.start()
    world.all_forecast()
    world.worker.send(signal.SIGKILL)
    world.worker.wait()
    snapshot = world.stored_offset()
    world.feed(100)
    earliest = world.offsets()[2] - 50
    world.broker.delete_records(world.topic, 0, earliest)
    world.worker.start()
    world.all_forecast()
    world.says(f"{earliest - snapshot} offsets after the snapshot's {snapshot} are no longer in the log")
    assert world.worker.stop() == 0
    outcomes = world.outcomes()
    assert outcomes == sorted(set(outcomes)), "published twice"
    assert set(range(earliest, world.offsets()[2])) <= set(outcomes), "what was still there was lost"


def test_when_the_groups_offsets_have_expired_a_task_goes_on_at_its_snapshot_and_says_so(world: World) -> None:
    worked(world)
    snapshot = world.offsets()[2]
    world.broker.delete_group(str(world.settings["app_id"]))
    worked(world, 100)
    world.says(f"the group's offset is gone; going on at the snapshot's {snapshot}")
    # the last snapshot was that of a clean stop, so that nothing is published again
    assert world.verdict().wrong == []


def test_a_group_that_was_set_back_is_refused_until_the_state_is_dropped(world: World) -> None:
    worked(world)
    world.commit(100)
    world.worker.start()
    world.unready("the committed offset is 100, before the snapshot's")
    assert "streamrnn state drop" in world.readiness()[1]
    assert get(world.port, "/healthz")[0] == 200
    world.drop()
    world.ready()
    world.all_forecast()
    assert world.worker.stop() == 0
    assert world.outcomes()[300:] == list(range(100, world.offsets()[2])), "it does not begin where the group was set"


def test_an_old_offset_after_the_snapshot_is_refused_too_where_newer_forecasts_are_published(world: World) -> None:
    worked(world)
    world.worker = world.daemon(**{"state.snapshot_interval": "1h"})
    world.worker.start()
    world.ready()
    world.feed(200)
    world.all_forecast()
    world.worker.kill()
    time.sleep(4.0)  # until its session has ended: offsets of a group with members are not for others to set
    committed, snapshot = world.offsets()[0], world.stored_offset()
    assert committed is not None and snapshot < committed - 20
    world.commit(committed - 20)  # as a coordinator does that has lost the last commits in a crash
    world.worker.start()
    world.unready(
        f"the committed offset is {committed - 20}, before {committed}, up to where forecasts are published"
    )
    assert world.worker.stop() == 0
    world.commit(committed)
    world.worker.start()
    world.ready()
    world.feed(100)
    world.all_forecast()
    assert world.worker.stop() == 0
    assert world.verdict().wrong == []


def test_an_input_made_anew_is_refused_until_the_state_is_dropped(world: World) -> None:
    worked(world)
    before = world.offsets()[2]
    world.broker.delete_topic(world.topic)
    world.broker.create_topic(world.topic, 1)
    world.feed(100)
    world.worker.start()
    # with a topic the broker deletes the group's offsets of it
    world.unready(f"the snapshot's offset is {before}, the committed one is none, but the log ends at")
    assert "streamrnn state drop" in world.readiness()[1]
    world.drop()
    world.ready()
    world.all_forecast()
    assert world.worker.stop() == 0
    assert world.outcomes()[before:] == list(range(world.offsets()[2]))


def test_partitions_that_are_added_are_forecast_once_the_output_has_them_too(world: World) -> None:
    world.feed(100)
    world.worker.start()
    world.all_forecast()
    world.grow(2)
    world.unready(f"topic {world.topic}.forecast has 1 partitions, {world.topic} has 2")
    world.feed(100)
    world.all_forecast()  # of the partition that there was
    world.broker.add_partitions(f"{world.topic}.forecast", 2)
    world.feed(100)
    world.ready()
    world.until(world.committed_all, "the new partition is not forecast")
    assert world.worker.stop() == 0
    assert world.verdict().wrong == []


def test_a_disk_that_fills_up_loses_nothing_and_work_goes_on_when_there_is_room(tmp_path: Path) -> None:
    source, output = tmp_path / "input", tmp_path / "output"
    year = weather()
    with source.open("w") as file:
        for row in range(400):
            for column, name in enumerate(year.names):
                value = year.values[row, column]
                line = {"stream": name, "value": None if value != value else value, "time": int(year.times[row])}
                file.write(json.dumps(line) + "\n")
    records = 400 * len(year.names)
    settings: dict[str, object] = {
        "transport": "file",
        "file.input": source,
        "file.output": output,
        "file.state": tmp_path / "state",
        "http.port": 0,
    }
    worker = Daemon(tmp_path / "worker.log", settings)
    worker.start()
    # a limit on the size of a file is what a full disk is to the one who writes
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    deadline = time.monotonic() + 60
    while "File too large" not in worker.log.read_text():
        assert time.monotonic() < deadline, worker.log.read_text()
        time.sleep(0.1)
    assert worker.running
    time.sleep(2.0)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert worker.wait(120) == 0
    offsets = [json.loads(line)["offset"] for line in output.open()]
    assert offsets == list(range(records))
