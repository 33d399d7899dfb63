"""Forecasts a second through a real broker, exactly once and learning, beside a bare copy of the same records.

    python -m benchmarks.throughput [--streams 10000] [--records 600000] [--partitions 4]

Starts an Apache Kafka of its own, fills the input topic, and then, one after the other on the same core: a bare
pass-through (benchmarks/pass_through.py) and one `streamrnn run` with the defaults. Both outputs are read back with
read_committed and must be complete. The broker has the other cores.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.source import Source
from tests.kafka.broker import Broker
from tests.kafka.plain_clients import read

ROOT = Path(__file__).resolve().parent.parent
FIRST_SHARE = 0.2  # of the records: start-up and the first, cold meeting with every stream are not measured
POLL = 0.1


async def written(bootstrap: str, topic: str, partitions: int) -> int:
    """Committed records of a topic."""
    return sum([len(await read(bootstrap, topic, partition)) for partition in range(partitions)])


def pinned(*command: str) -> list[str]:
    """The command on the last core alone."""
    return ["taskset", "-c", str((os.cpu_count() or 1) - 1), sys.executable, "-m", *command]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_daemon(bootstrap: str, topic: str, records: int, sets: list[str]) -> tuple[float, float]:
    """Records a second and CPU-µs a record of one `streamrnn run` between FIRST_SHARE and the end."""
    port = 9199
    options = [f"--set={key}" for key in (*sets, f"http.port={port}", "log.level=warning")]
    options += [f"--set=kafka.bootstrap_servers={bootstrap}", f"--set=input.topic={topic}"]
    options += [f"--set=output.topic={topic}.forecast", f"--set=app_id={topic}-app"]
    daemon = subprocess.Popen(pinned("streamrnn", "run", "-c", "config/streamrnn.yaml", *options), cwd=ROOT)
    try:
        began = cpu = first = 0.0
        while True:
            time.sleep(POLL)
            if daemon.poll() is not None:
                sys.exit(f"the daemon ended with {daemon.returncode}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    lines = answer.read().decode().splitlines()
            except OSError:
                continue
            done = sum(float(line.split()[-1]) for line in lines if line.startswith("streamrnn_forecasts_published"))
            if not began and done >= FIRST_SHARE * records:
                began, cpu, first = time.perf_counter(), cpu_seconds(daemon.pid), done
            if done >= records:
                seconds = time.perf_counter() - began
                return (done - first) / seconds, 1e6 * (cpu_seconds(daemon.pid) - cpu) / (done - first)
    finally:
        daemon.terminate()
        daemon.wait(30)


async def benchmark(streams: int, records: int, partitions: int, sets: list[str]) -> None:
    """Print both rates and their ratio."""
    topic = "throughput"
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder) / "kafka")
        broker.start()
        try:
            bootstrap = broker.bootstrap_servers
            for name in (topic, f"{topic}.forecast", f"{topic}.copy"):
                await asyncio.to_thread(broker.create_topic, name, partitions)
            await Source(topic, partitions, streams).pour(bootstrap, records)
            copy = pinned("benchmarks.pass_through", bootstrap, topic, f"{topic}.copy", "copy", str(records))
            told = await asyncio.to_thread(subprocess.run, copy, cwd=ROOT, check=True, capture_output=True, text=True)
            seconds, cpu = map(float, told.stdout.split())
            bare = records / seconds
            rate, micros = await asyncio.to_thread(run_daemon, bootstrap, topic, records, sets)
            for name in (f"{topic}.copy", f"{topic}.forecast"):
                found = await written(bootstrap, name, partitions)
                if found != records:
                    sys.exit(f"{name} holds {found} records, expected {records}")
        finally:
            broker.stop()
    print(f"{records:,} records of {streams:,} streams in {partitions} partitions, exactly once, one core each")
    print(f"bare pass-through   {bare:>10,.0f} records/s    {1e6 * cpu / records:5.2f} CPU-µs a record")
    print(f"streamrnn, learning {rate:>10,.0f} forecasts/s  {micros:5.2f} CPU-µs a record")
    print(f"ratio               {rate / bare:>10.2f}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=600_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--set", dest="sets", action="append", default=[], help="a key of the configuration")
    given = parser.parse_args()
    asyncio.run(benchmark(given.streams, given.records, given.partitions, given.sets))


if __name__ == "__main__":
    main()
