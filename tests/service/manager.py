"""A service manager's end of the socket."""

import socket
import threading
import time

from tests.service.program import LIMIT


class Manager:
    """The other end: it listens, and remembers what was said and when."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._socket.settimeout(LIMIT)
        self.heard: list[tuple[float, str]] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while (said := self._socket.recv(65536)) != b"enough":
            self.heard.append((time.monotonic(), said.decode()))

    @property
    def words(self) -> list[str]:
        return [word for _, word in self.heard]

    def times(self, word: str) -> list[float]:
        return [at for at, said in self.heard if said == word]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"enough", self._socket.getsockname())
        self._listener.join(LIMIT)
        self._socket.close()
