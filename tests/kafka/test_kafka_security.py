"""A broker that lets only some users in, and only some of those near our topics."""

import asyncio
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamrnn.engine.snapshot import SnapshotPages
from streamrnn.errors import FatalError
from streamrnn.transport.contract import AssignmentListener, EncodedBatch, PartitionId
from streamrnn.transport.kafka import KafkaSecurity, KafkaSettings, KafkaTransport
from tests.kafka.broker import Broker
from tests.kafka.daemon import Daemon
from tests.kafka.plain_clients import read


class Anything(AssignmentListener):
    async def revoked(self, partitions: frozenset[PartitionId]) -> None: ...

    def assigned(self, partitions: frozenset[PartitionId]) -> None: ...


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Alice may do everything, Bob may come in."""
    running = Broker(
        tmp_path_factory.mktemp("guarded"),
        users={"alice": "wonder-land", "bob": "builder"},
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:alice",  # nobody has to say who they are at the other listener
        },
    )
    running.start()
    yield running
    running.kill()


@pytest.fixture
def secured(settings: KafkaSettings, guarded: Broker) -> KafkaSettings:
    security = KafkaSecurity("SASL_PLAINTEXT", "SCRAM-SHA-256", "alice", "wonder-land")
    return replace(settings, bootstrap_servers=f"127.0.0.1:{guarded.sasl_port}", security=security)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_user_with_the_right_password_works_as_anyone_does(
    guarded: Broker, secured: KafkaSettings, mechanism: str
) -> None:
    async def scenario() -> None:
        guarded.create_topic(secured.input_topic)
        settings = replace(secured, security=replace(secured.security, mechanism=mechanism))
        transport = KafkaTransport(settings)
        partition = transport.partition(PartitionId(settings.input_topic, 0))
        try:
            await transport.start(Anything())
            await partition.fence()
            await partition.commit([EncodedBatch([b"a"], [b"{}"], [1])], [], 1)
            await partition.save(SnapshotPages(1, b"header"))
            assert await partition.restore() is not None
            assert (await partition.offsets()).committed == 1
        finally:
            await partition.close()
            await transport.stop()
        assert len(await read(guarded.bootstrap_servers, settings.output_topic)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_a_wrong_password_is_refused_for_good_and_not_repeated(
    secured: KafkaSettings, mechanism: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    wrong = replace(secured.security, mechanism=mechanism, password="looking-glass")
    with pytest.raises(FatalError, match="SaslAuthenticationFailed") as raised:
        asyncio.run(KafkaTransport(replace(secured, security=wrong)).start(Anything()))
    told = "".join(traceback.format_exception(raised.value))
    assert "Traceback" in told
    assert "looking-glass" not in told + caplog.text + repr(wrong)


def test_an_unknown_mechanism_is_refused_for_good(secured: KafkaSettings) -> None:
    other = replace(secured.security, mechanism="SCRAM-SHA-512")
    with pytest.raises(FatalError, match="UnsupportedSaslMechanism"):
        asyncio.run(KafkaTransport(replace(secured, security=other)).start(Anything()))


def test_a_user_without_rights_on_the_input_is_refused_for_good(guarded: Broker, secured: KafkaSettings) -> None:
    guarded.create_topic(secured.input_topic)
    bob = replace(secured.security, username="bob", password="builder")
    with pytest.raises(
        FatalError, match=f"TopicAuthorizationFailed.*{secured.input_topic}|{secured.input_topic}.*Auth"
    ):
        asyncio.run(KafkaTransport(replace(secured, security=bob)).start(Anything()))


def test_a_certificate_that_cannot_be_read_is_named(secured: KafkaSettings, tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    security = KafkaSecurity("SSL", ca_file=str(missing))
    with pytest.raises(FatalError, match=str(missing)):
        asyncio.run(KafkaTransport(replace(secured, security=security)).start(Anything()))


def test_the_daemon_ends_at_a_refused_password_with_1_and_one_clear_line(
    secured: KafkaSettings, tmp_path: Path
) -> None:
    settings = {
        "kafka.bootstrap_servers": secured.bootstrap_servers,
        "kafka.security.protocol": "SASL_PLAINTEXT",
        "kafka.security.mechanism": "PLAIN",
        "kafka.security.username": secured.security.username,
        "kafka.security.password": "looking-glass",
        "http.port": 0,
        "log.level": "warning",
    }
    worker = Daemon(tmp_path / "worker.log", settings)
    worker.start()
    assert worker.wait(30) == 1
    warning, line = worker.log.read_text().splitlines()
    assert "in the clear" in warning
    assert "SaslAuthenticationFailed" in line and secured.bootstrap_servers in line
    assert "looking-glass" not in line
