"""The daemon as a user meets it: fed from a topic, asked over HTTP, stopped and started again."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import Daemon, get, status
from tests.kafka.plain_clients import read
from tests.kafka.world import World, until


@pytest.fixture
def world(broker: Broker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[World]:
    made = World(broker, unique, tmp_path)
    broker.create_topic(made.topic, 1)
    yield made
    made.worker.end()


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
    until(lambda: world.answers("/readyz") == 200)
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
    assert world.answers("/healthz") == 200


def test_on_the_anomalies_topic_are_the_forecasts_above_the_threshold_and_no_other(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    topic = unique("odd")
    world = World(broker, unique, tmp_path, anomalies__topic=topic, anomalies__threshold=0.9)
    broker.create_topic(world.topic, 1)
    world.write(*[(b"a", b"%d" % (1000 if i in (150, 190) else i % 7)) for i in range(200)], (b"a", None))
    world.worker.start()
    try:
        made = world.outputs(201)
        odd = [(record.key, record.value) for record in asyncio.run(read(broker.bootstrap_servers, topic))]
        assert odd == [(key, value) for key, value in made if value and (json.loads(value)["anomaly"] or 0) >= 0.9]
        assert 150 in [json.loads(value or b"")["offset"] for _, value in odd]
    finally:
        world.worker.end()


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


def test_a_missing_input_topic_ends_run_with_one_clear_line(world: World) -> None:
    world.settings["input.topic"] = "nobody-made-this"
    told = world.command("run")
    assert told.returncode == 1
    assert told.stderr.count("nobody-made-this") >= 1
    assert "Traceback" not in told.stderr


def test_without_a_broker_it_keeps_trying_says_why_and_does_not_flood_the_log(tmp_path: Path) -> None:
    port = free_port()
    settings = {"kafka.bootstrap_servers": f"127.0.0.1:{free_port()}", "http.port": port}
    worker = Daemon(tmp_path / "worker.log", settings)
    worker.start()
    try:
        until(lambda: worker.log.exists() and "trying again" in worker.log.read_text())
        time.sleep(5.0)
        assert get(port, "/healthz")[0] == 200
        status_code, reason = get(port, "/readyz")
        assert status_code == 503 and "127.0.0.1" in reason
        assert worker.log.read_text().count("trying again") == 1, "a line every 30 s is enough"
        assert len(worker.log.read_text().splitlines()) < 10
        assert worker.stop() == 0
    finally:
        worker.end()


def test_a_worker_whose_broker_goes_away_is_alive_and_not_ready_until_it_is_back(
    tmp_path: Path, unique: Callable[[str], str]
) -> None:
    broker = Broker(tmp_path / "own")
    broker.start()
    world = World(broker, unique, tmp_path, kafka__session_timeout="6s")
    broker.create_topic(world.topic, 1)
    world.worker.start()
    try:
        until(lambda: world.answers("/readyz") == 200)
        broker.freeze()
        went = time.monotonic()
        until(lambda: world.answers("/readyz") == 503)
        assert time.monotonic() - went < 30.0
        assert "no answer" in get(world.port, "/readyz")[1]
        assert get(world.port, "/healthz") == (200, "ok\n")
        assert status(world.port)["tasks"][0]["state"] == "running"
        broker.thaw()
        until(lambda: world.answers("/readyz") == 200)
        world.write((b"a", b"1"))
        assert len(world.outputs(1)) == 1
        assert world.worker.stop() == 0
    finally:
        world.worker.end()
        broker.kill()
