"""Send readings to the topic that streamrnn reads, with aiokafka.

    echo pump-7,2024-01-01T00:00:00Z,12.5 | python produce_aiokafka.py

Each line of the input is the stream, the time (RFC 3339) and the value; no value says that it is missing.
"""

import argparse
import asyncio
import csv
import json
import sys

from aiokafka import AIOKafkaProducer


async def produce(bootstrap_servers: str, topic: str) -> None:
    """Send the lines of stdin; returns when the broker has them all."""
    # idempotent: a batch that is sent twice because an answer was lost is written once
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True) as producer:
        sent = []
        for stream, time, value in csv.reader(sys.stdin):
            message = {"value": float(value) if value else None, "time": time}
            # the key names the stream, and keeps its records in one partition and in order
            sent.append(await producer.send(topic, json.dumps(message).encode(), key=stream.encode()))
        await asyncio.gather(*sent)  # a record that was not written raises here
    print(f"{len(sent)} records sent")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--topic", default="sensors")
    given = parser.parse_args()
    asyncio.run(produce(given.bootstrap_servers, given.topic))
