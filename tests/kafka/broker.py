"""A real Apache Kafka broker for tests: one Java process in a folder, killed, frozen and started again at will.

Needs Java 17 and Maven, no container. With STREAMRNN_TEST_BOOTSTRAP set the tests use that broker instead. Three
brokers are one cluster when they share `voters` and `cluster_id`; another listener is a matter of `properties`.
"""

import asyncio
import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.protocol.admin import DeleteGroupsRequest
from aiokafka.structs import TopicPartition

from tests.kafka.plain_clients import administrator

KAFKA_VERSION = "4.1.1"  # as in pom.xml
CLUSTER_ID = "c3RyZWFtcm5uLXRlc3RzMQ"  # any 16 bytes in base64
START_TIMEOUT = 60.0

LOG4J = """\
appender.file.type = Console
appender.file.name = out
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = [%d] %p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaServer
logger.server.level = info
"""


class BrokerError(Exception):
    """The broker cannot be had: the message says what is missing and how to get it."""


def java() -> str:
    """The path of Java 17 or later."""
    found = shutil.which("java")
    if found is None:
        raise BrokerError(
            "The Kafka tests start a real broker and found no `java`. "
            "Install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)."
        )
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = (told.stderr + told.stdout).partition('version "')[2].partition('"')[0]
    if not version or int(version.split(".")[0]) < 17:
        raise BrokerError(
            f"The Kafka tests need Java 17 or later, {found} is {version or 'not a Java'!r}. "
            "Install it (Debian: apt-get install openjdk-17-jre-headless)."
        )
    return found


def jars() -> Path:
    """The folder of the broker's jars, resolved once by Maven into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamrnn" / f"kafka-{KAFKA_VERSION}"
    if cache.is_dir():
        return cache
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            f"The Kafka tests need the broker's jars in {cache} and found no `mvn` to fetch them. "
            "Install Maven (Debian: apt-get install maven)."
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{cache.name}-", dir=cache.parent))
    try:
        pom = Path(__file__).with_name("pom.xml")
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={fresh}"]
        told = subprocess.run([maven, "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False)
        if told.returncode != 0:
            raise BrokerError(f"Maven could not fetch the broker's jars (see its settings):\n{_tail(told.stdout)}")
        try:
            fresh.rename(cache)  # whole or not at all, also when two test runs come here together
        except OSError:
            if not cache.is_dir():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return cache


_PORTS = iter(random.Random().sample(range(10240, 32768), 32768 - 10240))


def free_port() -> int:
    """A TCP port that nothing listens on, never given twice, and none that the system gives to outgoing connections.

    A broker that is down for a moment would else find its port taken by a client that tries to reach it.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise BrokerError("no TCP port between 10240 and 32767 is free")


class Broker:
    """One broker process (and controller) with its data in `folder`."""

    def __init__(
        self,
        folder: Path,
        *,
        node: int = 1,
        port: int | None = None,
        controller_port: int | None = None,
        voters: str | None = None,
        cluster_id: str = CLUSTER_ID,
        users: Mapping[str, str] | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """With users (name and password) there is also a listener at `sasl_port` that lets only them in."""
        self.folder = folder
        self.port = port or free_port()
        controller_port = controller_port or free_port()
        self._cluster_id = cluster_id
        self.sasl_port = free_port()
        self._format_arguments: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": str(node),
            "controller.quorum.voters": voters or f"{node}@127.0.0.1:{controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "broker.session.timeout.ms": "2000",  # a broker that was killed is not let in again before
            "broker.heartbeat.interval.ms": "500",
            "log.cleaner.dedupe.buffer.size": "8388608",
        }
        if users is not None:
            known = " ".join(f'user_{name}="{password}"' for name, password in users.items())
            modules = "org.apache.kafka.common.security"
            self._properties |= {
                "listeners": f"{self._properties['listeners']},SASL://127.0.0.1:{self.sasl_port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
                "inter.broker.listener.name": "PLAINTEXT",
                "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
                "listener.name.sasl.plain.sasl.jaas.config": f"{modules}.plain.PlainLoginModule required {known};",
                "listener.name.sasl.scram-sha-256.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
            }
            for name, password in users.items():
                self._format_arguments += ["--add-scram", f"SCRAM-SHA-256=[name={name},password={password}]"]
        self._properties |= properties or {}

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """The end of what the broker has written."""
        path = self.folder / "broker.log"
        return _tail(path.read_text(errors="replace")) if path.exists() else "(no log)"

    def start(self) -> None:
        """Format the folder if it is new, start, and wait until requests are answered."""
        self.spawn()
        self.wait()

    def spawn(self) -> None:
        """Start without waiting, as the first brokers of a cluster must."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "server.properties"
        settings.write_text("".join(f"{name}={value}\n" for name, value in self._properties.items()))
        (self.folder / "log4j2.properties").write_text(LOG4J)
        command = [java(), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        command += [f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}", "-cp", f"{jars()}/*"]
        atexit.register(self.kill)  # also where a test run ends without its fixtures
        with (self.folder / "broker.log").open("ab") as log:
            if not (self.folder / "data" / "meta.properties").exists():
                arguments = ["format", "-t", self._cluster_id, "-c", str(settings), *self._format_arguments]
                told = subprocess.run([*command, "kafka.tools.StorageTool", *arguments], stdout=log, stderr=log)
                if told.returncode != 0:
                    raise BrokerError(f"The broker's folder {self.folder} could not be formatted:\n{self.log}")
            # a session of its own: an interrupt at the keyboard is for the tests, which stop the broker themselves
            self._process = subprocess.Popen(
                [*command, "kafka.Kafka", str(settings)], stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Return when requests are answered."""
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(self.port):
            if not self.running:
                raise BrokerError(f"The broker ended while starting. The end of its log:\n{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerError(
                    f"The broker did not answer in {START_TIMEOUT:g} s. The end of its log:\n{self.log}"
                )
            time.sleep(0.05)

    def stop(self) -> None:
        """End cleanly (SIGTERM), as a rolling restart does."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        if self._process is not None:
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Crash (SIGKILL)."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(30)

    def lost_coordinators(self) -> int:
        """How often its group coordinator has given itself up, as it may after a crash (KAFKA-19862, Kafka 4.1)."""
        return (self.folder / "broker.log").read_text(errors="replace").count("out of sync with the underlying log")

    def freeze(self) -> None:
        """Hang (SIGSTOP): connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop cleanly and start again on the same ports and data."""
        self.stop()
        self.start()

    def create_topic(
        self, name: str, partitions: int = 1, replication: int = -1, configs: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic; callable with or without a running event loop."""
        # an empty assignment, not None, is what lets -1 (the broker's default) through (aiokafka 0.14)
        topic = NewTopic(name, partitions, replication, {} if replication == -1 else None, dict(configs or {}))
        answer = self._administer(lambda admin: admin.create_topics([topic]))
        if any(code for _, code, *_ in answer.topic_errors):
            raise BrokerError(f"topic {name} could not be created: {answer.topic_errors}")

    def add_partitions(self, name: str, partitions: int) -> None:
        """Grow a topic to this many partitions."""
        self._administer(lambda admin: admin.create_partitions({name: NewPartitions(partitions)}))

    def topics(self) -> list[str]:
        """The names of all topics."""
        made: list[str] = self._administer(lambda admin: admin.list_topics())
        return made

    def delete_topic(self, name: str) -> None:
        """Delete a topic; it is gone when this returns."""
        self._administer(lambda admin: admin.delete_topics([name]))
        while name in self.topics():
            time.sleep(0.05)

    def delete_records(self, name: str, partition: int, before: int) -> None:
        """Have a partition begin at this offset, as retention does."""
        records = {TopicPartition(name, partition): RecordsToDelete(before)}
        self._administer(lambda admin: admin.delete_records(records))

    def delete_group(self, name: str) -> None:
        """Delete a consumer group that has no members: its offsets are gone."""

        async def delete(admin: AIOKafkaAdminClient) -> None:
            # the client has the request and no call for it (aiokafka 0.14)
            coordinator = await admin.find_coordinator(name)
            answer = await admin._send_request_to_node(coordinator, DeleteGroupsRequest([name]))
            if any(code for _, code in answer.results):
                raise BrokerError(f"group {name} could not be deleted: {answer.results}")

        self._administer(delete)

    def _administer(self, call: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
        async def session() -> Any:
            async with administrator(self.bootstrap_servers) as admin:
                return await call(admin)

        with ThreadPoolExecutor(1) as thread:  # a loop may be running in this one
            return thread.submit(asyncio.run, session()).result()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


class BorrowedBroker(Broker):
    """The broker of STREAMRNN_TEST_BOOTSTRAP: used, never started or stopped."""

    def __init__(self, bootstrap_servers: str) -> None:
        super().__init__(Path(tempfile.gettempdir()), port=1, controller_port=1)
        self._bootstrap_servers = bootstrap_servers

    @property
    def bootstrap_servers(self) -> str:
        return self._bootstrap_servers

    def _refuse(self) -> None:
        raise BrokerError(
            f"This test stops or freezes its broker, and {self._bootstrap_servers} is borrowed: "
            "unset STREAMRNN_TEST_BOOTSTRAP to run it."
        )

    spawn = wait = stop = kill = freeze = thaw = _refuse


def open_broker(folder: Path) -> Broker:
    """A running broker: one started in `folder`, or the one that STREAMRNN_TEST_BOOTSTRAP names."""
    borrowed = os.environ.get("STREAMRNN_TEST_BOOTSTRAP")
    if borrowed:
        return BorrowedBroker(borrowed)
    broker = Broker(folder)
    broker.start()
    return broker


def close_broker(broker: Broker) -> None:
    """End a broker of `open_broker`; nothing where it is borrowed."""
    if not isinstance(broker, BorrowedBroker):
        broker.kill()


def _answers(port: int) -> bool:
    """Whether the broker answers a request for its API versions: the socket alone accepts before that."""
    request = struct.pack(">hhihi", 18, 0, 1, -1, 0)[:10]  # key, version, correlation, no client id
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.settimeout(2.0)
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(4)) == 4
    except OSError:
        return False


def _tail(text: str, lines: int = 30) -> str:
    return "\n".join(text.splitlines()[-lines:])
