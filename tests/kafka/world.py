"""A topic, a worker on it and what comes out, for tests that meet the daemon as a user does."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.kafka.broker import Broker, free_port
from tests.kafka.daemon import ROOT, Daemon, get
from tests.kafka.plain_clients import read, write

PATIENCE = 60.0


class World:
    """A topic, a worker on it, and what comes out. The topic is not there yet."""

    def __init__(self, broker: Broker, unique: Callable[[str], str], folder: Path, **settings: object) -> None:
        """Settings: keys of the configuration with `__` for the dot."""
        self.broker, self.topic, self.port = broker, unique("sensors"), free_port()
        self.settings: dict[str, object] = {
            "app_id": unique("daemon"),
            "kafka.bootstrap_servers": broker.bootstrap_servers,
            "input.topic": self.topic,
            "output.topic": f"{self.topic}.forecast",
            "http.port": self.port,
            **{name.replace("__", "."): value for name, value in settings.items()},
        }
        self.worker = Daemon(folder / "worker.log", self.settings)
        self.log = folder / "worker.log"

    def write(self, *records: tuple[bytes | None, bytes | None], partition: int = 0) -> None:
        asyncio.run(write(self.broker.bootstrap_servers, self.topic, records, partition=partition))

    def outputs(self, number: int, suffix: str = "forecast", partition: int = 0) -> list[tuple[bytes, bytes | None]]:
        """The output's records, when there are so many (or patience is over)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = asyncio.run(read(self.broker.bootstrap_servers, f"{self.topic}.{suffix}", partition))
            if len(found) >= number or time.monotonic() > deadline:
                return [(record.key, record.value) for record in found]
            time.sleep(0.2)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        sets = [f"--set={key}={value}" for key, value in self.settings.items()]
        command = [sys.executable, "-m", "streamrnn", *words, "-c", "config/streamrnn.yaml", *sets]
        return subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )

    def answers(self, path: str) -> int:
        """The status of an endpoint, 0 where nobody listens."""
        try:
            return get(self.port, path)[0]
        except OSError:
            return 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)
