"""A CSV replayed into the input topic: what a user has in a file, as the daemon would meet it."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
from aiokafka import AIOKafkaProducer

from streamrnn.transport.csv_table import CsvTable
from streamrnn.transport.kafka import KafkaSettings
from streamrnn.transport.kafka_connection import client_options, drop_producer, kafka_call, knock
from streamrnn.transport.kafka_topics import no_input, partition_counts

FLUSH_RECORDS = 4096


def messages(table: CsvTable, row: int, *, multivariate: bool, stem: str) -> list[tuple[bytes, bytes]]:
    """Key and value of each record of one row: one a column, or one in all."""
    moment = int(table.times[row])
    cells = ["null" if np.isnan(value) else repr(float(value)) for value in table.values[row]]
    if multivariate:
        return [(stem.encode(), f'{{"values":[{",".join(cells)}],"time":{moment}}}'.encode())]
    return [
        (name.encode(), f'{{"value":{cell},"time":{moment}}}'.encode())
        for name, cell in zip(table.names, cells, strict=True)
    ]


async def produce(
    settings: KafkaSettings,
    table: CsvTable,
    *,
    stem: str,
    multivariate: bool,
    speed: float | None,
    on_rows: Callable[[int], None],
) -> int:
    """Send every row, as fast as the broker takes it or `speed` times as fast as its times say. Returns the records.

    Raises FatalError, TransportError where the broker or the topic is not there.
    """
    await knock(settings)
    topic = settings.input_topic
    if topic not in await partition_counts(settings, topic, operation="Write"):
        raise no_input(settings)
    with kafka_call(f"producing to {topic}", f"Write on topic {topic}"):
        producer = AIOKafkaProducer(
            **client_options(settings), enable_idempotence=True, linger_ms=20, max_batch_size=1 << 18
        )
        try:
            await producer.start()
            sent: list[asyncio.Future[object]] = []
            records, began = 0, time.monotonic()
            for row in range(len(table.values)):
                if speed:
                    due = began + (int(table.times[row]) - int(table.times[0])) / 1000 / speed
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                for key, value in messages(table, row, multivariate=multivariate, stem=stem):
                    sent.append(await producer.send(topic, value, key))
                    records += 1
                if len(sent) >= FLUSH_RECORDS:
                    await asyncio.gather(*sent)
                    sent.clear()
                on_rows(row + 1)
            await asyncio.gather(*sent)
            return records
        finally:
            await drop_producer(producer)
