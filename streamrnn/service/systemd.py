"""What the service manager is told over its socket: ready, what is waited for, still alive, stopping (sd_notify(3)).

The protocol is systemd's: datagrams of `NAME=value` lines to the address in NOTIFY_SOCKET. Without one, silence.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamrnn.service.http import Health  # with it comes the HTTP server, which other commands do without

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25  # seconds between looks at the health, more often where the watchdog wants it
READY = "every task runs"


class ServiceManager:
    """The socket of the one who started this process, and what it was told last."""

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        """address: a path, or an abstract `@name`. watchdog: seconds after which silence means death."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._beat_every = None if watchdog is None else watchdog / 2
        self._beat_due = 0.0
        self._status: str | None = None
        self._ready = self._stopping = self._deaf = False

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "ServiceManager | None":
        """The one that the environment names, None where it names none (of a kind that is known)."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@") or len(address) < 2:
            if address:
                log.warning(
                    "NOTIFY_SOCKET: %r is neither a path nor @name: the service manager is told nothing", address
                )
            return None
        return cls(address, _watchdog(environ))

    async def follow(self, health: "Health") -> None:
        """Tell, until cancelled, what the health says: the loop that runs this is the one that shall be alive."""
        while True:
            self.look(health)
            await asyncio.sleep(min(LOOK_EVERY, self._beat_every or LOOK_EVERY))

    def look(self, health: "Health") -> None:
        """Tell what has changed, and that this process is alive when that is due and true."""
        reason = health.ready()
        status = " ".join((reason or READY).split())  # a line ends a value
        if status != self._status and self._tell(f"STATUS={status}"):
            self._status = status
        if reason is None and not self._ready and not self._stopping:  # after the status, which is then true of it
            self._ready = self._tell("READY=1")
        now = time.monotonic()
        if self._beat_every is not None and now >= self._beat_due and health.alive() is None:
            self._beat_due = now + self._beat_every
            self._tell("WATCHDOG=1")

    def stopping(self, health: "Health") -> None:
        """Tell that the end has begun. Input that ended between two looks was worked on: that is told first."""
        self.look(health)
        self._stopping = True
        self._tell("STOPPING=1")

    def close(self) -> None:
        """Tell nothing more."""
        self._socket.close()

    def _tell(self, line: str) -> bool:
        """Whether it was taken. What was not is told again at the next look."""
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError as error:
            if not self._deaf:
                log.warning("the service manager does not listen at NOTIFY_SOCKET: %s", error.strerror)
            self._deaf = True
            return False
        self._deaf = False
        return True


def _watchdog(environ: Mapping[str, str]) -> float | None:
    """The watchdog's seconds, if it watches this process."""
    microseconds, process = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if process and process != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.isdecimal() and int(microseconds) > 0 else None
