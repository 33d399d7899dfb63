"""What a consumer group has committed, asked so that "nothing" means nothing."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

PAUSE = 0.05  # seconds


async def committed_offsets(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]
) -> dict[TopicPartition, OffsetAndMetadata]:
    """The offsets of the consumer's group in these partitions; those that were never committed are left out.

    Waits for a coordinator that knows them; the caller sets the time limit. The client's own committed() takes an
    error of the whole answer, as of a broker that loads the offsets or does not coordinate the group any more, for
    "never committed" (aiokafka 0.14).
    """
    coordinator = consumer._coordinator
    topics: dict[str, list[int]] = defaultdict(list)
    for place in places:
        topics[place.topic].append(place.partition)
    while True:
        await coordinator.ensure_coordinator_known()
        try:
            answer = await coordinator._send_req(OffsetFetchRequest(coordinator.group_id, list(topics.items())))
            found = {
                (topic, partition): (error, OffsetAndMetadata(offset, metadata))
                for topic, partitions in answer.topics
                for partition, offset, metadata, error in partitions
            }
            for code in (answer.error_code, *(error for error, _ in found.values())):
                if code:
                    raise for_code(code)(f"the offsets of group {coordinator.group_id}")
            return {TopicPartition(*place): told for place, (_, told) in found.items() if told.offset >= 0}
        except KafkaError as error:
            if not error.retriable:
                raise
            if isinstance(error, NotCoordinatorForGroupError):
                coordinator.coordinator_dead()
            await asyncio.sleep(PAUSE)
