"""What `check` tries: can the input be read, is there where to write?"""

import os
from pathlib import Path

from streamrnn.errors import StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.settings import Config
from streamrnn.transport.kafka_connection import knock
from streamrnn.transport.kafka_topics import prepare_topics, too_few_partitions


async def reach(config: Config) -> str:
    """One line on what was found. Raises StreamRNNError where `run` could not work."""
    if config.transport == "file":
        source = Path(config.file.input)
        if config.file.input != "-" and not os.access(source, os.R_OK):
            raise StreamRNNError(f"file.input: {source} cannot be read")
        return f"reads {config.file.input}, writes {config.file.output}"
    settings = assembly.kafka_settings(config)
    await knock(settings)
    topics = await prepare_topics(settings)
    if topics.output_partitions < topics.input_partitions:
        raise StreamRNNError(too_few_partitions(settings, topics))
    return (
        f"{config.kafka.bootstrap_servers} answers: {config.input.topic} has {topics.input_partitions} partitions, "
        f"{config.output.topic} {topics.output_partitions}, {settings.state_topic} {topics.state_partitions}"
    )
