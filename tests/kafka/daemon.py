"""Real workers for tests: `streamrnn run` as processes, started, stopped, killed and frozen."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Daemon:
    """One `streamrnn run` process. Its log is the file `log`."""

    def __init__(
        self,
        log: Path,
        settings: Mapping[str, object],
        *,
        module: str = "streamrnn",
        environment: Mapping[str, str] | None = None,
        command: str = "run",
    ) -> None:
        """module: what to run instead of streamrnn, with the same arguments."""
        self._command = command
        self.log = log
        self.environment = dict(environment or {})
        self._module = module
        self._sets = [f"--set={key}={value}" for key, value in settings.items()]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def ended_with(self) -> int | None:
        """The exit code, None while it runs or where it never did."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, also again after its end."""
        command = [sys.executable, "-m", self._module, self._command, "-c", "config/streamrnn.yaml", *self._sets]
        environment = os.environ | {"PYTHONUNBUFFERED": "1"} | self.environment
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: what a crash is to everybody outside."""
        self.send(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 30.0) -> int:
        """The exit code, when it has ended."""
        assert self._process is not None
        return self._process.wait(seconds)

    def end(self) -> None:
        """Away with it, in whatever state it is."""
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
            self.kill()


def get(port: int, path: str, token: str | None = None) -> tuple[int, str]:
    """Status and body of an endpoint."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def status(port: int) -> dict[str, Any]:
    """/status, parsed."""
    made: dict[str, Any] = json.loads(get(port, "/status")[1])
    return made
