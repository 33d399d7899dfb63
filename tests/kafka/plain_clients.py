"""Programs outside: they write to and read from topics and know nothing of streamrnn."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import TopicPartition

PATIENCE = 30.0


async def write(
    bootstrap_servers: str,
    topic: str,
    records: Sequence[tuple[bytes | None, bytes | None]],
    *,
    partition: int = 0,
    timestamp: int | None = None,
    transaction: str | None = None,  # a transactional id: the records are one transaction
    commit: bool = True,  # False: it is aborted
) -> None:
    """Send key and value of these records."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, transactional_id=transaction)
    await producer.start()
    try:
        if transaction is not None:
            await producer.begin_transaction()
        batch = producer.create_batch()
        for key, value in records:
            assert batch.append(key=key, value=value, timestamp=timestamp) is not None
        await (await producer.send_batch(batch, topic, partition=partition))
        if transaction is not None:
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def read(
    bootstrap_servers: str, topic: str, partition: int = 0, patience: float = PATIENCE
) -> list[ConsumerRecord]:
    """Every record that a read_committed reader sees, once no transaction is open any more."""
    place = TopicPartition(topic, partition)
    options = {"bootstrap_servers": bootstrap_servers, "enable_auto_commit": False}
    written, committed = (
        AIOKafkaConsumer(**options),
        AIOKafkaConsumer(**options, isolation_level="read_committed", auto_offset_reset="earliest"),
    )
    seen: list[ConsumerRecord] = []
    async with asyncio.timeout(patience), written, committed:
        end = (await written.end_offsets([place]))[place]
        committed.assign([place])
        committed.seek(place, 0)  # at once: what a wait would let in is fetched a second time
        while await committed.position(place) < end:
            for records in (await committed.getmany(timeout_ms=50)).values():
                seen += records
    return seen


@asynccontextmanager
async def administrator(bootstrap_servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that may create, grow, describe and cut topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()
