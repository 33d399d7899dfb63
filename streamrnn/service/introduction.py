"""What a configuration comes to, in a few sentences: `run` begins with them, `check` tells them and more."""

from collections.abc import Iterator
from types import ModuleType

from streamrnn.engine.compiled import compiler
from streamrnn.engine.settings import ForecastSettings
from streamrnn.service import assembly
from streamrnn.service.settings import Config
from streamrnn.transport.durable import is_stream

Sentence = tuple[str, str]  # a verb, and what it is done to


def introduction(config: Config, xp: ModuleType) -> list[Sentence]:
    """What is read, written, forecast, learnt and computed with. xp: where the arrays live."""
    places = _files(config) if config.transport == "file" else _topics(config)
    return [*places, *_model(config, assembly.forecast_settings(config)), ("computes", _computing(xp))]


def unrecoverable(config: Config) -> str | None:
    """What is to be known of a pipe, where there is one."""
    if config.transport == "file" and (is_stream(config.file.input) or is_stream(config.file.output)):
        return "a pipe cannot be cut back: state is saved at the end only, and there is no recovery"
    return None


def _topics(config: Config) -> Iterator[Sentence]:
    kafka, names = config.kafka, assembly.kafka_settings(config)
    yield "reads", f"topic {names.input_topic} at {kafka.bootstrap_servers} as group {config.app_id}"
    others = [f"what is no record to {names.dead_letter_topic}"]
    if names.anomaly_topic is not None:
        others.append(f"those with an anomaly of {config.anomalies.threshold} or more also to {names.anomaly_topic}")
    delivery = kafka.delivery.replace("_", " ")
    yield "writes", f"forecasts to topic {names.output_topic}, {delivery}, {'; '.join(others)}"


def _files(config: Config) -> Iterator[Sentence]:
    source, sink, paths = config.file.input, config.file.output, assembly.file_settings(config)
    yield "reads", "standard input" if source == "-" else source
    others = [f"what is no record to {'standard error' if paths.dead_letter_path == '-' else paths.dead_letter_path}"]
    if paths.anomalies is not None:
        others.append(f"those with an anomaly of {config.anomalies.threshold} or more also to {paths.anomalies}")
    yield "writes", f"forecasts to {'standard output' if sink == '-' else sink}, {'; '.join(others)}"


def _model(config: Config, settings: ForecastSettings) -> Iterator[Sentence]:
    horizons = config.forecast.horizons.text()
    told = horizons if isinstance(horizons, str) else ", ".join(map(str, horizons))
    steps = "step" if horizons == [1] else "steps"
    yield "forecasts", f"{told} {steps} ahead, with intervals that are to hold {config.forecast.coverage:.0%}"
    begun = f", beginning with {config.model.initial}" if config.model.initial else ""
    network = f"a {settings.cell} of {settings.hidden} units{begun}, beside {settings.readout} linear readouts"
    if config.learning.enabled:
        yield "learns", network
    else:
        yield "learns", f"nothing that streams share (learning.enabled: false): {network}"


def _computing(xp: ModuleType) -> str:
    if xp.__name__ != "numpy":
        return f"with {xp.__name__}"
    if compiler.AVAILABLE:
        return "with numpy, and loops that numba compiles"
    return "with numpy alone; the extra `compiled` brings numba, many times as fast where few streams are active"
