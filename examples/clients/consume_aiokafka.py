"""Read the forecasts that streamrnn publishes, with aiokafka.

    python consume_aiokafka.py

One line for each forecast and horizon, with a mark where something new began. Ends after --count forecasts, or never.
"""

import argparse
import asyncio
import itertools
import json
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer

NEW = 0.999  # an anomaly of at least so much: a new incident


async def consume(bootstrap_servers: str, topic: str, group: str, count: int | None) -> None:
    """Print forecasts, from where this group has come to."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        isolation_level="read_committed",  # else forecasts are seen that a crash takes back and makes anew
    )
    async with consumer:
        for _ in range(count) if count else itertools.count():
            record = await consumer.getone()
            if record.value is None:
                print(f"{record.key.decode()} was forgotten")
            else:
                show(json.loads(record.value))


def show(forecast: dict[str, Any]) -> None:
    """Print a forecast: mean, lower and upper have an entry a horizon, null until the stream's first number."""
    when = datetime.fromtimestamp(forecast["time"] / 1000, UTC).isoformat()
    mark = " !" if (forecast["anomaly"] or 0.0) >= NEW else ""  # null for the first hundred records
    bounds = zip(forecast["horizons"], forecast["mean"], forecast["lower"], forecast["upper"], strict=True)
    for steps, mean, lower, upper in bounds:
        print(f"{forecast['stream']} {when} +{steps}: {mean}, {lower} to {upper}{mark}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="sensors.forecast")
    parser.add_argument("--group", default="forecast-reader")
    parser.add_argument("--count", type=int)
    given = parser.parse_args()
    asyncio.run(consume(given.bootstrap_servers, given.topic, given.group, given.count))
