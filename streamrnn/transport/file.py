"""JSON lines in files and pipes: the transport without a broker.

A commit appends outputs and dead letters, syncs both, and then renames one small manifest that holds the position in
the input and the length of both files. What lies behind those lengths was never committed: `fence` cuts it away.

    <state>/<app_id>-<input's base name>-0/
        lock             held (flock) by the process that lives on this state
        manifest.json    the committed position, both lengths, the name of the snapshot's index
        snapshot-N.json, segment-N.pages    see page_store.py

With a pipe at either end nothing can be cut back or read again: `recoverable` is False, a commit only hands its lines
on, and the manifest is written by `save` alone.
"""

import asyncio
import base64
import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from streamrnn.engine.snapshot import SnapshotPages, StoredSnapshot
from streamrnn.errors import ConfigError, FatalError, RefusedError, TransportError
from streamrnn.transport.contract import (
    AssignmentListener,
    DeadLetter,
    EncodedBatch,
    Offsets,
    PartitionError,
    PartitionId,
    RawBatch,
)
from streamrnn.transport.durable import Sink, is_stream, mendable
from streamrnn.transport.file_state import FileSettings as FileSettings
from streamrnn.transport.file_state import Manifest, Written, load_manifest, lock, store_manifest
from streamrnn.transport.lines import FileLines, PipeLines
from streamrnn.transport.page_store import PageStore

BATCH = 4096  # lines
READ_SLICE = 0.25  # seconds that a reading thread waits for a pipe before it looks up
PATIENCE = 5.0  # seconds that close waits for a commit or save that is under way
FOREVER = -1.0  # as threading.Lock.acquire has it
NO_TIME = -1

R = TypeVar("R")


class FileTransport:
    """One partition: the lines of a file or pipe."""

    def __init__(self, settings: FileSettings) -> None:
        """Raises ConfigError where two of the files are the same."""
        self.settings = settings
        self._id = settings.partition
        self._stream_input = is_stream(settings.input)
        self._recoverable = not (self._stream_input or is_stream(settings.output))
        named = [path for path in (settings.input, settings.output, settings.dead_letter_path) if path != "-"]
        files = [Path(path).resolve() for path in named if not is_stream(path)]
        if len(set(files)) < len(files):
            raise ConfigError(
                f"file.input, file.output and the dead-letter file must differ, they are {', '.join(named)}."
            )
        self._ended = False
        self._paused = False
        self._wake = asyncio.Event()
        self._owner: FilePartition | None = None
        self._lock: int | None = None
        self._pipe: PipeLines | None = None
        self._reading: asyncio.Future[None] | None = None
        self._forgetful: Manifest | None = None  # what a transport that is not recoverable knows in this process

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def recoverable(self) -> bool:
        return self._recoverable

    async def start(self, listener: AssignmentListener) -> None:
        await asyncio.to_thread(self._look)
        listener.assigned(frozenset({self._id}))

    async def fetch(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + max_wait
        while True:
            lines = self._flowing()
            if lines is not None and lines.ready:
                return {self._id: self._take(lines)}
            left = max(0.0, deadline - clock())
            if lines is None or lines.ended:
                self._ended = self._ended or lines is not None
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), left)
            else:
                await self._read_on(lines, left)
            if not left:
                return {}

    def pause(self, partition: PartitionId) -> None:
        self._paused = partition == self._id or self._paused

    def resume(self, partition: PartitionId) -> None:
        if partition == self._id:
            self._paused = False
            self._wake.set()

    def partition(self, partition: PartitionId) -> "FilePartition":
        if partition != self._id:
            raise FatalError(f"{partition}: there is only {self._id}.")
        return FilePartition(self)

    async def stop(self) -> None:
        owner = self._owner
        if owner is not None:
            await owner.close()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    # What follows is for FilePartition.

    def own(self, partition: "FilePartition") -> "FilePartition | None":
        """This handle is the one from now on. Returns its predecessor."""
        predecessor, self._owner = self._owner, partition
        return predecessor

    def owned_by(self, partition: "FilePartition") -> bool:
        return self._owner is partition

    def disown(self) -> None:
        self._owner = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def hold(self) -> None:
        """Be the only process on this state. Raises RefusedError where another one is."""
        if self._lock is None:
            self._lock = lock(self.settings.folder)

    def open_lines(self) -> PipeLines | FileLines:
        """A file is opened anew for each handle, a pipe once."""
        if not self._stream_input:
            return FileLines(self.settings.input, self.settings.max_line_bytes)
        if self._pipe is None:
            self._pipe = PipeLines(self.settings.input, self.settings.max_line_bytes)
        return self._pipe

    def load(self) -> Manifest:
        return self._forgetful or load_manifest(self.settings.folder)

    def keep(self, manifest: Manifest, *, durably: bool) -> None:
        """Remember what is committed: over crashes, or only for the next handle in this process."""
        if durably:
            store_manifest(self.settings.folder, manifest)
        if not self._recoverable:
            self._forgetful = manifest

    async def quiet(self) -> None:
        """Wait until no thread reads."""
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=PATIENCE)
            if self._reading is not None and self._reading.done():
                self._reading.exception()  # whoever waits here does not read on: a failure is met again there
                self._reading = None

    def begin(self) -> None:
        """The owner has sought: deliver."""
        self._ended = False
        self._wake.set()

    def _flowing(self) -> PipeLines | FileLines | None:
        return None if self._owner is None or self._paused else self._owner.flowing

    async def _read_on(self, lines: PipeLines | FileLines, left: float) -> None:
        """Wait at most `left` seconds for a thread to read more. It outlives a fetch that is cancelled."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(asyncio.to_thread(self._read, lines, min(left, READ_SLICE)))
        reading = self._reading
        await asyncio.wait({reading}, timeout=left)
        if reading.done() and self._reading is reading:
            self._reading = None
            reading.result()

    def _read(self, lines: PipeLines | FileLines, max_wait: float) -> None:
        try:
            with mendable(self.settings.input):
                lines.read(max_wait)
        except TransportError as error:
            raise PartitionError(self._id, str(error)) from error

    def _take(self, lines: PipeLines | FileLines) -> RawBatch:
        first = lines.line
        values: list[bytes | None] = list(lines.take(BATCH))
        count = len(values)
        self._ended = lines.ended and not lines.ready
        return RawBatch(
            offsets=list(range(first, first + count)),
            timestamps=[NO_TIME] * count,
            keys=[None] * count,
            values=values,
            headers=[()] * count,
            next_offset=first + count,
        )

    def _look(self) -> None:
        """Raise FatalError where no attempt will ever find the files."""
        settings = self.settings
        if settings.input != "-":
            path = Path(settings.input)
            if not path.exists() or path.is_dir():
                found = "is a folder" if path.is_dir() else "does not exist"
                raise FatalError(f"{path}: {found}, a file of JSON lines was expected as file.input.")
            if not os.access(path, os.R_OK):
                raise FatalError(f"{path}: may not be read by this user.")
        for name in (settings.output, settings.dead_letter_path):
            path = Path(name)
            if name != "-" and (path.is_dir() or not path.absolute().parent.is_dir()):
                found = "is a folder" if path.is_dir() else "its folder does not exist"
                raise FatalError(f"{path}: {found}, so no lines can be written there.")
        try:
            settings.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FatalError(f"{settings.folder}: cannot be made ({error.strerror}); see file.state.") from error


class FilePartition:
    """One life of the partition."""

    def __init__(self, transport: FileTransport) -> None:
        self._transport = transport
        self._settings = transport.settings
        self._given_up = False
        self._sought = False
        self._committing = threading.Lock()  # held by the thread that appends or changes the manifest
        self._saving = threading.Lock()  # held by the thread that writes pages; taken before _committing
        self._manifest = Manifest()
        self._lines: PipeLines | FileLines | None = None
        self._output: Sink | None = None
        self._dead_letters: Sink | None = None
        self._pages = PageStore(self._settings.folder)
        self._pages_known = False

    @property
    def max_output_bytes(self) -> int:
        """A line may be of any length."""
        return sys.maxsize

    async def fence(self) -> None:
        predecessor = self._transport.own(self)
        if predecessor is not None:
            predecessor._give_up()
        await self._transport.quiet()
        try:
            if predecessor is not None:
                await asyncio.to_thread(predecessor._release, FOREVER)
            await self._in_thread(self._take_over)
        except BaseException:
            await self.close()
            raise

    async def restore(self) -> StoredSnapshot | None:
        return await self._in_thread(self._restore)

    async def offsets(self) -> Offsets:
        return await self._in_thread(self._offsets)

    async def seek(self, offset: int) -> None:
        lines = self._open()[0]
        self._sought = False
        await self._transport.quiet()
        with mendable(self._settings.input):
            await asyncio.to_thread(lines.seek, offset)
        self._open()
        self._sought = True
        self._transport.begin()

    async def commit(
        self, outputs: Sequence[EncodedBatch], dead_letters: Sequence[DeadLetter], next_offset: int
    ) -> None:
        await self._in_thread(lambda: self._commit(outputs, dead_letters, next_offset))

    async def save(self, snapshot: SnapshotPages) -> None:
        await self._in_thread(lambda: self._save(snapshot))

    async def close(self) -> None:
        self._give_up()
        if self._transport.owned_by(self):
            await self._transport.quiet()
            if await asyncio.to_thread(self._release, PATIENCE) and self._transport.owned_by(self):
                self._transport.disown()

    @property
    def flowing(self) -> PipeLines | FileLines | None:
        """The lines, once they may be delivered."""
        return self._lines if self._sought else None

    async def _in_thread(self, work: Callable[[], R]) -> R:
        def translated() -> R:
            with mendable(self._settings.folder):
                return work()

        return await asyncio.to_thread(translated)

    def _open(self) -> tuple[PipeLines | FileLines, Sink, Sink]:
        """What this handle has open. Raises TransportError where it may no longer use it."""
        if self._given_up:
            raise TransportError(
                f"{self._settings.partition}: this life of the task has ended (closed, failed or taken over by a"
                " later one) and can change nothing any more."
            )
        if self._lines is None or self._output is None or self._dead_letters is None:
            raise TransportError(f"{self._settings.partition}: fence comes before anything else.")
        return self._lines, self._output, self._dead_letters

    def _take_over(self) -> None:
        settings, transport = self._settings, self._transport
        with self._committing:
            settings.folder.mkdir(parents=True, exist_ok=True)
            transport.hold()
            manifest = transport.load()
            self._lines = lines = transport.open_lines()
            for position in (manifest.position, manifest.snapshot_position):
                # at byte 0 behind line 0: written when the input was a pipe
                if isinstance(lines, FileLines) and position is not None and position.byte:
                    lines.resume_from(position)
            self._output, output = self._cut_back(settings.output, 1, manifest.output)
            self._dead_letters, dead_letter = self._cut_back(settings.dead_letter_path, 2, manifest.dead_letter)
            self._manifest = msgspec.structs.replace(manifest, output=output, dead_letter=dead_letter)
            if transport.recoverable and self._manifest != manifest:
                transport.keep(self._manifest, durably=True)  # a crash before the first commit is cut back too

    def _cut_back(self, path: str, standard: int, written: Written | None) -> tuple[Sink, Written | None]:
        sink = Sink(path, standard)
        if is_stream(path):
            return sink, None
        if self._transport.recoverable and written is not None and written.path == str(Path(path).absolute()):
            if sink.length < written.length:
                sink.close()
                raise RefusedError(
                    f"{path}: has {sink.length} bytes, {written.length} are committed: it was cut, moved or replaced."
                    " Put it back, or start a new one after `streamrnn state drop`."
                )
            if sink.length > written.length:
                sink.cut(written.length)
        return sink, Written(str(Path(path).absolute()), sink.length)

    def _restore(self) -> StoredSnapshot | None:
        with self._saving:
            self._open()
            self._know_pages()
            return self._pages.read()

    def _know_pages(self) -> None:
        if not self._pages_known:
            self._pages.open(self._manifest.snapshot)
            self._pages_known = True

    def _offsets(self) -> Offsets:
        lines = self._open()[0]
        position = self._manifest.position
        with mendable(self._settings.input):
            return Offsets(None if position is None else position.offset, 0, lines.count())

    def _commit(self, outputs: Sequence[EncodedBatch], dead_letters: Sequence[DeadLetter], next_offset: int) -> None:
        with self._committing:
            lines, output, letters = self._open()
            try:
                with mendable(output.path):
                    output.append(b"".join(map(output_lines, outputs)))
                with mendable(letters.path):
                    letters.append(b"".join(self._letter_line(letter) for letter in dead_letters))
                position = lines.position(next_offset)
                self._open()
                manifest = msgspec.structs.replace(
                    self._manifest,
                    position=position,
                    output=self._manifest.output and Written(self._manifest.output.path, output.length),
                    dead_letter=self._manifest.dead_letter
                    and Written(self._manifest.dead_letter.path, letters.length),
                )
                self._transport.keep(manifest, durably=self._transport.recoverable)
                self._manifest = manifest
            except BaseException:
                self._given_up = True  # whether it was committed only the next life can tell
                raise

    def _save(self, snapshot: SnapshotPages) -> None:
        with self._saving:
            lines = self._open()[0]
            self._know_pages()
            name = self._pages.write(snapshot)
            with self._committing:
                self._open()
                manifest = msgspec.structs.replace(
                    self._manifest, snapshot=name, snapshot_position=lines.position(snapshot.offset)
                )
                self._transport.keep(manifest, durably=True)
                self._manifest = manifest
            self._pages.settle()

    def _letter_line(self, letter: DeadLetter) -> bytes:
        value = None if letter.value is None else base64.b64encode(letter.value).decode()
        line = {
            "topic": self._settings.partition.topic,
            "partition": self._settings.partition.partition,
            "offset": letter.offset,
            "stage": letter.stage,
            "exception": letter.exception,
            "message": letter.message,
            "value": value,
        }
        return msgspec.json.encode(line) + b"\n"

    def _give_up(self) -> None:
        """From here on no thread that works for this handle changes anything."""
        self._given_up = True
        self._sought = False
        for sink in (self._output, self._dead_letters):
            if sink is not None:
                sink.give_up()

    def _release(self, patience: float) -> bool:
        """Close the files once no thread works with them. False where one still does: they stay its own."""
        if not self._saving.acquire(timeout=patience):
            return False
        try:
            if not self._committing.acquire(timeout=patience):
                return False
            try:
                if isinstance(self._lines, FileLines):
                    self._lines.close()
                for sink in (self._output, self._dead_letters):
                    if sink is not None:
                        sink.close()
                self._lines = self._output = self._dead_letters = None
            finally:
                self._committing.release()
        finally:
            self._saving.release()
        return True


def output_lines(batch: EncodedBatch) -> bytes:
    """One line per output; a tombstone is a line that says to forget the stream."""
    if not batch.values:
        return b""
    return (
        b"\n".join(
            [
                forget_line(key) if value is None else value
                for key, value in zip(batch.keys, batch.values, strict=True)
            ]
        )
        + b"\n"
    )


def forget_line(key: bytes) -> bytes:
    return msgspec.json.encode({"stream": key.decode("utf-8", "replace"), "forget": True})
