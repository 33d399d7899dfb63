"""What must hold between settings, each of which is right by itself."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from streamrnn.service.settings import Config

_APP_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_FIELD = re.compile(r"[^.]+(\.[^.]+){0,31}")
_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:@/\[\],]+)(:(?P<port>[0-9]{1,5}))?")


class Breach(NamedTuple):
    """A rule that does not hold: the keys it is about, the one to change first, and what to do."""

    keys: tuple[str, ...]
    message: str


def breaches(config: Config) -> Iterator[Breach]:
    """Every rule that the configuration breaks."""
    if _APP_ID.fullmatch(config.app_id) is None:
        yield Breach(("app_id",), f"{config.app_id!r} is not a name of at most 100 letters, digits, dots, _ and -")
    if config.transport == "kafka":
        yield from _server_breaches(config)
        yield from _topic_breaches(config)
        yield from _security_breaches(config)
        yield from _timing_breaches(config)
    else:
        yield from _file_breaches(config)
    yield from _field_breaches(config)
    yield from _http_breaches(config)


def _server_breaches(config: Config) -> Iterator[Breach]:
    key = "kafka.bootstrap_servers"
    if "@" in config.kafka.bootstrap_servers:
        where_to = "kafka.security.username and kafka.security.password"
        yield Breach((key,), f"names a user, which Kafka does not read there. Give {where_to}")
        return
    for server in config.kafka.bootstrap_servers.split(","):
        match = _SERVER.fullmatch(server.strip())
        if match is None or not 0 < int(match["port"] or 9092) < 65536:
            yield Breach((key,), f"{server.strip()!r} is not host:port. Give one or more, with commas between them")


def _topic_breaches(config: Config) -> Iterator[Breach]:
    topics = {
        "input.topic": config.input.topic,
        "output.topic": config.output.topic,
        "dead_letter.topic": config.dead_letter.topic,
        "anomalies.topic": config.anomalies.topic,
    }
    if config.dead_letter.topic is None and _TOPIC.fullmatch(config.input.topic):
        topics["dead_letter.topic"] = f"{config.input.topic}.dead-letter"
    if len(config.app_id) + len(config.input.topic) > 249 - len("--state"):
        keys = ("app_id", "input.topic")
        yield Breach(keys, "makes a state topic <app_id>-<topic>-state of more than 249 letters. Shorten one of them")
    owner: dict[str, str] = {}
    for key, topic in topics.items():
        if topic is None:
            continue
        if _TOPIC.fullmatch(topic) is None:
            yield Breach(
                (key, "input.topic"), f"{topic!r} is not a topic. Use letters, digits, dots, _ and -, 249 at most"
            )
        elif topic in owner:
            yield Breach((key, owner[topic]), f"is {owner[topic]} too: {topic!r}. Give each a topic of its own")
        owner.setdefault(topic, key)


def _security_breaches(config: Config) -> Iterator[Breach]:
    security, section = config.kafka.security, "kafka.security"
    protocol = f"{section}.protocol"
    signs_on = {
        f"{section}.mechanism": security.mechanism,
        f"{section}.username": security.username,
        f"{section}.password": security.password,
    }
    files = {
        f"{section}.ca_file": security.ca_file,
        f"{section}.cert_file": security.cert_file,
        f"{section}.key_file": security.key_file,
    }
    for key, value in signs_on.items():
        if security.protocol.startswith("SASL") and not value:
            yield Breach((key, protocol), f"is not set, and {protocol} is {security.protocol}. Set it")
        if not security.protocol.startswith("SASL") and value is not None:
            message = f"is set, but nobody signs on with {protocol} {security.protocol}. Use SASL_SSL or remove it"
            yield Breach((key, protocol), message)
    for key, value in files.items():
        if not security.protocol.endswith("SSL") and value is not None:
            message = f"is set, but nothing is encrypted with {protocol} {security.protocol}."
            yield Breach((key, protocol), f"{message} Use SSL or SASL_SSL, or remove it")
    if security.key_file is not None and security.cert_file is None:
        keys = (f"{section}.key_file", f"{section}.cert_file")
        yield Breach(keys, f"is a key without its certificate. Set {section}.cert_file")


def _timing_breaches(config: Config) -> Iterator[Breach]:
    kafka = config.kafka
    if kafka.commit_interval >= kafka.transaction_timeout:
        yield Breach(
            ("kafka.commit_interval", "kafka.transaction_timeout"),
            f"{kafka.commit_interval.text()} is not shorter than kafka.transaction_timeout, "
            f"{kafka.transaction_timeout.text()}: the broker would abort every transaction. Shorten it",
        )


def _file_breaches(config: Config) -> Iterator[Breach]:
    file = config.file
    if config.anomalies.topic == "-":
        yield Breach(("anomalies.topic",), "'-' is no file, and stdout and stderr have lines already. Give a path")
    if file.input == file.output != "-":
        yield Breach(
            ("file.output", "file.input"), "is file.input too: forecasts would overwrite it. Give another path"
        )


def _http_breaches(config: Config) -> Iterator[Breach]:
    http = config.http
    if http.tls_key_file is not None and http.tls_cert_file is None:
        yield Breach(
            ("http.tls_key_file", "http.tls_cert_file"), "is a key without its certificate. Set http.tls_cert_file"
        )
    if http.token is not None and not (http.token.isascii() and http.token.isprintable() and " " not in http.token):
        yield Breach(("http.token",), "holds what cannot be sent in a header. Use letters and digits")


def _field_breaches(config: Config) -> Iterator[Breach]:
    names, features = config.input.fields.value, config.input.features
    if isinstance(names, tuple) and len(names) != features:
        keys = ("input.fields.value", "input.features")
        yield Breach(keys, f"names {len(names)} fields, and input.features is {features}. Make them agree")
    paths = {
        "input.fields.value": (names,) if isinstance(names, str) else names or (),
        "input.fields.time": (config.input.fields.time,),
        "input.fields.stream": (config.input.fields.stream,),
    }
    for key, given in paths.items():
        for path in given:
            if path is not None and _FIELD.fullmatch(path) is None:
                yield Breach((key,), f"{path!r} is not a field's name, nor names with single dots between them")
