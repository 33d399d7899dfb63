"""streamrnn beside what others would run on the same records: 1,000 streams, one core for the program, exactly once.

    python -m benchmarks.rival_speeds

The clock of each starts with its first record. What each rival is and how it was tuned: benchmarks/rivals/.
"""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import rivals
from benchmarks.measured import PARTITIONS, Speed, program
from benchmarks.source import Source
from benchmarks.throughput import Case, Input, Throughput, kafka

STREAMS = 1000


@dataclass(frozen=True, slots=True)
class Rival:
    """What it is, and how much of it takes some ten seconds."""

    name: str
    records: int
    streams: int = STREAMS


RIVALS = {
    "kafka_streams": Rival("Kafka Streams, a count for each key, no learning", 1_000_000),
    "quix_river": Rival("Quix Streams with river's linear regression on 3 values", 100_000),
    "quix_river_11": Rival("Quix Streams with river's linear regression on 11 values", 100_000),
    # a stream's first record makes its network, which takes as long as many records
    "quix_deep_river": Rival("Quix Streams with deep-river's LSTM, 50 streams", 3000, 50),
}


def table() -> Iterator[str]:
    """Lines of a table."""
    subprocess.run(rivals.INSTALL, check=True)
    with kafka() as broker:
        ours = Throughput(broker).measure(Case("streamrnn", Input(STREAMS, 1_000_000)))
        yield "| | records/s | CPU-µs a record | streamrnn is faster by |"
        yield "|---|---:|---:|---:|"
        yield _row("streamrnn", ours.made, ours.made)
        yield _row("bare pass-through", ours.bare, ours.made)
        for program_name, rival in RIVALS.items():
            topic = f"records-for-{program_name}"
            for each in (topic, f"{topic}.out"):
                broker.create_topic(each, PARTITIONS)
            asyncio.run(Source(topic, PARTITIONS, rival.streams).pour(broker.bootstrap_servers, rival.records))
            made = program(broker, rivals.COMMANDS[program_name], topic, f"{topic}.out", rival.records)
            yield _row(rival.name, made, ours.made)


def _row(name: str, speed: Speed, ours: Speed) -> str:
    return f"| {name} | {speed.rate:,.0f} | {speed.micros:,.2f} | {ours.rate / speed.rate:,.2f} |"


if __name__ == "__main__":
    print(*table(), sep="\n")
