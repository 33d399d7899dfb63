"""A network that fails on demand: a TCP proxy between one worker and one broker."""

import asyncio
import contextlib


class Proxy:
    """Passes bytes on to `target_port`, until told otherwise. Lives in the running event loop."""

    def __init__(self, target_port: int, port: int) -> None:
        self.port = port
        self._target = target_port
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._delay = 0.0
        self._until_cut: int | None = None  # bytes of answers that still get through
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Accept connections, after `refuse` again."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    def refuse(self) -> None:
        """Cut every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection that is open now."""
        for writer in self._writers:
            writer.transport.abort()

    def cut_after(self, answered: int) -> None:
        """Let so many more bytes of the broker's answers through, then reset everything: in the middle of one."""
        self._until_cut = answered

    def stall(self) -> None:
        """Connections stay open and nothing gets through."""
        self._flowing.clear()

    def slow(self, seconds: float) -> None:
        """Hold up every piece of data for so long."""
        self._delay = seconds

    async def heal(self) -> None:
        """A network as it should be."""
        self._delay, self._until_cut = 0.0, None
        self._flowing.set()
        await self.open()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, broker_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, broker_writer, pair, answers=False))
                both.create_task(self._pass_on(broker_reader, writer, pair, answers=True))
        finally:
            self._writers -= pair

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
        *,
        answers: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flowing.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if answers and self._until_cut is not None and len(data) > self._until_cut:
                    writer.write(data[: self._until_cut])
                    await writer.drain()
                    self._until_cut = None
                    break
                if answers and self._until_cut is not None:
                    self._until_cut -= len(data)
                writer.write(data)
                await writer.drain()
        for each in pair:
            each.transport.abort()
