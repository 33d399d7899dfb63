"""One life of a file's partition: what it commits and saves, and how it takes over from the life before."""

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
from streamrnn.errors import RefusedError, TransportError
from streamrnn.transport.contract import DeadLetter, EncodedBatch, Offsets
from streamrnn.transport.durable import Sink, is_stream, mendable
from streamrnn.transport.file_state import (
    FileSettings,
    Manifest,
    Written,
    check_length,
    load_manifest,
    lock,
    store_manifest,
)
from streamrnn.transport.lines import FileLines, Lines, PipeLines
from streamrnn.transport.page_store import PageStore

PATIENCE = 5.0  # seconds that close waits for a read, commit or save that is under way
FOREVER = -1.0  # as threading.Lock.acquire has it

R = TypeVar("R")


class Tenancy:
    """What the handles of one process share: which of them is alive, the lock, the pipe that cannot be reopened."""

    def __init__(self, settings: FileSettings) -> None:
        self.settings = settings
        self.stream_input = is_stream(settings.input)
        self.recoverable = not (self.stream_input or is_stream(settings.output))
        self.tenant: FilePartition | None = None
        self.sought = asyncio.Event()  # set for `fetch` by whatever may make lines flow
        self.ended = False  # every line there is was fetched
        self.reading: asyncio.Future[None] | None = None  # a thread that reads; it outlives a cancelled fetch
        self._lock: int | None = None
        self._pipe: PipeLines | None = None
        self._forgetful: Manifest | None = None  # the last commit, where nothing is recoverable

    def move_in(self, partition: "FilePartition") -> "FilePartition | None":
        """This handle is the one from now on. Returns its predecessor."""
        predecessor, self.tenant = self.tenant, partition
        return predecessor

    def move_out(self) -> None:
        self.tenant = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def hold(self) -> None:
        """Be the only process on this state. Raises RefusedError where another one is."""
        if self._lock is None:
            self._lock = lock(self.settings.folder)

    def open_lines(self) -> Lines:
        """A file is opened anew for each handle, a pipe once."""
        if not self.stream_input:
            return FileLines(self.settings.input, self.settings.max_line_bytes)
        if self._pipe is None:
            self._pipe = PipeLines(self.settings.input, self.settings.max_line_bytes)
        return self._pipe

    def close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def load(self) -> Manifest:
        return self._forgetful or load_manifest(self.settings.folder)

    def keep(self, manifest: Manifest, *, durably: bool) -> None:
        """Remember what is committed: over crashes, or only for the next handle in this process."""
        if durably:
            store_manifest(self.settings.folder, manifest)
        if not self.recoverable:
            self._forgetful = manifest

    async def quiet(self) -> None:
        """Wait until no thread reads. A failure to read is dropped: whoever reads on meets it again."""
        reading = self.reading
        if reading is not None:
            await asyncio.wait({reading}, timeout=PATIENCE)
            if reading.done() and self.reading is reading:
                reading.exception()
                self.reading = None


class FilePartition:
    """One life of the partition."""

    def __init__(self, tenancy: Tenancy) -> None:
        self._tenancy = tenancy
        self._settings = tenancy.settings
        self._given_up = False
        self._sought = False
        self._committing = threading.Lock()  # held by the thread that appends or changes the manifest
        self._saving = threading.Lock()  # held by the thread that writes pages; taken before _committing
        self._manifest = Manifest()
        self._lines: Lines | None = None
        self._output: Sink | None = None
        self._dead_letters: Sink | None = None
        self._anomalies: Sink | None = None
        self._pages = PageStore(self._settings.folder)
        self._pages_known = False

    @property
    def max_output_bytes(self) -> int:
        """A line may be of any length."""
        return sys.maxsize

    async def fence(self) -> None:
        predecessor = self._tenancy.move_in(self)
        if predecessor is not None:
            predecessor._give_up()
        await self._tenancy.quiet()
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

    async def newest_outputs(self) -> list[bytes]:
        return []  # a manifest that names an older position than the output holds cannot be: the output is cut back

    async def offset_before(self, offset: int, seconds: float) -> int:  # noqa: ARG002
        """A file has no timestamps of its own, so all of it is before; of a pipe nothing can be read again."""
        return offset if self._tenancy.stream_input else 0

    async def seek(self, offset: int) -> None:
        lines = self._open()[0]
        self._sought = False
        await self._tenancy.quiet()
        with mendable(self._settings.input):
            await asyncio.to_thread(lines.seek, offset)
        self._open()
        self._sought = True
        self._tenancy.ended = False
        self._tenancy.sought.set()

    async def commit(
        self,
        outputs: Sequence[EncodedBatch],
        dead_letters: Sequence[DeadLetter],
        next_offset: int,
        anomalies: Sequence[EncodedBatch] = (),
    ) -> None:
        await self._in_thread(lambda: self._commit(outputs, dead_letters, next_offset, anomalies))

    async def save(self, snapshot: SnapshotPages) -> None:
        await self._in_thread(lambda: self._save(snapshot))

    async def close(self) -> None:
        self._give_up()
        if self._tenancy.tenant is self:
            await self._tenancy.quiet()
            if await asyncio.to_thread(self._release, PATIENCE) and self._tenancy.tenant is self:
                self._tenancy.move_out()

    @property
    def flowing(self) -> Lines | None:
        """The lines, once they may be delivered."""
        return self._lines if self._sought else None

    async def _in_thread(self, work: Callable[[], R]) -> R:
        def translated() -> R:
            with mendable(self._settings.folder):
                return work()

        return await asyncio.to_thread(translated)

    def _open(self) -> tuple[Lines, Sink, Sink]:
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
        settings, tenancy = self._settings, self._tenancy
        with self._committing:
            settings.folder.mkdir(parents=True, exist_ok=True)
            tenancy.hold()
            manifest = tenancy.load()
            self._lines = lines = tenancy.open_lines()
            for position in (manifest.position, manifest.snapshot_position):
                # at byte 0 behind line 0: written when the input was a pipe
                if isinstance(lines, FileLines) and position is not None and position.byte:
                    lines.resume_from(position)
            self._output, output = self._cut_back(settings.output, 1, manifest.output)
            self._dead_letters, dead_letter = self._cut_back(settings.dead_letter_path, 2, manifest.dead_letter)
            anomalies = None
            if settings.anomalies is not None:
                self._anomalies, anomalies = self._cut_back(settings.anomalies, 1, manifest.anomalies)
            self._manifest = msgspec.structs.replace(
                manifest, output=output, dead_letter=dead_letter, anomalies=anomalies
            )
            if tenancy.recoverable and self._manifest != manifest:
                tenancy.keep(self._manifest, durably=True)  # a crash before the first commit is cut back too

    def _cut_back(self, path: str, standard: int, written: Written | None) -> tuple[Sink, Written | None]:
        sink = Sink(path, standard)
        if is_stream(path):
            return sink, None
        if self._tenancy.recoverable and written is not None and written.path == str(Path(path).absolute()):
            try:
                check_length(path, sink.length, written)
            except RefusedError:
                sink.close()
                raise
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

    def _commit(
        self,
        outputs: Sequence[EncodedBatch],
        dead_letters: Sequence[DeadLetter],
        next_offset: int,
        anomalies: Sequence[EncodedBatch],
    ) -> None:
        with self._committing:
            lines, output, letters = self._open()
            try:
                with mendable(output.path):
                    output.append(b"".join(map(output_lines, outputs)))
                with mendable(letters.path):
                    letters.append(b"".join(self._letter_line(letter) for letter in dead_letters))
                if self._anomalies is not None:
                    with mendable(self._anomalies.path):
                        self._anomalies.append(b"".join(map(output_lines, anomalies)))
                position = lines.position(next_offset)
                self._open()
                manifest = msgspec.structs.replace(
                    self._manifest,
                    position=position,
                    output=_grown(self._manifest.output, output),
                    dead_letter=_grown(self._manifest.dead_letter, letters),
                    anomalies=_grown(self._manifest.anomalies, self._anomalies),
                )
                self._tenancy.keep(manifest, durably=self._tenancy.recoverable)
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
                self._tenancy.keep(manifest, durably=True)
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
        for sink in (self._output, self._dead_letters, self._anomalies):
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
                lines = self._lines if isinstance(self._lines, FileLines) else None
                for file in (lines, self._output, self._dead_letters, self._anomalies):
                    if file is not None:
                        with suppress(OSError):  # all that counts was synced before
                            file.close()
                self._lines = self._output = self._dead_letters = self._anomalies = None
            finally:
                self._committing.release()
        finally:
            self._saving.release()
        return True


def _grown(before: Written | None, sink: Sink | None) -> Written | None:
    return Written(before.path, sink.length) if before and sink else None


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
