"""Forecasts a second through a real broker, and beside each the bare copy of the same records.

    python -m benchmarks.throughput [CASE ...]

One process on one core unless it says otherwise, exactly once, learning on, snapshots running, the defaults of
config/streamrnn.yaml; the broker has the other cores. A stream's first record is a sequence of 1 to 16 steps, so that
from then on as many windows are learnt with each record as in the long run; the clock starts after these. It runs for
longer than the 10 s after which the first snapshot is due, which is one of all streams and falls into every case; the
next ones are due 20 times its CPU time later, and cost a twentieth. The output is read back with read_committed and
must be complete. Memory is that of the process at its largest.
"""

import argparse
import asyncio
import functools
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measured import PARTITIONS, Speed, complete, daemons, program
from benchmarks.source import Source
from tests.kafka.broker import Broker

LAST_SHARE = 20  # one in so many of the records comes after the clock has stopped
PASS_THROUGH = (sys.executable, "-m", "benchmarks.pass_through")


@dataclass(frozen=True, slots=True)
class Input:
    """The records of a topic, after the first one of each stream."""

    streams: int = 100_000
    records: int = 3_000_000
    features: int = 1
    hot: float = 0.0

    @property
    def topic(self) -> str:
        hot = "-hot" if self.hot else ""
        return f"records-{self.streams}x{self.features}{hot}"


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run it."""

    name: str
    input: Input = field(default_factory=Input)
    settings: Mapping[str, object] = field(default_factory=dict)
    processes: int = 1
    numpy: bool = False  # without the compiled loops


CASES = (
    Case("100,000 streams"),
    Case("the same, plain NumPy", numpy=True),
    Case("learning off", settings={"learning.enabled": False}),
    Case("64 hidden units", settings={"model.hidden": 64}),
    Case("at least once", settings={"kafka.delivery": "at_least_once"}),
    Case("two processes, two cores", processes=2),
    Case("1,000 streams", Input(1000)),
    Case("1,000,000 streams", Input(1_000_000, 2_000_000)),
    Case("the same between two snapshots", Input(1_000_000, 2_000_000), {"state.snapshot_interval": "1h"}),
    Case("12,500 streams of 8 features", Input(12_500, 500_000, features=8)),
    Case("one stream has 99 of 100 records", Input(1000, 500_000, hot=0.99)),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A case's figures; those of several features count values, not records."""

    case: Case
    made: Speed
    bare: Speed

    def __str__(self) -> str:
        values = self.case.input.features
        return (
            f"| {self.case.name} | {values * self.made.rate:,.0f} | {self.made.micros / values:.2f} "
            f"| {values * self.bare.rate:,.0f} | {self.made.rate / self.bare.rate:.2f} | {self.made.memory:,.0f} |"
        )


HEAD = (
    "| | forecasts/s | CPU-µs a forecast | bare pass-through/s | ratio | MiB |",
    "|---|---:|---:|---:|---:|---:|",
)


@contextmanager
def kafka() -> Iterator[Broker]:
    """A broker of our own."""
    with tempfile.TemporaryDirectory(prefix="streamrnn-benchmark-") as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            yield broker
        finally:
            broker.kill()


class Throughput:
    """Cases measured on one broker: inputs that several of them share are written and copied once."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._bare = functools.cache(self._pass_through)

    def measure(self, case: Case) -> Row:
        """One run of one case, and the bare copy of its records. Raises IncompleteError."""
        bare = self._bare(case.input)
        target = f"{case.input.topic}.{case.name.replace(' ', '-').replace(',', '')}"
        self._broker.create_topic(target, PARTITIONS)
        return Row(case, self._daemon(case, target), bare)

    def _pass_through(self, what: Input) -> Speed:
        bootstrap = self._broker.bootstrap_servers
        for name in (what.topic, f"{what.topic}.copy"):
            self._broker.create_topic(name, PARTITIONS)
        source = Source(what.topic, PARTITIONS, what.streams, hot=what.hot, features=what.features)
        asyncio.run(source.begin(bootstrap))
        asyncio.run(source.pour(bootstrap, what.records))
        options = ("--skip", str(what.streams))
        return program(
            self._broker, PASS_THROUGH, what.topic, f"{what.topic}.copy", what.streams + what.records, options
        )

    def _daemon(self, case: Case, target: str) -> Speed:
        what, settings = case.input, {"input.features": case.input.features, **case.settings}
        total = what.streams + what.records
        with daemons(
            self._broker, what.topic, target, processes=case.processes, settings=settings, numpy=case.numpy
        ) as running:
            first = running.until(what.streams)
            began, cpu = time.perf_counter(), running.cpu()
            done = running.until(total - what.records // LAST_SHARE) - first
            seconds, cpu = time.perf_counter() - began, running.cpu() - cpu
            running.until(total)
            memory = running.memory()
        complete(self._broker, target, total)
        return Speed(done / seconds, 1e6 * cpu / done, memory)


def main() -> None:
    """Measure the cases asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="numbers, from 1: " + "; ".join(c.name for c in CASES)
    )
    chosen = [CASES[int(number) - 1] for number in parser.parse_args().cases] or CASES
    print(*HEAD, sep="\n")
    with kafka() as broker:
        throughput = Throughput(broker)
        for case in chosen:
            print(throughput.measure(case), flush=True)


if __name__ == "__main__":
    main()
