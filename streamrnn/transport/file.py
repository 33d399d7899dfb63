"""JSON lines in files and pipes: the transport without a broker.

A commit appends outputs, dead letters and anomalies, syncs them, and then renames one small manifest that holds the
position in the input and the length of these files. What lies behind those lengths was never committed: `fence` cuts
it away.

    <state>/<app_id>-<input's base name>-0/
        lock             held (flock) by the process that lives on this state
        manifest.json    the committed position, both lengths, the name of the snapshot's index
        snapshot-N.json, segment-N.pages    see page_store.py

With a pipe at either end nothing can be cut back or read again: `recoverable` is False, a commit only hands its lines
on, and the manifest is written by `save` alone.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

from streamrnn.errors import ConfigError, FatalError, TransportError
from streamrnn.transport.contract import AssignmentListener, Partition, PartitionError, PartitionId, RawBatch
from streamrnn.transport.durable import is_stream, mendable
from streamrnn.transport.file_partition import FilePartition, Tenancy
from streamrnn.transport.file_state import FileSettings as FileSettings
from streamrnn.transport.lines import Lines

BATCH = 4096  # lines
READ_SLICE = 0.25  # seconds that a reading thread waits for a pipe before it looks up
NO_TIME = -1


class FileTransport:
    """One partition: the lines of a file or pipe."""

    def __init__(self, settings: FileSettings) -> None:
        """Raises ConfigError where two of the files are the same."""
        self._settings = settings
        self._id = settings.partition
        named = [path for path in (settings.input, *settings.written) if path != "-"]
        files = [Path(path).resolve() for path in named if not is_stream(path)]
        if len(set(files)) < len(files):
            raise ConfigError(
                "file.input, file.output, the dead-letter file and that of the anomalies must differ, they are "
                f"{', '.join(named)}."
            )
        self._tenancy = Tenancy(settings)
        self._paused = False

    @property
    def ended(self) -> bool:
        return self._tenancy.ended

    @property
    def recoverable(self) -> bool:
        return self._tenancy.recoverable

    async def start(self, listener: AssignmentListener) -> None:
        await asyncio.to_thread(self._prepare)
        listener.assigned(frozenset({self._id}))

    async def fetch(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + max_wait
        while True:
            lines = self._flowing()
            if lines is not None and lines.ready:
                return {self._id: self._take(lines)}
            left = max(0.0, deadline - clock())
            if lines is not None and not lines.ended:
                await self._read_on(lines, left)
            else:
                self._tenancy.ended = self._tenancy.ended or lines is not None
                self._tenancy.sought.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._tenancy.sought.wait(), left)
            if not left:
                return {}

    def pause(self, partition: PartitionId) -> None:
        self._paused = partition == self._id or self._paused

    def resume(self, partition: PartitionId) -> None:
        if partition == self._id:
            self._paused = False
            self._tenancy.sought.set()

    def partition(self, partition: PartitionId) -> Partition:
        if partition != self._id:
            raise FatalError(f"{partition}: there is only {self._id}.")
        return FilePartition(self._tenancy)

    async def stop(self) -> None:
        if self._tenancy.tenant is not None:
            await self._tenancy.tenant.close()
        self._tenancy.close_pipe()

    def _flowing(self) -> Lines | None:
        """The lines to deliver, None where none may be."""
        tenant = self._tenancy.tenant
        return None if tenant is None or self._paused else tenant.flowing

    async def _read_on(self, lines: Lines, left: float) -> None:
        """Wait at most `left` seconds for a thread to read more."""
        tenancy = self._tenancy
        if tenancy.reading is None:
            tenancy.reading = asyncio.ensure_future(asyncio.to_thread(self._read, lines, min(left, READ_SLICE)))
        reading = tenancy.reading
        await asyncio.wait({reading}, timeout=left)
        if reading.done() and tenancy.reading is reading:
            tenancy.reading = None
            reading.result()

    def _read(self, lines: Lines, max_wait: float) -> None:
        try:
            with mendable(self._settings.input):
                lines.read(max_wait)
        except TransportError as error:
            raise PartitionError(self._id, str(error)) from error

    def _take(self, lines: Lines) -> RawBatch:
        first = lines.line
        values: list[bytes | None] = list(lines.take(BATCH))
        count = len(values)
        self._tenancy.ended = lines.ended and not lines.ready
        return RawBatch(
            offsets=list(range(first, first + count)),
            timestamps=[NO_TIME] * count,
            keys=[None] * count,
            values=values,
            headers=[()] * count,
            next_offset=first + count,
        )

    def _prepare(self) -> None:
        self.look()
        try:
            self._settings.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FatalError(
                f"{self._settings.folder}: cannot be made ({error.strerror}); see file.state."
            ) from error

    def look(self) -> None:
        """Raise FatalError where no attempt will ever find the files. Changes nothing."""
        settings = self._settings
        if settings.input != "-":
            path = Path(settings.input)
            if not path.exists() or path.is_dir():
                found = "is a folder" if path.is_dir() else "does not exist"
                raise FatalError(f"{path}: {found}, a file of JSON lines was expected as file.input.")
            if not os.access(path, os.R_OK):
                raise FatalError(f"{path}: may not be read by this user.")
        for name in settings.written:
            path = Path(name)
            if name != "-" and (path.is_dir() or not path.absolute().parent.is_dir()):
                found = "is a folder" if path.is_dir() else "its folder does not exist"
                raise FatalError(f"{path}: {found}, so no lines can be written there.")
            if name != "-" and not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
                raise FatalError(f"{path}: may not be written by this user.")
        there = next(path for path in (settings.folder, *settings.folder.absolute().parents) if path.exists())
        if not (there.is_dir() and os.access(there, os.W_OK)):
            raise FatalError(f"{there}: is no folder that this user may write to, as file.state needs.")
