"""The driver: feeds records, lets faults happen at random moments from a seed, and measures how long each is felt."""

import asyncio
import contextlib
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streamrnn.service.takeover import SET_BACK
from tests.chaos.cluster import WORKERS, Cluster
from tests.chaos.faults import SEVERAL, SINGLE, Fault
from tests.chaos.feed import Feed
from tests.chaos.watcher import Watcher
from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import Daemon, get, status

PARTITIONS = 8
TOPIC = "weather"
RECOVERED_WITHIN = 60.0  # seconds after a fault is over, every partition shows forecasts of records from then
SLACK = 8  # what all workers together may hold beyond fresh ones: a connection that is just being made
SEVERAL_SHARE = 0.2  # of the faults come together with others
SETTINGS: dict[str, object] = {
    "app_id": "chaos",
    "input.topic": TOPIC,
    "output.topic": f"{TOPIC}.forecast",
    "forecast.horizons": "[1, 6]",
    "state.snapshot_interval": "2s",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One session in the chamber."""

    seconds: float
    seed: int
    brokers: int = 1
    streams: int = 2000
    rate: float = 1000.0  # records a second; three brokers on one small machine bear a third
    poison: float = 0.03  # of the records
    static: bool = False  # workers are static members of the group

    @property
    def settings(self) -> dict[str, object]:
        """What the workers and the reference are told of the forecasts."""
        # nuisances come and go under new names: the streams that are stepped least are evicted
        return SETTINGS | {"state.max_streams": self.streams // PARTITIONS + 40}


@dataclass(slots=True)
class Felt:
    """One fault as it was felt outside."""

    kind: str
    worst: float  # seconds, the longest that a record waited for its visible forecast


@dataclass(slots=True)
class Outcome:
    """What came of a session, before anybody has looked at the forecasts."""

    felt: list[Felt] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Chamber:
    """What the faults work on."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting, self.folder = setting, folder
        self.random = random.Random(setting.seed)
        self.cluster = Cluster(folder, setting.brokers)
        self.feed = Feed(setting.seed, setting.streams, PARTITIONS, setting.poison)
        self.watcher = Watcher(PARTITIONS)
        self.wrong: list[str] = []
        self.helped: Counter[int] = Counter()  # brokers by port: coordinators that were lost, and brought back
        self.ports = [free_port() for _ in range(WORKERS)]
        self.workers = [
            Daemon(
                folder / f"worker-{n}.log",
                setting.settings
                | {
                    "kafka.bootstrap_servers": self.cluster.bootstrap_of(n),
                    "kafka.session_timeout": "3s",
                    "kafka.transaction_timeout": "3s",
                    "http.port": self.ports[n],
                }
                | ({"kafka.group_instance_id": f"worker-{n}"} if setting.static else {}),
                module="tests.chaos.worker",
                environment={"STREAMRNN_CHAOS_REPORT": str(self.report_of(n))},
            )
            for n in range(WORKERS)
        ]

    def report_of(self, worker: int) -> Path:
        """Where this worker tells what it holds."""
        return self.folder / f"worker-{worker}.held"

    # What faults draw from.

    def some_worker(self) -> Daemon:
        """One that runs."""
        return self.random.choice([worker for worker in self.workers if worker.running])

    async def some_broker(self) -> Broker:
        """The leader of some partition of some topic."""
        if len(self.cluster.brokers) == 1:
            return self.cluster.brokers[0]
        topic = self.random.choice((TOPIC, f"{TOPIC}.forecast", f"chaos-{TOPIC}-state", "__transaction_state"))
        partitions = 4 if topic.startswith("__") else PARTITIONS
        return await self.cluster.leader(topic, self.random.randrange(partitions))

    async def pause(self, least: float, most: float) -> None:
        """Some time between these, from the seed."""
        await asyncio.sleep(self.random.uniform(least, most))

    async def joined(self, worker: Daemon) -> None:
        """Wait, not for ever, until this worker has been given its partitions and all of them run."""
        await self._answers(worker, "/readyz")

    async def up(self, worker: Daemon) -> None:
        """Wait, not for ever, until this worker's process listens: before that a signal just ends it."""
        await self._answers(worker, "/healthz")

    async def _answers(self, worker: Daemon, path: str) -> None:
        port = self.ports[self.workers.index(worker)]
        for _ in range(100):
            with contextlib.suppress(OSError):
                if (await asyncio.to_thread(get, port, path))[0] == 200:
                    return
            await asyncio.sleep(0.1)

    # The session.

    async def run(self) -> Outcome:
        """Everything up to the moment when all that was fed has been forecast and all workers have stopped."""
        outcome = Outcome(wrong=self.wrong)
        await self.cluster.start()
        await asyncio.to_thread(
            self.cluster.brokers[0].create_topic,
            TOPIC,
            PARTITIONS,
            self.cluster.replication,
            {"max.message.bytes": str(12 << 20)},
        )
        stop = asyncio.Event()
        for worker in self.workers[:2]:
            worker.start()
        async with _background(
            self.feed.run(self.cluster.bootstrap_servers, TOPIC, self.setting.rate, stop)
        ) as feeding:
            await asyncio.sleep(3.0)  # the output topic is made by the workers
            async with _background(self.watcher.run(self.cluster.bootstrap_servers, f"{TOPIC}.forecast")) as watching:
                await self._torture(outcome, feeding, watching)
                stop.set()
                await feeding
                if not await self.all_committed():
                    self.wrong.append("not all that was fed was ever committed")
        return outcome

    async def _torture(self, outcome: Outcome, *helpers: "asyncio.Task[None]") -> None:
        end = time.monotonic() + self.setting.seconds
        if not await self.watcher.caught_up(time.time(), RECOVERED_WITHIN):
            self.wrong.append(f"the workers did not come to forecast at all: {self.watcher.seen()}")
            return
        while time.monotonic() < end and not self.wrong:
            await self.pause(0.0, 3.0)
            began = time.time()
            if self.random.random() < SEVERAL_SHARE:
                kind = SEVERAL
                for _ in range(self.random.randrange(2, 5)):
                    await self._draw()[0](self)
                    await self.pause(0.0, 1.5)
            else:
                fault, kind = self._draw()
                await fault(self)
            for worker in self.workers:
                if worker.ended_with not in (None, 0, -signal.SIGKILL):
                    self.wrong.append(f"a worker ended by itself with {worker.ended_with}: see {worker.log}")
                if not worker.running and worker in self.workers[:2]:
                    worker.start()
            over = time.monotonic()
            if not await self.watcher.caught_up(time.time(), RECOVERED_WITHIN):
                kind = await self._helped(kind)
            for helper in helpers:
                if helper.done():
                    helper.result()
            now, worst = time.monotonic(), self.watcher.worst_since(began)
            outcome.felt.append(Felt(kind, worst))
            elapsed = now - end + self.setting.seconds
            print(f"{elapsed:6.0f} s  {kind}: felt for {worst:.1f} s, at rest {now - over:.1f} s later", flush=True)

    async def _helped(self, kind: str) -> str:
        """Do what an operator would where a group coordinator ended, or came back with offsets of the past."""
        lost = [broker for broker in self.cluster.brokers if broker.lost_coordinators() > self.helped[broker.port]]
        how = "ended (KAFKA-19862)"
        if not lost and any([SET_BACK in await self._readiness(worker) for worker in self.workers]):
            lost, how = self.cluster.brokers, "had old offsets"
        for broker in lost:
            self.helped[broker.port] = broker.lost_coordinators()
            await asyncio.to_thread(broker.restart)
        if not lost or not await self.watcher.caught_up(time.time(), RECOVERED_WITHIN):
            seen = self.watcher.seen()
            for worker in self.workers:
                if worker.running:
                    worker.send(signal.SIGUSR2)  # what it stands at is written beside its log
            self.wrong.append(f"{RECOVERED_WITHIN:g} s after {kind!r} not every partition forecasts again: {seen}")
        return f"{kind}; the broker's group coordinator {how}, broker restarted" if lost else kind

    async def _readiness(self, worker: Daemon) -> str:
        """What it says of itself, nothing where it does not run."""
        port = self.ports[self.workers.index(worker)]
        try:
            return (await asyncio.to_thread(get, port, "/readyz"))[1] if worker.running else ""
        except OSError:
            return ""

    def _draw(self) -> tuple[Fault, str]:
        (kind,) = self.random.choices(list(SINGLE), [weight for _, weight in SINGLE.values()])
        return SINGLE[kind][0], kind

    async def leaks(self) -> list[str]:
        """What workers that lived through all of it hold beyond what fresh ones hold."""
        tortured = await self._held()
        for worker in self.workers:
            if worker.running:
                await asyncio.to_thread(worker.stop)
                worker.start()
        if not await self.all_committed():
            self.wrong.append("after a restart of all workers there is a lag that does not go away")
        fresh = await self._held()
        found = []
        for kind, number in tortured.items():
            if number > fresh[kind] + SLACK:
                found.append(f"leaked: {number} {kind} are held, {fresh[kind]} by fresh workers")
        return found

    async def _held(self) -> Counter[str]:
        """What all workers hold together: tasks, threads, descriptors.

        A client may have a connection to each broker and one to its coordinator, and those of a worker that has seen
        much do: only what is beyond that counts.
        """
        await asyncio.sleep(2.0)
        held: Counter[str] = Counter()
        for number, worker in enumerate(self.workers):
            if worker.running:
                path = self.report_of(number)
                path.unlink(missing_ok=True)
                worker.send(signal.SIGUSR1)
                await asyncio.sleep(1.0)
                told = json.loads(path.read_text())
                tasks = Counter(told["tasks"])
                most = tasks["AIOKafkaClient._md_synchronizer"] * (len(self.cluster.brokers) + 1)
                connected = min(tasks["AIOKafkaConnection._read"], most)
                held["threads"] += told["threads"]
                held["tasks"] += tasks.total() - connected
                held["descriptors"] += sum(told["descriptors"].values()) - connected
        return held

    async def all_committed(self) -> bool:
        """Wait until every task runs and has committed all there is."""
        deadline = time.monotonic() + RECOVERED_WITHIN
        while time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            tasks = []
            for port, worker in zip(self.ports, self.workers, strict=True):
                if worker.running:
                    with contextlib.suppress(OSError):
                        tasks += (await asyncio.to_thread(status, port))["tasks"]
            ends = await self._ends()
            if len(tasks) == PARTITIONS and all(
                task["state"] == "running" and task["committed"] == ends[task["partition"]] for task in tasks
            ):
                return True
        return False

    async def _ends(self) -> dict[int, int]:
        places = [TopicPartition(TOPIC, partition) for partition in range(PARTITIONS)]
        async with AIOKafkaConsumer(bootstrap_servers=self.cluster.bootstrap_servers) as consumer:
            ends = await consumer.end_offsets(places)
        return {place.partition: end for place, end in ends.items()}

    def stop_workers(self) -> None:
        """SIGTERM to all of them: exit code 0."""
        for worker in self.workers:
            if worker.running:
                worker.send(signal.SIGTERM)
        for worker in self.workers:
            if worker.running and (code := worker.wait(20.0)) != 0:
                self.wrong.append(f"a worker ended with {code}: see {worker.log}")

    def end(self) -> None:
        """Away with everything."""
        for worker in self.workers:
            worker.end()
        self.cluster.stop()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> Any:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
