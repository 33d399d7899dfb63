"""The stored state of an application on Kafka as an operator sees it: looked at without a trace, dropped for good."""

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from streamrnn.errors import FatalError, SnapshotError, TransportError
from streamrnn.transport.contract import PartitionId, StoredState
from streamrnn.transport.kafka_connection import (
    REQUEST_TIMEOUT,
    KafkaSettings,
    client_options,
    drop_producer,
    kafka_call,
    knock,
    log,
    read_error,
    refusal,
)
from streamrnn.transport.kafka_reader import committed_and_log, read_snapshot, stored_keys
from streamrnn.transport.kafka_topics import partition_counts

ATTEMPTS = 5  # to drop; a task that begins again meanwhile fences this as this fenced it


class KafkaStateStore:
    """Implements `StateStore`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    async def partitions(self) -> list[PartitionId]:
        """Those of the state topic, which has as many as the input had when a worker last began."""
        settings = self._settings
        await knock(settings)
        number = (await partition_counts(settings, settings.state_topic)).get(settings.state_topic)
        if number is None:
            raise FatalError(
                f"topic {settings.state_topic} does not exist at {settings.bootstrap_servers}: no worker with app_id "
                f"{settings.app_id} has ever read {settings.input_topic} there. Nothing is stored, or app_id or "
                "input.topic is another one"
            )
        return [PartitionId(settings.input_topic, i) for i in range(number)]

    async def look(self, partition: PartitionId) -> StoredState:
        settings, number = self._settings, partition.partition
        snapshot, refused = None, None
        try:
            snapshot = await read_snapshot(settings, number)
        except SnapshotError as error:
            refused = str(error)
        # after the snapshot: a living task commits further and further beyond it
        inputs = (await partition_counts(settings, settings.input_topic)).get(settings.input_topic, 0)
        committed, bounds = await committed_and_log(settings, number, exists=number < inputs)
        return StoredState(committed, bounds, snapshot, refused)

    async def drop(self, partition: PartitionId) -> bool:
        """Tombstones for the header and for every page, under the id of the task, which is fenced by that."""
        found = False
        for attempt in range(1, ATTEMPTS + 1):
            # the long part before the fence: a task that notices it begins again, and then fences this
            keys, end = await stored_keys(self._settings, partition.partition)
            found = found or any(keys.values())
            try:
                await self._forget(partition, keys, end)
                break
            except TransportError as error:
                if attempt == ATTEMPTS:
                    raise
                log.info("%s; once more", error)
        return found

    async def _forget(self, partition: PartitionId, keys: Iterable[bytes], end: int) -> None:
        """Fence, look for what was written since `end`, and write one transaction of tombstones."""
        settings, number = self._settings, partition.partition
        what = f"{partition}: the snapshot could not be dropped"
        producer = AIOKafkaProducer(
            **client_options(settings),
            enable_idempotence=True,
            transactional_id=settings.snapshot_transactional_id(number),
            transaction_timeout_ms=int(REQUEST_TIMEOUT * 1000),
        )
        try:
            with kafka_call(what):
                async with asyncio.timeout(REQUEST_TIMEOUT):
                    await producer.start()
            more, _ = await stored_keys(settings, number, end)
            every = {*keys, *more}
            if not every:
                return
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await producer.begin_transaction()
                sent = [await producer.send(settings.state_topic, None, key, number) for key in sorted(every)]
                for future in sent:
                    future.add_done_callback(read_error)
                # a transaction is committed although a batch of it failed: await every one before (aiokafka 0.14)
                await asyncio.gather(*sent)
                await producer.commit_transaction()
        except FatalError:
            raise
        except Exception as error:  # a producer that was fenced fails in many ways (aiokafka 0.14)
            raise refusal(what, error) from error
        finally:
            await drop_producer(producer)
