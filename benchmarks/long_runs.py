"""How the daemon stands hours, floods, backlogs and crashes, with a real broker and memory watched.

    python -m benchmarks.long_runs soak [--minutes 60] [--rate 2000]   does memory grow, do latencies stay
    python -m benchmarks.long_runs flood [--seconds 600]               input faster than compute, then the rest of it
    python -m benchmarks.long_runs backlog [--records 5000000]         a start with all of that waiting
    python -m benchmarks.long_runs recovery [--streams 1000 100000]    seconds from a start to forecasts
    python -m benchmarks.long_runs replay [--records 1000000]          the same records again, after SIGKILL
    python -m benchmarks.long_runs keys [--number 10000000]            every record of another stream
    python -m benchmarks.long_runs hot [--records 100000]              99 of 100 records of one stream

Each prints a table; docs/reliability.md holds what they printed.
"""

import argparse
import asyncio
import itertools
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.source import Source
from streamrnn.engine.forecaster import layout_of
from streamrnn.engine.settings import ForecastSettings
from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import Daemon, get, status

PARTITIONS = 4
TOPIC = "long"
PATIENCE = 1800.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A worker at one moment."""

    at: float  # seconds, monotonic
    rss: float  # MiB
    descriptors: int
    cpu: float  # seconds
    published: float
    rebalanced: int  # times that a task was held
    latency: dict[float, float]  # records by upper bound of seconds, cumulative


class Worker:
    """One `streamrnn run`, and what is seen of it from outside."""

    def __init__(self, broker: Broker, folder: Path, **settings: object) -> None:
        self.port = free_port()
        self.log = folder / f"worker-{self.port}.log"
        self._bootstrap = broker.bootstrap_servers
        self.daemon = Daemon(
            self.log,
            {
                "app_id": "long",
                "kafka.bootstrap_servers": broker.bootstrap_servers,
                "input.topic": TOPIC,
                "output.topic": f"{TOPIC}.forecast",
                "http.port": self.port,
            }
            | {name.replace("__", "."): value for name, value in settings.items()},
        )

    def sample(self) -> Sample:
        """How it is now."""
        process = Path(f"/proc/{self.daemon.pid}")
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        memory = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
        published, latency = 0.0, {}
        for family in text_string_to_metric_families(get(self.port, "/metrics")[1]):
            for one in family.samples:
                if one.name == "streamrnn_forecasts_published_total":
                    published += one.value
                if one.name == "streamrnn_forecast_latency_seconds_bucket":
                    latency[float(one.labels["le"])] = one.value
        return Sample(
            at=time.monotonic(),
            rss=int(memory.split()[1]) / 1024,
            descriptors=len(list((process / "fd").iterdir())),
            cpu=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            published=published,
            rebalanced=self.log.read_text().count("running → held"),
            latency=latency,
        )

    def ready(self, partitions: float) -> bool:
        """Whether it has so many partitions, and all of them run."""
        try:
            return get(self.port, "/readyz")[0] == 200 and len(status(self.port)["tasks"]) == partitions
        except OSError:
            return False

    def until(self, condition: str, number: float = 0) -> float:
        """Seconds until it is "ready" with so many partitions (0: all), or has "published" so many."""
        began = time.monotonic()
        while not (self.ready(number or PARTITIONS) if condition == "ready" else self._published() >= number):
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"not {condition} in {PATIENCE:g} s: see {self.log}")
            time.sleep(0.05)
        return time.monotonic() - began

    def _published(self) -> float:
        try:
            return self.sample().published
        except OSError:
            return -1


@contextmanager
def kafka() -> Iterator[tuple[Broker, Path]]:
    """A broker of our own with the input topic."""
    with tempfile.TemporaryDirectory(prefix="streamrnn-long-") as name:
        folder = Path(name)
        broker = Broker(folder / "kafka", properties={"log.retention.check.interval.ms": "30000"})
        broker.start()
        try:
            broker.create_topic(TOPIC, PARTITIONS)
            yield broker, folder
        finally:
            broker.kill()


def quantile(before: Sample, after: Sample, q: float) -> float:
    """Of the latencies between two samples, interpolated within the histogram's buckets."""
    counts = {bound: after.latency[bound] - before.latency.get(bound, 0.0) for bound in sorted(after.latency)}
    wanted, low, below = q * max(counts.values()), 0.0, 0.0
    for bound, count in counts.items():
        if count >= wanted and count > below:
            return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low


def soak(minutes: float, rate: float, streams: int) -> None:
    """Rows of five minutes, then the slope of memory after a quarter of the time."""
    with kafka() as (broker, folder):
        worker = Worker(broker, folder)
        worker.daemon.start()
        worker.until("ready")
        samples = [worker.sample()]
        source = Source(TOPIC, PARTITIONS, streams)
        print(f"soak: {rate:,.0f} records/s of {streams:,} streams for {minutes:g} minutes")
        print("| minutes | records/s | resident MiB | open files | CPU | latency p50 | p99 | rebalances |")
        print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        row = min(300.0, minutes * 60 / 6)

        async def run() -> None:
            flowing = asyncio.create_task(source.flow(broker.bootstrap_servers, rate, minutes * 60))
            began = time.monotonic()
            for n in itertools.count(1):
                done, _ = await asyncio.wait((flowing,), timeout=began + n * row - time.monotonic())
                if done:
                    flowing.result()
                    return
                a, b = samples[-1], await asyncio.to_thread(worker.sample)
                samples.append(b)
                seconds = b.at - a.at
                middle, slow = 1000 * quantile(a, b, 0.5), 1000 * quantile(a, b, 0.99)
                print(
                    f"| {(b.at - began) / 60:.0f} | {(b.published - a.published) / seconds:,.0f} | {b.rss:.1f} "
                    f"| {b.descriptors} | {100 * (b.cpu - a.cpu) / seconds:.0f} % | {middle:.0f} ms | {slow:.0f} ms "
                    f"| {b.rebalanced - a.rebalanced} |",
                    flush=True,
                )

        asyncio.run(run())
        late = [s for s in samples if s.at - samples[0].at >= 0.25 * minutes * 60]
        slope = np.polyfit([s.at / 3600 for s in late], [s.rss for s in late], 1)[0]
        print(f"memory after the first quarter: {slope:+.2f} MiB an hour")
        worker.until("published", source.sent)
        worker.daemon.stop()


def flood(seconds: float, rate: float, streams: int) -> None:
    """Input at `rate` for so long, then nothing: the lag grows and goes away, memory does not grow."""
    with kafka() as (broker, folder):
        worker = Worker(broker, folder)
        worker.daemon.start()
        worker.until("ready")
        source, began = Source(TOPIC, PARTITIONS, streams), time.monotonic()
        print(f"flood: up to {rate:,.0f} records/s of {streams:,} streams for {seconds:g} s")
        print("| seconds | sent | forecast | behind | resident MiB | rebalances |")
        print("|---:|---:|---:|---:|---:|---:|", flush=True)

        def show() -> None:
            now = worker.sample()
            behind = source.sent - now.published
            print(
                f"| {now.at - began:.0f} | {source.sent:,} | {now.published:,.0f} | {behind:,.0f} | {now.rss:.0f} "
                f"| {now.rebalanced} |",
                flush=True,
            )

        async def run() -> None:
            flowing = asyncio.create_task(source.flow(broker.bootstrap_servers, rate, seconds))
            while not flowing.done():
                await asyncio.wait((flowing,), timeout=seconds / 8)
                await asyncio.to_thread(show)

        asyncio.run(run())
        while worker.sample().published < source.sent:
            time.sleep(seconds / 8)
            show()
        worker.daemon.stop()


def backlog(records: int, streams: int) -> None:
    """A first start with so many records waiting."""
    with kafka() as (broker, folder):
        source = Source(TOPIC, PARTITIONS, streams)
        asyncio.run(source.pour(broker.bootstrap_servers, records))
        worker = Worker(broker, folder)
        worker.daemon.start()
        print(f"backlog: {records:,} records of {streams:,} streams")
        first = worker.until("published", 1)
        print(f"first forecasts after {first:.1f} s")
        peak = 0.0
        began = worker.sample()
        while (now := worker.sample()).published < records:
            peak = max(peak, now.rss)
            time.sleep(1.0)
        rate = (now.published - began.published) / (now.at - began.at)
        print(
            f"all forecast {now.at - began.at:.0f} s later: {rate:,.0f} forecasts/s, at most {peak:.0f} MiB resident"
        )
        worker.daemon.stop()


def recovery(streams: list[int]) -> Iterator[str]:
    """For each number of streams: from the start of the process to all partitions running, after either end.

    Then a second worker comes, and takes half of them: from its start until both run.
    """
    yield "| streams | state | clean stop | start after it | restored | start after SIGKILL | replayed | scale-out |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|"
    for size in streams:
        with kafka() as (broker, folder):
            source, worker = Source(TOPIC, PARTITIONS, size), Worker(broker, folder, shutdown_timeout="120s")
            worker.daemon.start()
            worker.until("ready")
            asyncio.run(source.pour(broker.bootstrap_servers, 3 * size))
            worker.until("published", 3 * size)
            began = time.monotonic()
            worker.daemon.send(signal.SIGTERM)
            assert worker.daemon.wait(150) == 0
            stopped = time.monotonic() - began
            worker.log.write_text("")
            worker.daemon.start()
            clean = worker.until("ready")
            mib, restoring = _state(worker), _seconds_in("fencing → restoring", "→ running", worker.log)
            asyncio.run(source.flow(broker.bootstrap_servers, min(20_000, 2 * size), 15.0))
            worker.daemon.kill()
            worker.log.write_text("")
            worker.daemon.start()
            killed = worker.until("ready")
            replayed = sum(
                int(line.partition("replayed ")[2].split()[0])
                for line in worker.log.read_text().splitlines()
                if "replayed" in line
            )
            second = Worker(broker, folder)
            second.daemon.start()
            shared = second.until("ready", PARTITIONS // 2)
            yield (
                f"| {size:,} | {mib:.0f} MiB | {stopped:.1f} s | {clean:.1f} s | {mib * 2**20 / 1e6 / restoring:.0f} MB/s "
                f"| {killed:.1f} s | {replayed:,} | {shared:.1f} s |"
            )
            second.daemon.stop()
            worker.daemon.stop()


def replay(streams: int, records: int) -> Iterator[str]:
    """Records a second from a topic that was forecast before, beside those of the first time."""
    with kafka() as (broker, folder):
        source = Source(TOPIC, PARTITIONS, streams)
        asyncio.run(source.begin(broker.bootstrap_servers))
        worker = Worker(broker, folder, state__snapshot_interval="1h")
        worker.daemon.start()
        worker.until("published", streams)
        worker.daemon.stop()  # with a snapshot of all streams
        asyncio.run(source.pour(broker.bootstrap_servers, records))
        worker.daemon.start()
        worker.until("published", 1)
        first = worker.sample()
        worker.until("published", records)
        last = worker.sample()
        live = (last.published - first.published) / (last.at - first.at)
        worker.daemon.kill()
        worker.log.write_text("")
        worker.daemon.start()
        worker.until("ready")
        again = records / _seconds_in("restoring → replaying", "replaying → running", worker.log)
        yield f"{records:,} records of {streams:,} streams: live {live:,.0f}/s, replayed {again:,.0f}/s."
        yield f"Replay is {again / live:.2f} times as fast."
        worker.daemon.stop()


def _seconds_in(begun: str, ended: str, log: Path) -> float:
    """From the first line of a log in which something begins to the last in which it has ended."""
    lines = log.read_text().splitlines()
    first = next(line for line in lines if begun in line)
    last = next(line for line in reversed(lines) if ended in line)
    moments = [datetime.fromisoformat(line.split()[0]) for line in (first, last)]
    return (moments[1] - moments[0]).total_seconds()


def _state(worker: Worker) -> float:
    """MiB of all its streams' slabs."""
    per_stream = sum(layout_of(ForecastSettings(readout="shared")).account(0).values())
    return per_stream * sum(task["streams"] for task in status(worker.port)["tasks"]) / 2**20


def keys(number: int, kept: int) -> None:
    """So many distinct streams, of which each partition keeps a few: memory stays where it was."""
    with kafka() as (broker, folder):
        worker = Worker(broker, folder, state__max_streams=kept)
        worker.daemon.start()
        worker.until("ready")
        source, portion = Source(TOPIC, PARTITIONS, number), number // 10
        print(f"keys: {number:,} distinct streams, state.max_streams {kept:,} in each of {PARTITIONS} partitions")
        print("| forecast | streams kept | resident MiB |")
        print("|---:|---:|---:|", flush=True)
        for n in range(1, 11):
            asyncio.run(source.pour(broker.bootstrap_servers, portion))
            worker.until("published", n * portion)
            streams = sum(task["streams"] for task in status(worker.port)["tasks"])
            print(f"| {n * portion:,} | {streams:,} | {worker.sample().rss:.0f} |", flush=True)
        worker.daemon.stop()


def hot(records: int, share: float) -> None:
    """Nearly all records of one stream: it is as fast as one stream can be, and the others wait for nothing."""
    with kafka() as (broker, folder):
        worker = Worker(broker, folder)
        worker.daemon.start()
        worker.until("ready")
        source = Source(TOPIC, PARTITIONS, 1000, hot=share)
        asyncio.run(source.pour(broker.bootstrap_servers, records))
        seconds = worker.until("published", records)
        print(f"hot: {records:,} records, {share:.0%} of one stream: {records / seconds:,.0f} forecasts/s")
        worker.daemon.stop()


def main() -> None:
    """Read what to run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    runs = parser.add_subparsers(dest="run", required=True)
    one = runs.add_parser("soak")
    one.add_argument("--minutes", type=float, default=60.0)
    one.add_argument("--rate", type=float, default=2000.0)
    one.add_argument("--streams", type=int, default=2000)
    one = runs.add_parser("flood")
    one.add_argument("--seconds", type=float, default=600.0)
    one.add_argument("--rate", type=float, default=100_000.0)
    one.add_argument("--streams", type=int, default=10_000)
    one = runs.add_parser("backlog")
    one.add_argument("--records", type=int, default=5_000_000)
    one.add_argument("--streams", type=int, default=10_000)
    one = runs.add_parser("recovery")
    one.add_argument("--streams", type=int, nargs="+", default=[1000, 100_000])
    one = runs.add_parser("replay")
    one.add_argument("--streams", type=int, default=100_000)
    one.add_argument("--records", type=int, default=1_000_000)
    one = runs.add_parser("keys")
    one.add_argument("--number", type=int, default=10_000_000)
    one.add_argument("--kept", type=int, default=10_000)
    one = runs.add_parser("hot")
    one.add_argument("--records", type=int, default=100_000)
    one.add_argument("--share", type=float, default=0.99)
    given = vars(parser.parse_args())
    for line in RUNS[given.pop("run")](**given) or ():
        print(line, flush=True)


RUNS: dict[str, Callable[..., Iterator[str] | None]] = {
    each.__name__: each for each in (soak, flood, backlog, recovery, replay, keys, hot)
}


if __name__ == "__main__":
    main()
