"""With exactly the rights that docs/security.md lists the daemon works, without any one of them it says which."""

import asyncio
import re
import shlex
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import pytest

from streamrnn.errors import FatalError
from streamrnn.service import assembly
from streamrnn.service.config import load_config
from streamrnn.service.produce import produce
from streamrnn.service.settings import Config
from streamrnn.transport.contract import PartitionId
from streamrnn.transport.csv_table import read_csv
from streamrnn.transport.kafka_topics import prepare_topics
from tests.kafka.daemon import ROOT
from tests.kafka.guarded import GROUP, LITERAL, PREFIXED, TOPIC, TRANSACTIONAL_ID, GuardedBroker, Right, password
from tests.kafka.plain_clients import read, write

USERS = [f"user{i}" for i in range(24)]
PATIENCE = 90.0
DOCUMENT = ROOT / "docs" / "security.md"
ROW = re.compile(r"^\| (\w+) \| (topic|group|transactional id)(, prefixed)? `([^`]+)`", re.MULTILINE)
KINDS = {"topic": TOPIC, "group": GROUP, "transactional id": TRANSACTIONAL_ID}
_user = count()


def rights(config: Config) -> list[Right]:
    """The table of docs/security.md, with every topic there already."""
    topic, state = config.input.topic, f"{config.app_id}-{config.input.topic}-state"
    names = {
        "I": topic,
        "output.topic": config.output.topic,
        "I.dead-letter": f"{topic}.dead-letter",
        "anomalies.topic": f"{topic}.anomalies",
        "A-I-state": state,
        "A": config.app_id,
        "A-I-": f"{config.app_id}-{topic}-",
    }
    return [
        Right(operation, KINDS[kind], names[name], PREFIXED if prefixed else LITERAL)
        for operation, kind, prefixed, name in ROW.findall(DOCUMENT.read_text())
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    running = GuardedBroker(tmp_path_factory.mktemp("guarded"), USERS)
    running.start()
    yield running
    running.kill()


def application(guarded: GuardedBroker, unique: Callable[[str], str], *given: str) -> tuple[Config, str]:
    """One that has an input, and a user without rights."""
    user, topic = USERS[next(_user)], unique("sensors")
    guarded.create_topic(topic)
    return load_config(
        None,
        [
            f"app_id={unique('app')}", f"input.topic={topic}", f"output.topic={topic}.forecast",
            f"anomalies={{topic: {topic}.anomalies, threshold: 0.5}}", "http.port=0", "model.hidden=4",
            f"kafka.bootstrap_servers=127.0.0.1:{guarded.ports['SASL_PLAINTEXT']}",
            "kafka.security={protocol: SASL_PLAINTEXT, mechanism: PLAIN, "
            f"username: {user}, password: {password(user)}}}",
            *given,
        ],
        {},
    ), user  # fmt: skip


def prepared(guarded: GuardedBroker, unique: Callable[[str], str], *given: str) -> tuple[Config, str]:
    """An application whose topics are all there, with records in its input."""
    config, user = application(guarded, unique, *given)
    topic = config.input.topic
    for kind in ("forecast", "dead-letter", "anomalies"):
        guarded.create_topic(f"{topic}.{kind}")
    guarded.create_topic(f"{config.app_id}-{topic}-state", configs={"cleanup.policy": "compact"})
    lines = [(b"a", b"%d" % (1000 if i == 150 else i % 7)) for i in range(200)]
    asyncio.run(write(guarded.bootstrap_servers, topic, [(b"a", b"no number"), *lines]))
    asyncio.run(write(guarded.bootstrap_servers, config.output.topic, [(b"a", b"older")]))  # of other times
    return config, user


def lived(guarded: GuardedBroker, config: Config) -> tuple[int, int, int]:
    """Run a worker until all is forecast; how many forecasts, dead letters and anomalies there are then."""
    topic = config.input.topic

    async def seen(suffix: str) -> int:
        return len(await read(guarded.bootstrap_servers, f"{topic}.{suffix}"))

    async def live() -> tuple[int, int, int]:
        worker = assembly.worker(config, http=False)
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(PATIENCE):
            while not running.done() and await seen("forecast") < 201:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            worker._stop.set()
            await running
        return await seen("forecast"), await seen("dead-letter"), await seen("anomalies")

    return asyncio.run(live())


def test_with_exactly_the_rights_of_the_list_it_works(guarded: GuardedBroker, unique: Callable[[str], str]) -> None:
    config, user = prepared(guarded, unique)
    guarded.allow(user, rights(config))
    forecasts, letters, anomalies = lived(guarded, config)
    assert (forecasts, letters) == (201, 1)
    assert anomalies > 0


@pytest.mark.parametrize("missing", range(9))
def test_without_any_one_of_them_the_error_names_it(
    guarded: GuardedBroker, unique: Callable[[str], str], missing: int
) -> None:
    config, user = prepared(guarded, unique)
    given = rights(config)
    assert len(given) == 9
    right = given.pop(missing)
    guarded.allow(user, given)
    with pytest.raises(FatalError) as raised:
        lived(guarded, config)
    kind = {number: kind for kind, number in KINDS.items()}[right.kind]
    assert f"{right.operation} on {kind} {right.name}" in str(raised.value)


def test_the_commands_of_the_document_give_the_rights_of_its_table() -> None:
    given = set()
    for command in re.findall(r"^    kafka-acls\.sh ((?:.*\\\n)*.*)", DOCUMENT.read_text(), re.MULTILINE):
        words = shlex.split(command.replace("\\\n", ""))
        options = list(pairwise(words))
        (operation,) = [value for name, value in options if name == "--operation"]
        pattern = PREFIXED if ("--resource-pattern-type", "prefixed") in options else LITERAL
        for name, value in options:
            if kind := KINDS.get(name.removeprefix("--").replace("-", " ")):
                given.add(Right(operation, kind, value, pattern))
    named = load_config(None, ["app_id=streamrnn", "input.topic=sensors", "output.topic=sensors.forecast"], {})
    assert given == {right for right in rights(named) if not right.name.endswith(".anomalies")}


def test_with_create_and_alter_besides_the_first_start_makes_the_topics_and_the_state_grows_with_the_input(
    guarded: GuardedBroker, unique: Callable[[str], str]
) -> None:
    config, user = application(guarded, unique)
    settings = assembly.kafka_settings(config)
    guarded.allow(user, rights(config))
    for name in (f"{settings.input_topic}.forecast", f"{settings.input_topic}.anomalies"):
        with pytest.raises(FatalError, match=f"needs the right Create on topic {name}, or: kafka-topics"):
            asyncio.run(prepare_topics(settings))
        guarded.allow(user, [Right("Create", TOPIC, name)])
    guarded.allow(
        user, [Right("Create", TOPIC, settings.dead_letter_topic), Right("Create", TOPIC, settings.state_topic)]
    )
    assert asyncio.run(prepare_topics(settings)).state_partitions == 1

    guarded.add_partitions(settings.input_topic, 2)
    with pytest.raises(FatalError, match=f"needs the right Alter on topic {settings.state_topic}"):
        asyncio.run(prepare_topics(settings))
    guarded.allow(user, [Right("Alter", TOPIC, settings.state_topic)])
    assert asyncio.run(prepare_topics(settings)).state_partitions == 2


def test_state_is_dropped_with_what_run_needs(guarded: GuardedBroker, unique: Callable[[str], str]) -> None:
    config, user = prepared(guarded, unique)
    guarded.allow(user, rights(config))
    lived(guarded, config)

    async def dropped() -> bool:
        store = assembly.state_store(config)
        (partition,) = await store.partitions()
        return await store.drop(partition)

    assert asyncio.run(dropped())


def test_a_table_is_produced_with_write_on_the_input_and_nothing_else(
    guarded: GuardedBroker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    config, user = application(guarded, unique)
    file = tmp_path / "table.csv"
    file.write_text("time,a\n2024-01-01 00:00,1\n2024-01-01 01:00,2\n")

    async def produced() -> int:
        return await produce(
            assembly.kafka_settings(config), read_csv(file, None),
            stem="table", multivariate=False, speed=None, on_rows=lambda _: None,
        )  # fmt: skip

    with pytest.raises(FatalError, match=f"needs the right Write on topic {config.input.topic}"):
        asyncio.run(produced())
    guarded.allow(user, [Right("Write", TOPIC, config.input.topic)])
    assert asyncio.run(produced()) == 2


@pytest.mark.parametrize("missing", [None, "input", "output"])
def test_tail_needs_to_read_both_topics_and_nothing_else(
    guarded: GuardedBroker, unique: Callable[[str], str], missing: str | None
) -> None:
    config, user = prepared(guarded, unique)
    topics = {"input": config.input.topic, "output": config.output.topic}
    guarded.allow(user, [Right("Read", TOPIC, name) for what, name in topics.items() if what != missing])

    async def look() -> list[PartitionId]:
        tap = assembly.tap(config)
        try:
            await tap.start(None)
            async with asyncio.timeout(PATIENCE):
                while not tap.caught_up:
                    found = list(await tap.outputs(0.5))
            await tap.inputs(PartitionId(config.input.topic, 0), 0)
            return found
        finally:
            await tap.stop()

    if missing is None:
        assert asyncio.run(look()) == [PartitionId(config.input.topic, 0)]
        return
    with pytest.raises(FatalError, match=f"Read.* on topic {topics[missing]}"):
        asyncio.run(look())
