"""From the configuration to the objects that it describes."""

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from streamrnn import __version__
from streamrnn.engine.record_reader import InputFormat
from streamrnn.service.backend import backend
from streamrnn.service.forecasting import forecast_settings as forecast_settings
from streamrnn.service.forecasting import initial_model as initial_model
from streamrnn.service.metrics import Metrics
from streamrnn.service.settings import Config
from streamrnn.service.systemd import ServiceManager
from streamrnn.service.task_settings import TaskSettings
from streamrnn.transport.contract import StateStore, Tap, Transport
from streamrnn.transport.file import FileSettings, FileTransport
from streamrnn.transport.file_state import FileStateStore
from streamrnn.transport.file_tap import FileTap
from streamrnn.transport.kafka import KafkaSecurity, KafkaSettings, KafkaTransport
from streamrnn.transport.kafka_state import KafkaStateStore
from streamrnn.transport.kafka_tap import KafkaTap

if TYPE_CHECKING:
    from streamrnn.service.worker import Worker


def input_format(config: Config) -> InputFormat:
    """What a message looks like."""
    names = config.input.fields
    given = {"value": names.value, "time": names.time, "stream": names.stream}
    return InputFormat(
        features=config.input.features,
        fields={name: found for name, found in given.items() if found is not None},
        max_bytes=config.input.max_bytes,
        max_steps=config.input.max_steps,
        lines=config.transport == "file",
    )


def task_settings(config: Config, xp: ModuleType = np) -> TaskSettings:
    """What a task needs to know; xp: where its arrays live. Raises ConfigError for a model that does not fit."""
    return TaskSettings(
        forecast=forecast_settings(config),
        form=input_format(config),
        every_step=config.output.steps == "all",
        start=config.input.start,
        commit_interval=config.kafka.commit_interval,
        snapshot_interval=config.state.snapshot_interval,
        rebuild=config.state.rebuild,
        initial=initial_model(config),
        xp=xp,
        anomalous_from=config.anomalies.threshold if config.anomalies.topic else None,
    )


def kafka_settings(config: Config) -> KafkaSettings:
    """What the Kafka transport needs to know."""
    kafka, security = config.kafka, config.kafka.security
    return KafkaSettings(
        app_id=config.app_id,
        bootstrap_servers=kafka.bootstrap_servers,
        input_topic=config.input.topic,
        output_topic=config.output.topic,
        dead_letter_topic=config.dead_letter.topic or f"{config.input.topic}.dead-letter",
        anomaly_topic=config.anomalies.topic,
        delivery=kafka.delivery,
        session_timeout=kafka.session_timeout,
        transaction_timeout=kafka.transaction_timeout,
        group_instance_id=kafka.group_instance_id,
        fetch_bytes=max(1 << 20, config.input.max_bytes),
        security=KafkaSecurity(
            protocol=security.protocol,
            mechanism=security.mechanism,
            username=security.username,
            password=security.password,
            ca_file=security.ca_file,
            cert_file=security.cert_file,
            key_file=security.key_file,
        ),
    )


def file_settings(config: Config) -> FileSettings:
    """What the file transport needs to know."""
    return FileSettings(
        input=config.file.input,
        output=config.file.output,
        state=Path(config.file.state),
        dead_letter=config.dead_letter.topic or "",
        anomalies=config.anomalies.topic,
        app_id=config.app_id,
        max_line_bytes=max(16 << 20, 2 * config.input.max_bytes),
    )


def transport_maker(config: Config) -> Callable[[], Transport]:
    """Makes a new transport at each call: one that has failed is of no more use."""
    if config.transport == "file":
        return lambda: FileTransport(file_settings(config))
    return lambda: KafkaTransport(kafka_settings(config))


def state_store(config: Config) -> StateStore:
    """What the workers of this configuration have left."""
    if config.transport == "file":
        return FileStateStore(file_settings(config))
    return KafkaStateStore(kafka_settings(config))


def tap(config: Config) -> Tap:
    """A look from outside at what the workers of this configuration publish."""
    if config.transport == "file":
        return FileTap(file_settings(config))
    return KafkaTap(kafka_settings(config))


def metrics(config: Config, xp: ModuleType = np) -> Metrics:
    """The metrics of a process that runs this configuration on arrays of this module."""
    return Metrics(
        version=__version__, backend=xp.__name__, cell=config.model.cell, horizons=tuple(config.forecast.horizons)
    )


def worker(config: Config, *, http: bool = True) -> "Worker":
    """The daemon. Raises ConfigError where it lacks something that the configuration asks for."""
    # with these comes the HTTP server, which other commands do without
    from streamrnn.service.http import HttpSettings
    from streamrnn.service.worker import Worker

    xp, h = backend(config, daemon=True), config.http
    return Worker(
        transport_maker(config),
        task_settings(config, xp),
        metrics(config, xp),
        shutdown_timeout=config.shutdown_timeout,
        http=HttpSettings(h.host, h.port, h.token, h.tls_cert_file, h.tls_key_file) if http else None,
        manager=ServiceManager.of(os.environ),
    )
