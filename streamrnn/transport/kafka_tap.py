"""The outputs and inputs of an application on Kafka, read from outside its group."""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streamrnn.errors import FatalError
from streamrnn.transport.contract import PartitionId, RawBatch
from streamrnn.transport.kafka_connection import (
    REQUEST_TIMEOUT,
    KafkaSettings,
    client_options,
    drop_consumer,
    kafka_call,
    knock,
)
from streamrnn.transport.kafka_records import raw_batch
from streamrnn.transport.kafka_topics import partition_counts

RECORDS = 500  # at most, in one batch
SILENCE = 5.0  # seconds without outputs, then the broker is asked whether it is there: the client would not tell
ANSWER_WITHIN = 10.0


class KafkaTap:
    """Implements `Tap` with two consumers of no group: all partitions of the output, and those of the input."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._outputs: Any = None
        self._inputs: Any = None
        self._places: list[TopicPartition] = []  # of the output
        self._ends: dict[TopicPartition, int] = {}  # those that have not been reached, as they were at the start
        self._reading: dict[TopicPartition, int] = {}  # where reading of the input goes on
        self._heard = 0.0  # when the broker last gave a sign of life, by the loop's clock

    @property
    def caught_up(self) -> bool:
        return not self._ends

    async def start(self, back: int | None) -> None:
        settings = self._settings
        await knock(settings)
        counts = await partition_counts(settings, settings.input_topic, settings.output_topic)
        for topic, hint in (
            (settings.input_topic, "Create it or mend input.topic"),
            (settings.output_topic, "`streamrnn run` creates it when it starts; or mend output.topic"),
        ):
            if topic not in counts:
                raise FatalError(f"topic {topic} does not exist at {settings.bootstrap_servers}. {hint}.")
        self._places = [TopicPartition(settings.output_topic, i) for i in range(counts[settings.output_topic])]
        with kafka_call(f"topic {settings.output_topic} could not be read", f"Read on topic {settings.output_topic}"):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                self._outputs = await self._consumer(self._places)
                first = await self._outputs.beginning_offsets(self._places)
                end = await self._outputs.end_offsets(self._places)
        for place in self._places:
            self._outputs.seek(place, first[place] if back is None else max(first[place], end[place] - back))
        self._ends = {place: end[place] for place in self._places if end[place] > first[place]}
        sources = [TopicPartition(settings.input_topic, i) for i in range(counts[settings.input_topic])]
        with kafka_call(f"topic {settings.input_topic} could not be read", f"Read on topic {settings.input_topic}"):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                self._inputs = await self._consumer(sources)
                self._inputs.pause(*sources)  # else it begins with the oldest records of them all
        self._heard = asyncio.get_running_loop().time()

    async def outputs(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        consumer, clock = self._outputs, asyncio.get_running_loop().time
        topic = self._settings.output_topic
        with kafka_call(f"topic {topic} could not be read", f"Read on topic {topic}"):
            polled = await consumer.getmany(timeout_ms=int(max_wait * 1000), max_records=RECORDS)
            made = {
                PartitionId(self._settings.input_topic, place.partition): raw_batch(
                    records, await consumer.position(place)
                )
                for place, records in polled.items()
            }
            for place, end in list(self._ends.items()):
                # it moves over control records and aborted pages too, also when nothing follows (aiokafka 0.14)
                if await consumer.position(place) >= end:
                    del self._ends[place]
            if made:
                self._heard = clock()
            elif clock() - self._heard > SILENCE:
                async with asyncio.timeout(ANSWER_WITHIN):
                    await consumer.end_offsets(self._places[:1])
                self._heard = clock()
        return made

    async def inputs(self, partition: PartitionId, offset: int) -> RawBatch:
        source = TopicPartition(partition.topic, partition.partition)
        consumer = self._inputs
        with kafka_call(f"{partition} could not be read", f"Read on topic {partition.topic}"):
            if self._reading.get(source) != offset:
                consumer.seek(source, offset)
                consumer.resume(source)
            async with asyncio.timeout(REQUEST_TIMEOUT):
                while True:
                    polled = await consumer.getmany(source, timeout_ms=100, max_records=RECORDS)
                    reached = await consumer.position(source)
                    if reached > offset:
                        self._reading[source] = reached
                        return raw_batch(polled.get(source, []), reached)

    async def stop(self) -> None:
        for consumer in (self._outputs, self._inputs):
            if consumer is not None:
                await drop_consumer(consumer)
        self._outputs = self._inputs = None

    async def _consumer(self, places: Iterable[TopicPartition]) -> Any:
        """A consumer that has begun, of these partitions and of no group."""
        named = {"client_id": f"{self._settings.app_id}-tail"}  # quotas of the workers are not ours to use up
        consumer = AIOKafkaConsumer(
            **(client_options(self._settings) | named),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=100,  # an output is shown soon after it is committed
        )
        try:
            await consumer.start()
            consumer.assign(list(places))
        except BaseException:
            await drop_consumer(consumer)
            raise
        return consumer
