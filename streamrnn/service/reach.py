"""What `check` tries: can the input be read, is there where to write?"""

from streamrnn.errors import StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.settings import Config
from streamrnn.transport.contract import PartitionId
from streamrnn.transport.file import FileTransport
from streamrnn.transport.kafka_connection import knock
from streamrnn.transport.kafka_topics import prepare_topics, too_few_partitions


async def reach(config: Config) -> str:
    """One line on what was found. Raises StreamRNNError where `run` could not work."""
    if config.transport == "file":
        transport = FileTransport(assembly.file_settings(config))
        await transport.start(_Nobody())
        await transport.stop()
        return f"{config.file.input} can be read, {config.file.output} and {config.file.state} can be written"
    settings = assembly.kafka_settings(config)
    await knock(settings)
    topics = await prepare_topics(settings)
    if topics.output_partitions < topics.input_partitions:
        raise StreamRNNError(too_few_partitions(settings, topics))
    return (
        f"{config.kafka.bootstrap_servers} answers: {config.input.topic} has {topics.input_partitions} partitions, "
        f"{config.output.topic} {topics.output_partitions}, {settings.state_topic} {topics.state_partitions}"
    )


class _Nobody:
    """Takes what is assigned and does nothing with it."""

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        pass

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        pass
