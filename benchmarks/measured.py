"""How fast a program works off a topic: records a second, CPU, memory; and whether it has left nothing out."""

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from tests.kafka.broker import Broker, free_port

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a broker that has just started makes it talk
ROOT = Path(__file__).resolve().parent.parent
PARTITIONS = 4
POLL = 0.25  # seconds between two looks at a daemon's counters
PATIENCE = 900.0
LAST_CORE = (os.cpu_count() or 1) - 1
SAMPLE = "streamrnn_forecasts_published_total"


@dataclass(frozen=True, slots=True)
class Speed:
    """Of one program, or of several that share the partitions."""

    rate: float  # records a second
    micros: float  # of CPU a record
    memory: float = 0.0  # MiB resident at most, of each


class IncompleteError(Exception):
    """A program that left records out has no speed."""


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """The command on this core alone."""
    return ["taskset", "-c", str(core), *command]


def program(
    broker: Broker, command: Sequence[str], source: str, target: str, records: int, options: Sequence[str] = ()
) -> Speed:
    """A program that ends by itself when it has read so many records, and prints seconds and CPU seconds.

    Raises IncompleteError where its output does not hold a record for each.
    """
    arguments = [broker.bootstrap_servers, source, target, f"{target}-group", str(records), *options]
    told = subprocess.run(
        on_core(LAST_CORE, [*command, *arguments]), cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    if told.returncode:
        raise IncompleteError(f"{' '.join(command)} ended with {told.returncode}")
    seconds, cpu = map(float, told.stdout.split()[-2:])
    timed = records - (int(options[options.index("--skip") + 1]) if "--skip" in options else 0)
    if target != "-":
        complete(broker, target, records)
    return Speed(timed / seconds, 1e6 * cpu / timed)


def complete(broker: Broker, topic: str, records: int) -> None:
    """Raises IncompleteError unless a read_committed consumer finds so many records."""
    found = asyncio.run(_committed(broker.bootstrap_servers, topic))
    if found != records:
        raise IncompleteError(f"{topic} holds {found:,} records, expected {records:,}")


class Daemons:
    """One or more `streamrnn run` of one group, each on a core of its own, from the last one down."""

    def __init__(
        self, broker: Broker, source: str, target: str, *, processes: int, settings: Mapping[str, object], numpy: bool
    ) -> None:
        """numpy: without the compiled loops."""
        self.ports = [free_port() for _ in range(processes)]
        common = {
            "kafka.bootstrap_servers": broker.bootstrap_servers,
            "input.topic": source,
            "output.topic": target,
            "app_id": target,
            "log.level": "warning",
        } | dict(settings)
        sets = [f"--set={name}={value}" for name, value in common.items()]
        environment = os.environ | ({"NUMBA_DISABLE_JIT": "1"} if numpy else {})
        command = [sys.executable, "-m", "streamrnn", "run", "-c", "config/streamrnn.yaml", *sets]
        self.processes = [
            subprocess.Popen(on_core(LAST_CORE - i, [*command, f"--set=http.port={port}"]), cwd=ROOT, env=environment)
            for i, port in enumerate(self.ports)
        ]

    def published(self) -> int:
        """Forecasts published by all of them so far."""
        return int(sum(self._published(port) for port in self.ports))

    def _published(self, port: int) -> float:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.split()[-1]) for line in lines if line.startswith(SAMPLE))

    def until(self, number: int) -> int:
        """Wait until so many are published; returns how many then are."""
        deadline = time.monotonic() + PATIENCE
        while (done := self.published()) < number:
            for process in self.processes:
                if process.poll() is not None:
                    raise IncompleteError(f"the daemon ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise IncompleteError(f"{done:,} of {number:,} forecasts after {PATIENCE:g} s")
            time.sleep(POLL)
        return done

    def cpu(self) -> float:
        """Seconds that all of them have computed."""
        return sum(sum(threads(process.pid)) for process in self.processes)

    def memory(self) -> float:
        """MiB resident at most, of the largest."""
        lines = [Path(f"/proc/{process.pid}/status").read_text().splitlines() for process in self.processes]
        return max(int(line.split()[1]) / 1024 for each in lines for line in each if line.startswith("VmHWM"))

    def stop(self) -> None:
        """End them cleanly."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)


@contextlib.contextmanager
def daemons(
    broker: Broker,
    source: str,
    target: str,
    *,
    processes: int = 1,
    settings: Mapping[str, object] | None = None,
    numpy: bool = False,
) -> Iterator[Daemons]:
    """Started, and in the end stopped."""
    made = Daemons(broker, source, target, processes=processes, settings=settings or {}, numpy=numpy)
    try:
        yield made
    finally:
        made.stop()


def threads(pid: int) -> tuple[float, float]:
    """CPU seconds of a process' event loop, and of all its other threads."""
    tick, loop, others = os.sysconf("SC_CLK_TCK"), 0.0, 0.0
    for folder in Path(f"/proc/{pid}/task").iterdir():
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / tick
        if int(folder.name) == pid:
            loop = seconds
        else:
            others += seconds
    return loop, others


async def _committed(bootstrap: str, topic: str) -> int:
    """Records of a topic that a read_committed consumer finds."""
    places = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    options = {"bootstrap_servers": bootstrap, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    seen, positions = 0, dict.fromkeys(places, 0)
    async with AIOKafkaConsumer(**options) as written:
        ends = await written.end_offsets(places)
    async with AIOKafkaConsumer(**options, isolation_level="read_committed") as consumer:
        consumer.assign(places)
        while any(positions[place] < ends[place] for place in places):
            seen += sum(map(len, (await consumer.getmany(timeout_ms=50)).values()))
            positions = {place: await consumer.position(place) for place in places}
    return seen
