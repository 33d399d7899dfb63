"""The Kafka transport passes the contract."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from streamrnn.transport.contract import PartitionId
from streamrnn.transport.kafka import KafkaSettings, KafkaTransport
from tests.kafka.broker import Broker
from tests.kafka.plain_clients import read, write
from tests.transport.contract_case import Seen, TransportContract, World


class KafkaWorld(World):
    """An input topic of one partition, and the topics of one application."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.partition = PartitionId(settings.input_topic, 0)

    def transport(self) -> KafkaTransport:
        return KafkaTransport(self.settings)

    async def outputs(self) -> list[tuple[bytes, bytes | None]]:
        return await self._seen(self.settings.output_topic)

    async def anomalies(self) -> list[tuple[bytes, bytes | None]]:
        assert self.settings.anomaly_topic is not None
        return await self._seen(self.settings.anomaly_topic)

    async def _seen(self, topic: str) -> list[tuple[bytes, bytes | None]]:
        return [(record.key, record.value) for record in await read(self.settings.bootstrap_servers, topic)]

    async def dead_letters(self) -> list[Seen]:
        seen = []
        for record in await read(self.settings.bootstrap_servers, self.settings.dead_letter_topic):
            told = {name.removeprefix("__streamrnn.errors"): value.decode() for name, value in record.headers}
            offset, stage = int(told[".offset"]), told[".stage"]
            seen.append(Seen(offset, record.value, stage, told[".exception.class.name"], told[".exception.message"]))
        return seen


class TestKafkaTransport(TransportContract):
    @pytest.fixture(autouse=True)
    def give_broker(self, broker: Broker, settings: KafkaSettings) -> None:
        self.broker = broker
        self.settings = replace(settings, anomaly_topic=f"{settings.input_topic}.anomalies")

    async def world(self, records: Sequence[tuple[bytes, bytes]]) -> KafkaWorld:
        self.broker.create_topic(self.settings.input_topic)
        await write(self.broker.bootstrap_servers, self.settings.input_topic, records)
        return KafkaWorld(self.settings)
