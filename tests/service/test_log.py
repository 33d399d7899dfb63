"""The log: one line a fact."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Literal

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, GroupCoordinatorNotAvailableError, ProducerFenced
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.service.log import setup

logger = logging.getLogger("streamrnn.test")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


def lines(form: Literal["text", "json"], message: str, level: str = "info", **extra: object) -> list[str]:
    stream = io.StringIO()
    setup(level, form, stream)
    logger.info(message, extra=extra)
    return stream.getvalue().split("\n")[:-1]


def test_a_text_line_has_time_level_message_and_fields() -> None:
    (line,) = lines("text", "restored", task="sensors[3]", partition=3, offset=81723)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info    restored task=sensors\[3\] partition=3 offset=81723", line
    )


def test_a_json_line_is_one_object_with_the_same() -> None:
    (line,) = lines("json", "restored", partition=3, offset=0)
    fact = json.loads(line)
    assert fact.pop("time").endswith("Z")
    assert fact == {
        "level": "info",
        "logger": "streamrnn.test",
        "message": "restored",
        "partition": 3,
        "offset": 0,
    }


def test_what_is_below_the_level_is_not_written() -> None:
    assert lines("text", "restored", level="warning") == []


@given(st.text())
def test_whatever_a_message_holds_it_stays_on_its_line(message: str) -> None:
    assert len("\n".join(lines("text", message)).splitlines()) == 1
    assert len("\n".join(lines("json", message)).splitlines()) == 1
    assert json.loads(lines("json", message)[0])["message"] == message


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_stays_on_its_line(form: Literal["text", "json"]) -> None:
    stream = io.StringIO()
    setup("info", form, stream)
    try:
        raise ValueError("of this kind")
    except ValueError:
        logger.exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: of this kind" in stream.getvalue()


def test_a_second_setup_replaces_the_first() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup("info", "text", first)
    setup("info", "text", second)
    logger.info("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)


def test_the_kafka_client_says_the_same_thing_once_and_without_a_traceback() -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    client = logging.getLogger("aiokafka.conn")
    for node in range(100):
        try:
            raise ConnectionError("refused")
        except ConnectionError:
            client.exception("Unable to connect to node %s", node)
    client.error("Unable to update metadata")
    assert [line.partition("error ")[2].strip() for line in stream.getvalue().splitlines()] == [
        "Unable to connect to node 0: ConnectionError('refused')",
        "Unable to update metadata",
    ]


def test_at_debug_the_kafka_client_says_all_it_has_to_say() -> None:
    stream = io.StringIO()
    setup("debug", "text", stream)
    for _ in range(3):
        logging.getLogger("aiokafka.conn").error("Unable to connect")
    assert stream.getvalue().count("Unable to connect") == 3


def test_nothing_is_said_of_what_the_client_forgot_or_missed_in_its_own_lists() -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    ours = logging.getLogger("asyncio")
    ours.error("Unclosed AIOKafkaConnection\nconn: <AIOKafkaConnection host=b port=1>")
    ours.error("Task was destroyed but it is pending!\ntask: <Task coro=<AIOKafkaConnection._read() done>>")
    ours.error("Unclosed AIOKafkaProducer\nproducer: <AIOKafkaProducer>")
    ours.error("Exception in callback MessageAccumulator._pop_batch.<locals>.cb(<Future>)\nhandle: <Handle>")
    ours.error("Task was destroyed but it is pending!\ntask: <Task coro=<Task.run() done>>")
    (line,) = stream.getvalue().splitlines()
    assert "Task.run" in line


def test_nothing_is_said_of_a_coordinator_that_is_asked_for_again_and_all_of_one_that_refuses() -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    client = logging.getLogger("aiokafka.consumer.group_coordinator")
    client.error("Group Coordinator Request failed: %s", GroupCoordinatorNotAvailableError())
    assert stream.getvalue() == ""
    client.error("Group Coordinator Request failed: %s", GroupAuthorizationFailedError("app"))
    assert "GroupAuthorizationFailedError" in stream.getvalue()


def test_nothing_is_said_of_a_commit_that_was_given_up_and_failed_later() -> None:
    stream = io.StringIO()
    setup("info", "text", stream)
    asyncio.run(_given_up(ProducerFenced("a newer producer")))
    asyncio.run(_given_up(ValueError("ours")))
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: ours" in line


async def _given_up(error: Exception) -> None:
    """A commit is cancelled while the client waits for the end of its transaction, which then fails."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def commit() -> None:
        await asyncio.shield(end)

    committing = asyncio.create_task(commit())
    await asyncio.sleep(0)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    end.set_exception(error)
