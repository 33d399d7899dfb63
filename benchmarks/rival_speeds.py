"""streamrnn beside what others would run on the same records: 1,000 streams, one core for the program, exactly once.

    python -m benchmarks.rival_speeds

The clock of each starts with its first record. What each rival is and how it was tuned: benchmarks/rivals/.
"""

import asyncio
import subprocess
from collections.abc import Iterator

from benchmarks import rivals
from benchmarks.measured import PARTITIONS, Speed, program
from benchmarks.source import Source
from benchmarks.throughput import Case, Input, Throughput, kafka

STREAMS = 1000
RECORDS = {"kafka_streams": 1_000_000, "quix_river": 100_000, "quix_deep_river": 3000}  # some ten seconds of each
NAMES = {
    "kafka_streams": "Kafka Streams, a count for each key, no learning",
    "quix_river": "Quix Streams with river's linear regression",
    "quix_deep_river": "Quix Streams with deep-river's LSTM",
}


def table() -> Iterator[str]:
    """Lines of a table."""
    subprocess.run(rivals.INSTALL, check=True)
    with kafka() as broker:
        ours = Throughput(broker).measure(Case("streamrnn", Input(STREAMS)))
        yield "| | records/s | CPU-µs a record | streamrnn is faster by |"
        yield "|---|---:|---:|---:|"
        yield _row("streamrnn", ours.made, ours.made)
        yield _row("bare pass-through", ours.bare, ours.made)
        for name, records in RECORDS.items():
            topic = f"records-for-{name}"
            for made in (topic, f"{topic}.out"):
                broker.create_topic(made, PARTITIONS)
            asyncio.run(Source(topic, PARTITIONS, STREAMS).pour(broker.bootstrap_servers, records))
            rival = program(broker, rivals.COMMANDS[name], topic, f"{topic}.out", records)
            yield _row(NAMES[name], rival, ours.made)


def _row(name: str, speed: Speed, ours: Speed) -> str:
    return f"| {name} | {speed.rate:,.0f} | {speed.micros:,.2f} | {ours.rate / speed.rate:,.2f} |"


if __name__ == "__main__":
    print(*table(), sep="\n")
