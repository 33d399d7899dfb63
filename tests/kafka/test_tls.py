"""TLS with an authority of our own, with users and with certificates; and that no secret is ever shown."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamrnn.errors import FatalError, TransportError
from streamrnn.transport.contract import EncodedBatch, PartitionId
from streamrnn.transport.kafka import KafkaSecurity, KafkaSettings, KafkaTransport
from streamrnn.transport.kafka_connection import knock
from tests.kafka.broker import free_port
from tests.kafka.daemon import Daemon, get
from tests.kafka.guarded import (
    GROUP,
    MECHANISMS,
    PREFIXED,
    TOPIC,
    TRANSACTIONAL_ID,
    Certificates,
    GuardedBroker,
    Right,
    password,
)
from tests.kafka.plain_clients import read, write
from tests.kafka.test_kafka_security import Anything
from tests.kafka.world import until


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    running = GuardedBroker(tmp_path_factory.mktemp("guarded"), ["alice"])
    running.start()
    for user in ("alice", "carol"):
        kinds = ((TOPIC, "Read"), (TOPIC, "Write"), (TOPIC, "Create"), (TOPIC, "DescribeConfigs"), (GROUP, "Read"))
        given = [Right(operation, kind, name, PREFIXED) for kind, operation in kinds for name in ("app", "sensors")]
        running.allow(user, [*given, Right("Write", TRANSACTIONAL_ID, "app", PREFIXED)])
    yield running
    running.kill()


def works(guarded: GuardedBroker, settings: KafkaSettings) -> None:
    """A life as any other."""

    async def scenario() -> None:
        guarded.create_topic(settings.input_topic)
        transport = KafkaTransport(settings)
        partition = transport.partition(PartitionId(settings.input_topic, 0))
        try:
            await transport.start(Anything())
            await partition.fence()
            await partition.commit([EncodedBatch([b"a"], [b"{}"], [1])], [], 1)
            assert (await partition.offsets()).committed == 1
        finally:
            await partition.close()
            await transport.stop()
        assert len(await read(guarded.bootstrap_servers, settings.output_topic)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_users_sign_on_with_every_mechanism_in_the_clear_and_over_tls(
    guarded: GuardedBroker, settings: KafkaSettings, protocol: str, mechanism: str
) -> None:
    ca_file = str(guarded.certificates.authority) if protocol == "SASL_SSL" else None
    security = KafkaSecurity(protocol, mechanism, "alice", password("alice"), ca_file)
    servers = f"127.0.0.1:{guarded.ports[protocol]}"
    works(guarded, replace(settings, bootstrap_servers=servers, security=security))


def test_a_certificate_is_a_user_too(guarded: GuardedBroker, settings: KafkaSettings) -> None:
    certificate, key = map(str, guarded.certificates.signed("carol"))
    authority, servers = str(guarded.certificates.authority), f"127.0.0.1:{guarded.ports['SSL']}"
    security = KafkaSecurity("SSL", ca_file=authority, cert_file=certificate, key_file=key)
    works(guarded, replace(settings, bootstrap_servers=servers, security=security))
    stranger, its_key = map(str, Certificates(guarded.folder / "others").signed("carol"))
    for cert_file, key_file in ((None, None), (stranger, its_key)):
        refused = replace(security, cert_file=cert_file, key_file=key_file)
        with pytest.raises(TransportError, match=f"{servers}.*kafka.security.cert_file"):
            asyncio.run(knock(replace(settings, bootstrap_servers=servers, security=refused)))


def test_a_broker_that_another_authority_has_signed_is_refused_for_good(
    guarded: GuardedBroker, settings: KafkaSettings, tmp_path: Path
) -> None:
    other = Certificates(tmp_path)
    security = KafkaSecurity("SASL_SSL", "PLAIN", "alice", password("alice"), str(other.authority))
    with pytest.raises(FatalError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(
            knock(replace(settings, bootstrap_servers=f"127.0.0.1:{guarded.ports['SASL_SSL']}", security=security))
        )


@pytest.mark.parametrize("mechanism", MECHANISMS[:2])
def test_no_secret_is_in_the_log_at_debug_level_in_the_endpoints_or_in_what_check_shows(
    guarded: GuardedBroker, unique: Callable[[str], str], tmp_path: Path, mechanism: str
) -> None:
    topic, port = unique("sensors"), free_port()
    guarded.create_topic(topic)
    secrets = [password("alice"), "token-of-mine"]
    settings: dict[str, object] = {
        "app_id": unique("app"),
        "input.topic": topic,
        "output.topic": f"{topic}.forecast",
        "kafka.bootstrap_servers": f"127.0.0.1:{guarded.ports['SASL_SSL']}",
        "kafka.security": f"{{protocol: SASL_SSL, mechanism: {mechanism}, username: alice, "
        f"password: {secrets[0]}, ca_file: {guarded.certificates.authority}}}",
        "http": f"{{port: {port}, token: {secrets[1]}}}",
        "log.level": "debug",
    }
    worker = Daemon(tmp_path / "worker.log", settings)
    worker.start()
    try:
        asyncio.run(write(guarded.bootstrap_servers, topic, [(b"a", b"1"), (b"a", b"{")]))

        def ready() -> bool:
            try:
                return get(port, "/readyz") == (200, "ok\n")
            except OSError:
                return False

        until(ready)
        assert get(port, "/status")[0] == get(port, "/metrics")[0] == 401
        told = [get(port, path, secrets[1]) for path in ("/status", "/metrics", "/healthz", "/readyz")]
        assert [status for status, _ in told] == [200] * 4
        assert json.loads(told[0][1])["tasks"]
        assert worker.stop() == 0
    finally:
        worker.end()
    check = Daemon(tmp_path / "check.log", settings, command="check")
    check.start()
    assert check.wait(60) == 0
    log = worker.log.read_text()
    assert " debug " in log and "Authenticated as alice" in log
    shown = [log, check.log.read_text(), *(text for _, text in told)]
    for secret in secrets:
        assert [text for text in shown if secret in text] == []
