"""What `check` tries: can the input be read, is there where to write?"""

from streamrnn.errors import StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.settings import Config
from streamrnn.transport.contract import PartitionId
from streamrnn.transport.file import FileTransport
from streamrnn.transport.kafka_connection import knock
from streamrnn.transport.kafka_topics import prepare_topics, too_few_partitions


async def reach(config: Config) -> str:
    """One line on what was found; nothing is changed. Raises StreamRNNError where `run` could not work."""
    if config.transport == "file":
        transport = FileTransport(assembly.file_settings(config))
        await transport.start(_Nobody())
        await transport.stop()
        return f"{config.file.input} can be read, {config.file.output} and {config.file.state} can be written"
    settings = assembly.kafka_settings(config)
    await knock(settings)
    topics = await prepare_topics(settings, create=False)
    if 0 < topics.output_partitions < topics.input_partitions:
        raise StreamRNNError(too_few_partitions(settings, topics))
    ours = {
        settings.output_topic: topics.output_partitions,
        settings.dead_letter_topic: topics.dead_letter_partitions,
        settings.state_topic: topics.state_partitions,
    }
    if settings.anomaly_topic is not None:
        ours[settings.anomaly_topic] = topics.anomaly_partitions
    found = {settings.input_topic: topics.input_partitions} | {
        name: number for name, number in ours.items() if number
    }
    told = ", ".join(f"{name} has {number} partition{'s'[: number > 1]}" for name, number in found.items())
    missing = [name for name, number in ours.items() if not number]
    return f"{config.kafka.bootstrap_servers} answers: {told}" + (
        f". `streamrnn run` will create {', '.join(missing)}" if missing else ""
    )


class _Nobody:
    """Takes what is assigned and does nothing with it."""

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        pass

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        pass
