"""Accepts connections, so many and no more: each takes a descriptor, and those are the broker's connections too.

Whoever is one too many pushes out the one that has been there longest: a probe is through in milliseconds, whatever
clients sit around it and say nothing. asyncio's own server accepts whatever comes, and with TLS does not tell of it
before the handshake.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

MOST = 64  # connections at a time; a scraper has one
HANDSHAKE = 5.0  # seconds for TLS to come about
BACKLOG = 16
FULL = 1.0  # seconds until the next try to accept where the process has no descriptor left


class Listener:
    """Hands connections to protocols from `make`."""

    def __init__(self, make: Callable[[], asyncio.BaseProtocol], tls: ssl.SSLContext | None) -> None:
        self._make, self._tls = make, tls
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: dict[socket.socket, Callable[[], object]] = {}  # the oldest first, with what ends each

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind every address of the host; returns the first. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                made = socket.socket(family, kind, protocol)
                self._sockets.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.setblocking(False)
                made.bind(address)
                made.listen(BACKLOG)
        except OSError:
            await self.stop()
            raise
        for each in self._sockets:
            self._run(self._accept(each))
        bound: tuple[str, int] = self._sockets[0].getsockname()[:2]
        return bound

    async def stop(self) -> None:
        """Accept nothing more. Connections that are open are left to whoever made them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # whoever knocked has gone, or there is no descriptor left
                await asyncio.sleep(FULL)
                continue
            self._make_room()
            admitting = self._run(self._admit(connection))
            admitting.add_done_callback(partial(_close_if_cancelled, connection))  # also one that never began
            self._open[connection] = admitting.cancel
            # also where none was ended: accepting does not wait while somebody knocks, and the rest has its turn too
            await asyncio.sleep(0)

    def _make_room(self) -> None:
        """For one more; asyncio closes the socket of a connection that is over."""
        self._open = {each: end for each, end in self._open.items() if each.fileno() >= 0}
        while len(self._open) >= MOST:
            self._open.pop(next(iter(self._open)))()

    async def _admit(self, connection: socket.socket) -> None:
        timeout = None if self._tls is None else HANDSHAKE
        with contextlib.suppress(OSError):  # ssl.SSLError and a timeout are some
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                self._make, connection, ssl=self._tls, ssl_handshake_timeout=timeout
            )
            self._open[connection] = transport.abort

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _close_if_cancelled(connection: socket.socket, admitting: "asyncio.Task[None]") -> None:
    if admitting.cancelled():
        connection.close()
