"""A real worker that can be looked into and that dies where it is told to: `streamrnn`, and two hooks around it.

On SIGUSR1 it writes what it holds to the file that STREAMRNN_CHAOS_REPORT names, on SIGUSR2 what its tasks and the
client stand at. With STREAMRNN_CHAOS_DIE, as in "KafkaPartition.fence before", the process kills itself there.
"""

import asyncio
import json
import logging
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition

from streamrnn import cli
from streamrnn.service.processor import Processor
from streamrnn.service.worker import Worker
from streamrnn.transport.kafka_partition import KafkaPartition

log = logging.getLogger("streamrnn.chaos")


def held() -> dict[str, Any]:
    """What this process holds: asyncio tasks by what they run, threads, open files and sockets."""
    descriptors: Counter[str] = Counter()
    for number in Path("/proc/self/fd").iterdir():
        try:
            descriptors[str(number.readlink()).partition(":")[0]] += 1
        except OSError:
            continue  # the descriptor of this listing
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    return {"tasks": tasks, "threads": threading.active_count(), "descriptors": descriptors}


def standing() -> dict[str, Any]:
    """Where every partition stands in the task, in the transport and in the client."""
    (worker,) = WORKERS
    transport: Any = worker._transport
    consumer = transport._consumer
    assignment = consumer._subscription.subscription.assignment
    made: dict[str, Any] = {
        "fetched by the client": [str(place) for place in consumer._fetcher._records],
        "requests under way to": list(consumer._fetcher._in_flight),
        "polling": repr(transport._polling),
        "arrived": [str(name) for name in transport._arrived],
    }
    for name, task in worker.tasks.items():
        queue, publisher, state = (
            task._queue,
            task._publisher,
            assignment.state_value(TopicPartition(name.topic, name.partition)),
        )
        made[str(name)] = {
            "task": {
                key: repr(getattr(task, key)) for key in ("state", "position", "_paused", "_holding", "_closing")
            },
            "queue": {key: getattr(queue, key) for key in ("records", "bytes", "next_offset")},
            "publisher": publisher and {key: repr(getattr(publisher, key)) for key in vars(publisher)},
            "transport": [transport._positions.get(name), name in transport._paused, name in transport._owners],
            "client": state and {key: repr(value) for key, value in vars(state).items()},
            "stack": [f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in worker._lives[name].get_stack()],
        }
    return made


def tell(path: Path, what: Callable[[], dict[str, Any]]) -> None:
    """Write it down, or why it cannot be told: the signal comes at any moment, and the worker must not die of it."""
    try:
        path.write_text(json.dumps(what(), indent=1))
    except Exception:
        path.write_text(traceback.format_exc())


def note_worker() -> None:
    """Have the worker of this process in WORKERS, which the collector's lists need not hold."""
    begin = Worker.__init__

    def noted(self: Worker, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        WORKERS.append(self)

    Worker.__init__ = noted  # type: ignore[method-assign]


def note_producers() -> None:
    """Tell of a producer that nobody closed, with what it was for: the log keeps quiet about it."""
    begin, end = AIOKafkaProducer.__init__, AIOKafkaProducer.__del__

    def noted(self: AIOKafkaProducer, *given: Any, **named: Any) -> None:
        self.made_for = named.get("transactional_id"), time.strftime("%X")
        begin(self, *given, **named)

    def left(self: AIOKafkaProducer, *given: Any) -> None:
        if not self._closed and self._sender is not None:
            log.error("Unclosed producer of %s, made at %s, sends with %s", *self.made_for, self._sender.sender_task)
        end(self, *given)

    AIOKafkaProducer.__init__, AIOKafkaProducer.__del__ = noted, left


WORKERS: list[Worker] = []
PLACES: dict[str, type] = {
    "Processor": Processor,
    "KafkaPartition": KafkaPartition,
    "AIOKafkaProducer": AIOKafkaProducer,
}


def die(place: str, when: str) -> None:
    """Have the process die before or after this method is called for the first time, as in "KafkaPartition.fence"."""
    name, method = place.split(".")
    original = getattr(PLACES[name], method)

    def end(_: object = None) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fatal(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            end()
        made = original(*arguments, **named)
        if not asyncio.iscoroutine(made):
            end()
        made = asyncio.ensure_future(made)
        made.add_done_callback(end)
        return made

    setattr(PLACES[name], method, fatal)


def main() -> None:
    """Run the command line."""
    report = os.environ.get("STREAMRNN_CHAOS_REPORT")
    if report:
        note_worker()
        note_producers()
        signal.signal(signal.SIGUSR1, lambda *_: tell(Path(report), held))
        signal.signal(signal.SIGUSR2, lambda *_: tell(Path(f"{report}-standing"), standing))
    place = os.environ.get("STREAMRNN_CHAOS_DIE")
    if place:
        die(*place.split())
    cli.main()


if __name__ == "__main__":
    main()
