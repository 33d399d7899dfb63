"""A real worker that can be looked into and that dies where it is told to: `streamrnn`, and two hooks around it.

On SIGUSR1 it writes what it holds to the file that STREAMRNN_CHAOS_REPORT names. With STREAMRNN_CHAOS_DIE, as in
"KafkaPartition.fence before", the process kills itself there.
"""

import asyncio
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from streamrnn import cli
from streamrnn.service.processor import Processor
from streamrnn.transport.kafka_partition import KafkaPartition


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
        signal.signal(signal.SIGUSR1, lambda *_: Path(report).write_text(json.dumps(held())))
    place = os.environ.get("STREAMRNN_CHAOS_DIE")
    if place:
        die(*place.split())
    cli.main()


if __name__ == "__main__":
    main()
