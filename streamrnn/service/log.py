"""The log: one line a fact, for people or for machines.

A line's task, partition and offset are given as `logger.info("...", extra={"task": ..., "partition": ...})`; for a
task by task_log.py.
"""

import json
import logging
import re
import sys
import time
from typing import Literal, TextIO

FIELDS = ("task", "partition", "offset")
# These speak of every reconnection; what matters of it is told once by ourselves.
_TALKATIVE = ("aiokafka", "aiohttp", "asyncio")
_REPEATED_EVERY = 30.0  # seconds
# What asyncio says of three habits of the client (aiokafka 0.14). A start that is cancelled forgets a connection or
# its producer, which close themselves when they are collected. A sender that gives up fails batches that it had put
# back, and misses them in a list of its own; their errors reach whoever sent them all the same. And it fails what
# nobody waits for any more, as a commit that was given up: a plain future (of a task asyncio says "Task exception").
_HARMLESS = re.compile(
    r"Unclosed AIOKafka(Connection|Producer)|was destroyed but it is pending.*AIOKafkaConnection\._read"
    r"|Exception in callback MessageAccumulator\._pop_batch",
    re.S,
)
# A broker that has just started has no coordinator yet: the client asks again (aiokafka 0.14). Where that lasts the
# worker tells of it.
_ASKS_AGAIN = "Group Coordinator Request failed: %s"
_NOBODY_WAITS = "Future exception was never retrieved"


def setup(level: str, format: Literal["text", "json"], stream: TextIO | None = None) -> None:  # noqa: A002
    """Sends all logging of this process to the stream (stderr where there is none given); call it again to change it.

    level is one of debug, info, warning, error. Raises ValueError for another.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(handler)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_JsonLine() if format == "json" else _TextLine())
    if level != "debug":
        handler.addFilter(_Calm())
    root.setLevel(level.upper())
    root.addHandler(handler)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG if level == "debug" else logging.ERROR)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second setup finds it among the others."""


class _Calm(logging.Filter):
    """Lets the Kafka client say the same thing again only after a while, and on one line.

    Of what is harmless nothing is said.

    A broker that is away makes it write some ten errors a second, for each connection (aiokafka 0.14).
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, str], float] = {}  # when, by logger and message without its arguments

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "asyncio":
            message = record.getMessage()
            return not (_HARMLESS.search(message) or (message.startswith(_NOBODY_WAITS) and _of_the_client(record)))
        if not record.name.startswith("aiokafka"):
            return True
        if record.msg == _ASKS_AGAIN and any(getattr(error, "retriable", False) for error in record.args or ()):
            return False
        what = record.name, str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            record.msg, record.args = f"{record.getMessage()}: {record.exc_info[1]!r}", ()
            record.exc_info = None
        if record.created - self._told.get(what, 0.0) < _REPEATED_EVERY:
            return False
        self._told[what] = record.created
        return True


def _of_the_client(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__module__.startswith("aiokafka.")


class _TextLine(logging.Formatter):
    """`2026-01-02T03:04:05.678Z info message task=sensors[3] offset=81723`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        exception = _exception(record, self)
        line = f"{_utc(record.created)} {record.levelname.lower():<7} {record.getMessage()}{fields}"
        return _on_one_line(f"{line}: {exception}" if exception else line)


class _JsonLine(logging.Formatter):
    """One JSON object with time, level, logger, message, and what else there is."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if exception := _exception(record, self):
            line["exception"] = exception
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


def _exception(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""


def _utc(seconds: float) -> str:
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def _on_one_line(text: str) -> str:
    """Control characters escaped: what a record's bytes put into a message cannot fake a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
