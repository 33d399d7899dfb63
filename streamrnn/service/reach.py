"""What `check` tries: can the input be read, is there where to write?"""

from dataclasses import dataclass
from pathlib import Path

from streamrnn.errors import StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.settings import Config
from streamrnn.transport.file import FileTransport
from streamrnn.transport.kafka_connection import knock
from streamrnn.transport.kafka_topics import survey_topics, too_few_partitions


@dataclass(frozen=True, slots=True)
class Place:
    """A topic, a file or a folder."""

    name: str
    holds: str
    found: str


@dataclass(frozen=True, slots=True)
class Reached:
    """Everything that `run` would use, and how many partitions it would read."""

    places: list[Place]
    partitions: int


async def reach(config: Config) -> Reached:
    """Look at everything. No topic and no output is made. Raises StreamRNNError where `run` could not work."""
    return await (_files(config) if config.transport == "file" else _topics(config))


async def _files(config: Config) -> Reached:
    settings = assembly.file_settings(config)
    FileTransport(settings).look()
    written = {settings.output: "forecasts", settings.dead_letter_path: "dead letters"}
    if settings.anomalies is not None:
        written[settings.anomalies] = "anomalies"
    return Reached(
        [
            Place(settings.input, "records", "can be read"),
            *(Place(path, holds, _file(path)) for path, holds in written.items()),
            Place(str(settings.state), "state", "can be written"),
        ],
        1,
    )


def _file(path: str) -> str:
    if path == "-":
        return "a stream"
    return "is there, and grows" if Path(path).exists() else "will be created"


async def _topics(config: Config) -> Reached:
    settings = assembly.kafka_settings(config)
    await knock(settings)
    counts = await survey_topics(settings)
    partitions = counts[settings.input_topic] or 0
    outputs = counts[settings.output_topic]
    if outputs is not None and outputs < partitions:
        raise StreamRNNError(too_few_partitions(settings, partitions, outputs))
    holds = {settings.dead_letter_topic: "dead letters", settings.state_topic: "state"}
    if settings.anomaly_topic is not None:
        holds[settings.anomaly_topic] = "anomalies"
    holds |= {settings.output_topic: "forecasts", settings.input_topic: "records"}
    places = []
    for name, count in counts.items():
        found = f"will be created with {_partitions(partitions)}" if count is None else _partitions(count)
        if name == settings.state_topic and count is not None and count < partitions:
            found += f", will grow to {partitions}"
        places.append(Place(name, holds[name], found))
    return Reached(places, partitions)


def _partitions(count: int) -> str:
    return f"{count} partition{'s' * (count != 1)}"
