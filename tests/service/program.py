"""streamrnn as a user has it: a command that ends, or a process that stays up, with real files and real HTTP."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "streamrnn"]
LIMIT = 60.0  # seconds that anything may take


def environment() -> dict[str, str]:
    """Ours, without settings that some user of this machine has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMRNN__")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}


def streamrnn(*arguments: object, cwd: Path, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        input=given,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )


class Daemon:
    """A `run` that stays up until it is told otherwise. What it says is in a file of its own."""

    def __init__(self, folder: Path, *arguments: object, piped: bool = False) -> None:
        self.log = next(path for i in count() if not (path := folder / f"log-{i}").exists())
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "run", *map(str, arguments)],
                cwd=folder,
                env=environment(),
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
            )

    def said(self) -> str:
        """What it wrote to stderr."""
        return self.log.read_text()

    def feed(self, lines: bytes) -> None:
        """Write to its standard input, which stays open."""
        assert self.process.stdin is not None
        self.process.stdin.write(lines)
        self.process.stdin.flush()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of its endpoints."""
        found = until(lambda: re.findall(r"listening on (http://\S+)", self.said()))
        try:
            with urllib.request.urlopen(found[0] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self) -> dict[str, Any]:
        """`/status`, parsed."""
        answer: dict[str, Any] = json.loads(self.get("/status")[1])
        return answer

    def state(self) -> str | None:
        """Of its only task, None before there is one."""
        return next((task["state"] for task in self.status()["tasks"]), None)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(LIMIT)

    def end(self) -> None:
        """Away with it, in whatever state it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def running(folder: Path, *arguments: object, piped: bool = False) -> Iterator[Daemon]:
    """A daemon that is gone afterwards."""
    daemon = Daemon(folder, *arguments, piped=piped)
    try:
        yield daemon
    finally:
        daemon.end()


def until(look: Callable[[], T], seconds: float = 30.0) -> T:
    """What `look` returns, as soon as that is something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"nothing of the kind in {seconds} s"
        time.sleep(0.005)
    return found


def records(number: int, streams: int, seed: int = 1, first: int = 0) -> list[bytes]:
    """JSON lines of noisy oscillations, stream after stream, a minute between two of a stream."""
    noise = random.Random(seed)
    made = []
    for i in range(first, first + number):
        stream, step = i % streams, i // streams
        value = round(math.sin(step / 4 + stream) + 10 * stream + noise.gauss(0, 0.1), 4)
        record = {"stream": f"s{stream}", "value": value, "time": 1_700_000_000_000 + step * 60_000}
        made.append(json.dumps(record).encode())
    return made


def lines_of(path: Path) -> list[bytes]:
    """A file's lines."""
    return path.read_bytes().splitlines()


def parsed(lines: list[bytes]) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in lines]
