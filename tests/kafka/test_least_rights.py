"""With exactly the rights that docs/security.md lists the daemon works, without any one of them it says which."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from streamrnn.errors import FatalError
from streamrnn.service import assembly
from streamrnn.service.config import load_config
from streamrnn.service.settings import Config
from streamrnn.transport.contract import PartitionId
from tests.kafka.guarded import GROUP, PREFIXED, TOPIC, TRANSACTIONAL_ID, GuardedBroker, Right, password
from tests.kafka.plain_clients import read, write

USERS = [f"user{i}" for i in range(24)]
PATIENCE = 90.0
_user = count()


def rights(config: Config) -> list[Right]:
    """As docs/security.md has them, with every topic there already."""
    topic = config.input.topic
    assert config.anomalies.topic is not None
    return [
        Right("Read", TOPIC, topic),
        Right("Write", TOPIC, config.output.topic),
        Right("Read", TOPIC, config.output.topic),
        Right("Write", TOPIC, f"{topic}.dead-letter"),
        Right("Write", TOPIC, config.anomalies.topic),
        Right("Write", TOPIC, f"{config.app_id}-{topic}-state"),
        Right("Read", TOPIC, f"{config.app_id}-{topic}-state"),
        Right("Read", GROUP, config.app_id),
        Right("Write", TRANSACTIONAL_ID, f"{config.app_id}-{topic}-", PREFIXED),
    ]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    running = GuardedBroker(tmp_path_factory.mktemp("guarded"), USERS)
    running.start()
    yield running
    running.kill()


def prepared(guarded: GuardedBroker, unique: Callable[[str], str], *given: str) -> tuple[Config, str]:
    """An application whose topics are all there, with records in its input, and a user without rights."""
    user, topic = USERS[next(_user)], unique("sensors")
    config = load_config(
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
    )  # fmt: skip
    for name in (topic, f"{topic}.forecast", f"{topic}.dead-letter", f"{topic}.anomalies"):
        guarded.create_topic(name)
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
    right = given.pop(missing)
    guarded.allow(user, given)
    with pytest.raises(FatalError) as raised:
        lived(guarded, config)
    kind = {TOPIC: "topic", GROUP: "group", TRANSACTIONAL_ID: "transactional id"}[right.kind]
    assert f"{right.operation} on {kind} {right.name}" in str(raised.value)


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
