"""Send readings to the topic that streamrnn reads, with confluent-kafka.

    echo pump-7,2024-01-01T00:00:00Z,12.5 | python produce_confluent.py

Each line of the input is the stream, the time (RFC 3339) and the value; no value says that it is missing.
"""

import argparse
import csv
import json
import sys

from confluent_kafka import KafkaError, Message, Producer

WAITING = 50_000  # records that may wait to be sent; the client takes twice as many


def produce(bootstrap_servers: str, topic: str) -> None:
    """Send the lines of stdin; returns when the broker has them all."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,  # a batch that is sent twice because an answer was lost is written once
            # the partition that Java's and aiokafka's clients choose for a key; librdkafka's own choice is another,
            # and a stream whose records are in two partitions is two streams
            "partitioner": "murmur2_random",
        }
    )
    lost: list[KafkaError] = []

    def answered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            lost.append(error)

    count = 0
    for stream, time, value in csv.reader(sys.stdin):
        message = {"value": float(value) if value else None, "time": time}
        # the key names the stream, and keeps its records in one partition and in order
        producer.produce(topic, json.dumps(message), key=stream, on_delivery=answered)
        producer.poll(1.0 if len(producer) > WAITING else 0)  # hears the answers that are there
        count += 1
    producer.flush()
    if lost:
        sys.exit(f"{len(lost)} of {count} records were not written: {lost[0]}")
    print(f"{count} records sent")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="sensors")
    given = parser.parse_args()
    produce(given.bootstrap_servers, given.topic)
