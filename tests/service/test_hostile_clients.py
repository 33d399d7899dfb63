"""A whole worker under siege: clients that say nothing, half of something or nonsense, or never read the answer."""

import contextlib
import os
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from streamrnn.service.listener import MOST
from tests.service.program import Daemon, records, running, until

CLIENTS, PROBES, FED = 200, 20, 2000
PROBE_PATIENCE = 5.0  # seconds, as a liveness probe has
A_ROUND = 0.2  # seconds; in each every client sends something, and some come again that were hung up on
COME_AGAIN = 20

LASTING: list[Callable[[int], bytes]] = [
    lambda _: b"",
    lambda turn: b"GET /healthz HTTP/1.1\r\nX-Slow: "[turn : turn + 1] or b"a",
    lambda _: b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 1000,
]
PASSING: list[Callable[[int], bytes]] = [
    lambda _: b"\x16\x03\x01\x00\xff" * 100,
    lambda turn: b"" if turn else b"POST /status HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n",
]


class Client:
    """One that means no good: it never reads, and sends what its kind has to say, as far as that is taken."""

    def __init__(self, address: tuple[str, int], says: Callable[[int], bytes]) -> None:
        self._socket = socket.create_connection(address, 5.0)
        self._socket.setblocking(False)
        self._says, self._turn = says, 0

    def act(self) -> bool:
        """False where it was hung up on."""
        try:
            self._socket.send(self._says(self._turn))
            self._turn += 1
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


@contextmanager
def besieged(address: tuple[str, int]) -> Iterator[None]:
    """As many clients as never go, from a thread of their own."""
    over, kinds = threading.Event(), cycle([*LASTING, *PASSING])
    clients = [Client(address, kind) for _ in range(MOST) for kind in LASTING]  # more than there is room for

    def round_after_round() -> None:
        while not over.wait(A_ROUND):
            for client in list(clients):
                if not client.act():
                    client.close()
                    clients.remove(client)
            for _ in range(min(COME_AGAIN, CLIENTS - len(clients))):
                with contextlib.suppress(OSError):
                    clients.append(Client(address, next(kinds)))

    siege = threading.Thread(target=round_after_round)
    siege.start()
    try:
        yield
    finally:
        over.set()
        siege.join()
        for client in clients:
            client.close()


def descriptors(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))  # noqa: PTH208


def resident_mib(daemon: Daemon) -> float:
    (kib,) = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.process.pid}/status").read_text())
    return int(kib) / 1024


def test_a_worker_under_siege_forecasts_and_answers_probes_and_grows_no_more_than_its_share(tmp_path: Path) -> None:
    config, made = tmp_path / "config.yaml", tmp_path / "out.jsonl"
    config.write_text("transport: file\nfile: {output: out.jsonl}\nhttp: {port: 0}\nmodel: {hidden: 4}\n")
    with running(tmp_path, "-c", config, piped=True) as daemon:
        lines = [line + b"\n" for line in records(FED, 5)]
        daemon.feed(b"".join(lines[: FED // 2]))
        until(lambda: made.exists() and made.read_bytes().count(b"\n") == FED // 2)
        ((host, port),) = re.findall(r"listening on http://([0-9.]+):(\d+)", daemon.said())
        open_before, mib_before = descriptors(daemon), resident_mib(daemon)

        with besieged((host, int(port))):
            daemon.feed(b"".join(lines[FED // 2 :]))
            for _ in range(PROBES):
                with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=PROBE_PATIENCE) as answer:
                    assert answer.status == 200
                time.sleep(A_ROUND / 2)
            until(lambda: made.read_bytes().count(b"\n") == FED)
            assert MOST / 2 < descriptors(daemon) - open_before <= MOST + 4
            assert resident_mib(daemon) - mib_before < 64

        assert daemon.stop() == 0
        assert " error " not in daemon.said() and " warning " not in daemon.said().split("no recovery")[-1]
