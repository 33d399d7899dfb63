"""The topics of one application: looked up, created where they are missing, grown where they are too small."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest

from streamrnn.errors import FatalError, TransportError
from streamrnn.transport.kafka_connection import (
    REFUSALS,
    REQUEST_TIMEOUT,
    KafkaSettings,
    client_options,
    drop_admin,
    kafka_call,
    log,
    refusal,
)

DEFAULT_MAX_BYTES = 1_048_588  # the broker's own default of message.max.bytes
STATE_CONFIGS = {
    "cleanup.policy": "compact",
    "segment.bytes": str(32 << 20),  # small, so that compaction comes soon: the newest segment is never compacted
    "min.cleanable.dirty.ratio": "0.2",
    "max.message.bytes": str(DEFAULT_MAX_BYTES),  # a page must fit, whatever the broker's default
}
# a record keeps its timestamp, so what the input lets in its outputs must let in too
TIMESTAMP_LIMITS = ("message.timestamp.after.max.ms", "message.timestamp.before.max.ms")


@dataclass(frozen=True, slots=True)
class Topics:
    """Partitions of each topic, 0 where the anomalies have none, and the largest record batch it takes, in bytes."""

    input_partitions: int
    output_partitions: int
    dead_letter_partitions: int
    anomaly_partitions: int
    state_partitions: int
    output_max_bytes: int  # of the output topic or that of the anomalies, whichever takes less
    dead_letter_max_bytes: int
    state_max_bytes: int


def too_few_partitions(settings: KafkaSettings, inputs: int, outputs: int) -> str:
    """What is wrong with an output topic of fewer partitions than the input's, and how it is mended."""
    return (
        f"topic {settings.output_topic} has {outputs} partitions, {settings.input_topic} has {inputs}: a forecast "
        f"keeps its record's partition number. Add partitions (kafka-topics.sh --alter --topic "
        f"{settings.output_topic} --partitions {inputs}) or set another output.topic"
    )


def no_input(settings: KafkaSettings) -> FatalError:
    """The error to raise where the input topic is missing: it is never created."""
    return FatalError(
        f"input topic {settings.input_topic} does not exist at {settings.bootstrap_servers}. "
        "Create it or mend input.topic."
    )


async def prepare_topics(settings: KafkaSettings) -> Topics:
    """Look at the application's topics, create what is missing and grow the state topic to the input's number.

    Raises FatalError for a missing input topic and for refused rights, TransportError where Kafka does not answer. An
    output topic that is too small is left to the caller to judge.
    """
    state, output, dead_letter = settings.state_topic, settings.output_topic, settings.dead_letter_topic
    ours = _ours(settings)
    async with _admin(settings) as admin:
        counts, missing, times = await _look(admin, settings)
        partitions = counts[settings.input_topic]
        for name, configs in missing.items():
            await _create(admin, name, partitions, configs)
        if counts.get(state, partitions) < partitions:
            log.info("topic %s grows from %d to %d partitions", state, counts[state], partitions)
            with kafka_call(f"topic {state} cannot be grown to {partitions} partitions", f"Alter on topic {state}"):
                await admin.create_partitions({state: NewPartitions(partitions)})
        while len(counts) < len({settings.input_topic, *ours}) or counts[state] < partitions:
            await asyncio.sleep(0.05)  # what was created shows a little later
            counts = await _partitions(admin, settings, settings.input_topic, *ours)
        limits = await _configs(admin, *ours)
    _warn(settings, limits, times)
    max_bytes = {name: int(configs.get("max.message.bytes", DEFAULT_MAX_BYTES)) for name, configs in limits.items()}
    return Topics(
        input_partitions=counts[settings.input_topic],
        output_partitions=counts[output],
        dead_letter_partitions=counts[dead_letter],
        anomaly_partitions=counts.get(settings.anomaly_topic or "", 0),
        state_partitions=counts[state],
        output_max_bytes=min(max_bytes[name] for name in _of_forecasts(settings)),
        dead_letter_max_bytes=max_bytes[dead_letter],
        state_max_bytes=max_bytes[state],
    )


async def survey_topics(settings: KafkaSettings) -> dict[str, int | None]:
    """The partitions of each of the application's topics, the input first; None for one that `run` would create.

    Creates none, and asks the broker whether it would let us. Raises what `prepare_topics` raises.
    """
    async with _admin(settings) as admin:
        counts, missing, times = await _look(admin, settings)
        for name, configs in missing.items():
            await _create(admin, name, counts[settings.input_topic], configs, only_ask=True)
        there = [name for name in dict.fromkeys(_ours(settings)) if name in counts]
        _warn(settings, await _configs(admin, *there) if there else {}, times)
    return {name: counts.get(name) for name in dict.fromkeys((settings.input_topic, *_ours(settings)))}


def _warn(settings: KafkaSettings, found: Mapping[str, Mapping[str, str]], times: Mapping[str, str]) -> None:
    """Log what about the settings of topics that are there will hurt; times: the limits that the input has."""
    for key, theirs in times.items():
        for name in found:
            if name != settings.state_topic and int(found[name].get(key, theirs)) < int(theirs):
                log.warning(
                    "topic %s refuses timestamps that %s takes, and a record with one would stop its partition: "
                    "set its %s to %s",
                    name,
                    settings.input_topic,
                    key,
                    theirs,
                )
    if "compact" not in found.get(settings.state_topic, {}).get("cleanup.policy", "compact"):
        log.warning("topic %s is not compacted (cleanup.policy): snapshots in it will be lost", settings.state_topic)


def _ours(settings: KafkaSettings) -> list[str]:
    """The topics that are written to."""
    return [*_of_forecasts(settings), settings.dead_letter_topic, settings.state_topic]


def _of_forecasts(settings: KafkaSettings) -> list[str]:
    """Those that forecasts are written to: all of them, and the anomalies."""
    return [settings.output_topic] + ([] if settings.anomaly_topic is None else [settings.anomaly_topic])


async def _look(
    admin: AIOKafkaAdminClient, settings: KafkaSettings
) -> tuple[dict[str, int], dict[str, Mapping[str, str]], dict[str, str]]:
    """Partitions of each topic that exists, the settings of each that does not, and the input's limits of time."""
    ours = _ours(settings)
    counts = await _partitions(admin, settings, settings.input_topic, *ours)
    if settings.input_topic not in counts:
        raise no_input(settings)
    source = (await _configs(admin, settings.input_topic))[settings.input_topic]
    times = {key: source[key] for key in TIMESTAMP_LIMITS if key in source}
    wanted: dict[str, Mapping[str, str]] = {
        name: STATE_CONFIGS if name == settings.state_topic else times for name in ours
    }
    return counts, {name: configs for name, configs in wanted.items() if name not in counts}, times


async def partition_counts(settings: KafkaSettings, *names: str, operation: str = "") -> dict[str, int]:
    """The number of partitions of each of these topics that exists; creates none.

    operation: what is done to them, where that is not what the daemon does: the right that an error names.
    """
    async with _admin(settings) as admin:
        return await _partitions(admin, settings, *names, operation=operation)


@contextlib.asynccontextmanager
async def _admin(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(request_timeout_ms=int(REQUEST_TIMEOUT * 1000), **client_options(settings))
    try:
        with kafka_call(f"the topics of {settings.app_id} at {settings.bootstrap_servers}"):
            async with asyncio.timeout(REQUEST_TIMEOUT):
                await admin.start()
                yield admin
    finally:
        await drop_admin(admin)


async def _partitions(
    admin: AIOKafkaAdminClient, settings: KafkaSettings, *names: str, operation: str = ""
) -> dict[str, int]:
    """The number of partitions of each of these topics that exists."""
    # describe_topics() would have the broker create a topic that is missing, if it is allowed to (aiokafka 0.14)
    answer = await admin._send_request(MetadataRequest(list(dict.fromkeys(names)), allow_auto_topic_creation=False))
    counts = {}
    for topic in answer.to_object()["topics"]:
        error = kafka_errors.for_code(topic["error_code"])
        if error is kafka_errors.NoError:
            counts[topic["topic"]] = len(topic["partitions"])
        elif error not in (kafka_errors.UnknownTopicOrPartitionError, kafka_errors.LeaderNotAvailableError):
            name = topic["topic"]
            needs = f"{operation} on topic {name}" if operation else _rights(settings, name)
            raise refusal(f"topic {name}", error(), needs)
    return counts


def _rights(settings: KafkaSettings, name: str) -> str:
    """All that is needed on this topic: where it cannot even be seen none of it is there."""
    rights = {
        settings.input_topic: "Read",
        settings.output_topic: "Read and Write",
        settings.state_topic: "Read and Write",
    }
    return f"{rights.get(name, 'Write')} on topic {name}"


async def _create(
    admin: AIOKafkaAdminClient, name: str, partitions: int, configs: Mapping[str, str], *, only_ask: bool = False
) -> None:
    # an empty assignment, not None, is what lets the broker's default replication (-1) through (aiokafka 0.14)
    answer = await admin.create_topics([NewTopic(name, partitions, -1, {}, dict(configs))], validate_only=only_ask)
    for _, code, message, *_ in answer.topic_errors:
        error = kafka_errors.for_code(code)
        if error is kafka_errors.NoError and only_ask:
            continue
        if error is kafka_errors.NoError:
            log.info("created topic %s with %d partitions", name, partitions)
        elif error in (kafka_errors.RequestTimedOutError, kafka_errors.NotControllerError):
            raise TransportError(f"topic {name} could not be created: {error.__name__}: {message}")
        elif error is not kafka_errors.TopicAlreadyExistsError:  # another worker was faster
            wish = " ".join(f"--config {key}={value}" for key, value in configs.items())
            right = f" This needs the right Create on topic {name}, or:" if error in REFUSALS else " Create it:"
            raise FatalError(
                f"topic {name} does not exist and could not be created: {error.__name__}: {message}.{right} "
                f"kafka-topics.sh --create --topic {name} --partitions {partitions} {wish}"
            )


async def _configs(admin: AIOKafkaAdminClient, *names: str) -> dict[str, dict[str, str]]:
    """What each topic says of its records' size and time and of its cleaning; nothing where we may not know."""
    keys: dict[str, Any] = dict.fromkeys(("max.message.bytes", "cleanup.policy", *TIMESTAMP_LIMITS))
    found: dict[str, dict[str, str]] = {name: {} for name in names}
    for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, n, keys) for n in found]):
        for code, message, _, name, entries in answer.resources:
            if code:
                log.warning("the settings of topic %s cannot be read, the defaults are assumed: %s", name, message)
            else:
                found[name] = {entry[0]: entry[1] for entry in entries}
    return found
