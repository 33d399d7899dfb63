"""How a Kafka cluster is reached, what its refusals mean, and how to hang up on it whatever its state."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, ProducerClosed
from aiokafka.helpers import create_ssl_context

from streamrnn.errors import FatalError, TransportError

log = logging.getLogger("streamrnn.transport.kafka")

CONNECT_TIMEOUT = 10.0  # seconds, for one broker
REQUEST_TIMEOUT = 30.0  # seconds, for anything that has no limit of its own
HANG_UP_TIMEOUT = 2.0

# What no later attempt mends: an operator has to.
REFUSALS: tuple[type[Exception], ...] = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.AuthenticationFailedError,
    kafka_errors.AuthenticationMethodNotSupported,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.InvalidTransactionTimeout,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidTopicError,
    kafka_errors.UnsupportedCodecError,
    ssl.SSLCertVerificationError,
)
HINTS: dict[type[Exception], str] = {
    kafka_errors.InvalidTransactionTimeout: (
        "the broker's transaction.max.timeout.ms must allow kafka.transaction_timeout and 10 minutes for a snapshot"
    ),
    kafka_errors.InvalidSessionTimeoutError: (
        "kafka.session_timeout must lie between the broker's group.min.session.timeout.ms and "
        "group.max.session.timeout.ms"
    ),
    kafka_errors.InconsistentGroupProtocolError: "app_id is also the group of another program: choose another one",
    kafka_errors.UnsupportedCodecError: "the input is compressed with snappy, lz4 or zstd: install cramjam",
}


_CLOSED = " (if it asks for certificates: is kafka.security.cert_file set, and signed by whom it trusts?)"


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Who we are and whom we trust: `kafka.security` of the configuration."""

    protocol: str = "PLAINTEXT"  # PLAINTEXT | SSL | SASL_PLAINTEXT | SASL_SSL
    mechanism: str | None = None  # PLAIN | SCRAM-SHA-256 | SCRAM-SHA-512
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """All that the Kafka transport is told. Durations in seconds."""

    app_id: str
    bootstrap_servers: str
    input_topic: str
    output_topic: str
    dead_letter_topic: str
    anomaly_topic: str | None = None  # None: they have no topic of their own
    delivery: str = "exactly_once"  # exactly_once | at_least_once
    session_timeout: float = 10.0
    rebalance_timeout: float = 30.0  # how long `AssignmentListener.revoked` may take
    transaction_timeout: float = 10.0  # also the limit of one commit
    group_instance_id: str | None = None
    fetch_bytes: int = 1 << 20  # of one partition in one fetch; a larger record still comes
    security: KafkaSecurity = KafkaSecurity()

    @property
    def state_topic(self) -> str:
        return f"{self.app_id}-{self.input_topic}-state"

    @property
    def exactly_once(self) -> bool:
        return self.delivery == "exactly_once"

    def transactional_id(self, partition: int) -> str:
        return f"{self.app_id}-{self.input_topic}-{partition}"

    def snapshot_transactional_id(self, partition: int) -> str:
        return f"{self.transactional_id(partition)}-snapshot"


def refusal(what: str, error: BaseException, needs: str = "") -> FatalError | TransportError:
    """The error to raise for `error`, which came while doing `what`: fatal where trying again is useless.

    needs: the right on a topic without which this is refused, such as "Read on topic sensors".
    """
    if isinstance(error, FatalError | TransportError):
        return error
    if type(error) is KafkaError and isinstance(error.__cause__, REFUSALS):
        error = error.__cause__  # what ends a producer's sender comes without a name (aiokafka 0.14)
    if isinstance(error, TimeoutError):
        return TransportError(f"{what}: no answer from Kafka in time")
    message = f"{what}: {error if isinstance(error, KafkaError) else repr(error)}"
    if isinstance(error, REFUSALS) or (isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")):
        hint = HINTS.get(type(error)) or _missing_right(error, needs)
        return FatalError(f"{message}. {hint[0].upper()}{hint[1:]}." if hint else message)
    return TransportError(message)


def _missing_right(error: BaseException, needs: str) -> str:
    """What to allow, where that is what is wrong. The client says for what, not which right."""
    if isinstance(error, kafka_errors.GroupAuthorizationFailedError):
        needs = f"Read on group {error.args[0]}" if error.args else "Read on group <app_id>"
    elif isinstance(error, kafka_errors.TransactionalIdAuthorizationFailed):
        needs = f"Write on transactional id {error.args[0]}" if error.args else "Write on the transactional ids"
    elif not isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        return ""
    return f"this needs the right {needs}; docs/security.md lists all" if needs else ""


@contextlib.contextmanager
def kafka_call(what: str, needs: str = "") -> Iterator[None]:
    """Turn whatever the client raises inside into a FatalError or a TransportError that says what failed.

    needs: as in `refusal`.
    """
    try:
        yield
    except (KafkaError, kafka_errors.IllegalOperation, kafka_errors.ConsumerStoppedError, OSError) as error:
        raise refusal(what, error, needs) from error  # a TimeoutError is an OSError
    except AssertionError as error:  # the client's own states: not assigned, no position (aiokafka 0.14)
        raise refusal(what, error, needs) from error


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every client of the cluster needs. Raises FatalError for unreadable certificates."""
    security = settings.security
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.app_id,
        "security_protocol": security.protocol,
    }
    if security.protocol.endswith("SSL"):
        try:
            options["ssl_context"] = create_ssl_context(
                cafile=security.ca_file, certfile=security.cert_file, keyfile=security.key_file
            )
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(filter(None, (security.ca_file, security.cert_file, security.key_file)))
            raise FatalError(f"kafka.security: the certificates cannot be read ({files}): {error}") from error
    if security.protocol.startswith("SASL"):
        # at DEBUG it writes every request out, a password in the clear among them (aiokafka 0.14)
        requests = logging.getLogger("aiokafka.conn")
        requests.setLevel(max(requests.level, logging.INFO))
        options["sasl_mechanism"] = security.mechanism or "PLAIN"
        options["sasl_plain_username"] = security.username or ""
        options["sasl_plain_password"] = security.password or ""
    return options


async def knock(settings: KafkaSettings) -> None:
    """Reach one broker and be let in. Raises FatalError where it refuses us, TransportError where none answers.

    The clients' own bootstrap logs a refusal and reports only that nothing could be reached (aiokafka 0.14).
    """
    options = client_options(settings)
    options.pop("bootstrap_servers")
    failures = []
    for host, port, _ in collect_hosts(settings.bootstrap_servers):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await create_conn(host, port, request_timeout_ms=int(CONNECT_TIMEOUT * 1000), **options)
        except (KafkaError, OSError) as error:
            told = refusal(f"Kafka at {host}:{port}", error)
            if isinstance(told, FatalError):
                raise told from error
            # with TLS 1.3 a broker refuses a certificate only when the handshake is over, by closing the connection
            hint = isinstance(error, kafka_errors.KafkaConnectionError) and settings.security.protocol == "SSL"
            failures.append(f"{told}{_CLOSED if hint else ''}")
        else:
            await connection.close()
            return
    raise TransportError("; ".join(failures))


async def drop_producer(producer: AIOKafkaProducer) -> None:
    """Give a producer up: its open transaction, if any, is left to the broker's timeout or to the next fence.

    Its own stop() waits for a broker that may never answer, and its sender waits for the requests that it started
    (aiokafka 0.14); nothing that we send is still under way when all is well, so nothing is lost by not asking.
    """
    producer._closed = True
    accumulator, transactions = producer._message_accumulator, producer._txn_manager
    if accumulator is None or transactions is None:
        return
    batches = hush(producer)
    # one that waits to be sent again is taken from among these when it fails, without being there (aiokafka 0.14)
    accumulator._pending_batches.update(batches)
    accumulator.fail_all(ProducerClosed())
    await _hang_up(producer.client, producer, producer._sender, accumulator)
    hush(producer)


def hush(producer: AIOKafkaProducer) -> list[Any]:
    """Have asyncio not complain of errors that nobody waits for any more; returns the batches that are on their way.

    A transaction that was given up, at its time limit, leaves futures behind that its end will fill (aiokafka 0.14).
    """
    accumulator, transactions = producer._message_accumulator, producer._txn_manager
    if accumulator is None or transactions is None:
        return []
    batches = [*accumulator._pending_batches, *(batch for queue in accumulator._batches.values() for batch in queue)]
    futures = [future for batch in batches for future in (batch.future, batch._drain_waiter)]
    futures += [future for _, _, future in transactions._pending_txn_offsets]
    for future in filter(None, (*futures, transactions._transaction_waiter)):
        future.add_done_callback(read_error)
    return batches


def read_error(future: "asyncio.Future[Any]") -> None:
    """Look at a future's error, or asyncio complains that nobody has."""
    if future.done() and not future.cancelled():
        future.exception()


async def drop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Give a consumer up without leaving its group."""
    consumer._closed = True
    await _hang_up(consumer._client, consumer, consumer._coordinator, consumer._fetcher)


async def drop_admin(admin: AIOKafkaAdminClient) -> None:
    """Give an admin client up."""
    admin._closed = True
    await _hang_up(admin._client, admin)


async def _hang_up(client: Any, *parts: Any) -> None:
    """End every task of these parts of a client and its connections, within HANG_UP_TIMEOUT.

    A client that was never started lacks some of its parts: None.
    """
    owners = {id(part) for part in (client, *parts) if part is not None}
    deadline = asyncio.get_running_loop().time() + HANG_UP_TIMEOUT
    while tasks := _tasks_of(owners):
        if asyncio.get_running_loop().time() > deadline:
            log.warning("%d tasks of a Kafka client would not end: %s", len(tasks), tasks)
            break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=0.1)
    closed = []
    for connection in list(client._conns.values()):
        if connection._writer is not None:
            connection._writer.transport.abort()  # close() would wait for a frozen broker to take what is buffered
        closed.append(connection.close())
    client._conns.clear()
    if closed:
        await asyncio.wait(closed, timeout=0.5)


def _tasks_of(owners: set[int]) -> list[asyncio.Task[Any]]:
    """Unfinished tasks that run a method of one of these objects: the client keeps no list (aiokafka 0.14)."""
    found = []
    for task in asyncio.all_tasks():
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is not None and id(frame.f_locals.get("self")) in owners and task is not asyncio.current_task():
            found.append(task)
    return found
