"""Read the forecasts that streamrnn publishes, with confluent-kafka.

    python consume_confluent.py

One line for each forecast and horizon, with a mark where something new began. Ends after --count forecasts, or never.
"""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Consumer, KafkaException

NEW = 0.999  # an anomaly of at least so much: a new incident


def consume(bootstrap_servers: str, topic: str, group: str, count: int | None) -> None:
    """Print forecasts, from where this group has come to."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",  # else forecasts are seen that a crash takes back and makes anew
        }
    )
    consumer.subscribe([topic])
    seen = 0
    try:
        while count is None or seen < count:
            record = consumer.poll(1.0)
            if record is None:
                continue
            if (error := record.error()) is not None:
                raise KafkaException(error)
            key, value = record.key() or b"", record.value()
            if value is None:
                print(f"{key.decode()} was forgotten")
            else:
                show(json.loads(value))
            seen += 1
    finally:
        consumer.close()


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
    consume(given.bootstrap_servers, given.topic, given.group, given.count)
