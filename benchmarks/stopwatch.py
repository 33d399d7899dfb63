"""What a program that is measured does: it waits to be asked, computes for a while, answers with seconds a call.

A question is a line of JSON, {"case": [cell, H, B], "work": name}; the answer is CPU seconds of this thread for one
call. So two programs take turns, and what else the machine does hits both alike.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from streamrnn.service.allocation import keep_freed_memory

LEAST = 0.03  # seconds a question is worked on
Case: TypeAlias = tuple[str, int, int]  # cell, hidden units H, rows B
Works: TypeAlias = Mapping[str, Callable[[], object]]


def answer(works_of: Callable[[Case], Works]) -> None:
    """Answer questions from stdin on stdout until there are no more; memory is kept as the daemon keeps it."""
    keep_freed_memory()
    case: list[object] = []
    works: Works = {}
    for line in sys.stdin:
        question = json.loads(line)
        if question["case"] != case:
            case = question["case"]
            works = works_of((*question["case"],))
        print(json.dumps(seconds_a_call(works[question["work"]])), flush=True)


def seconds_a_call(work: Callable[[], object]) -> float:
    """Of CPU, the mean over as many calls as take LEAST seconds."""
    work()  # the other program has had the caches
    calls, began = 0, time.thread_time()
    while time.thread_time() - began < LEAST:
        work()
        calls += 1
    return (time.thread_time() - began) / calls
