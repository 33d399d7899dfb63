"""The output file of an application, followed as it grows, and the input lines that its lines speak of."""

import asyncio
import os
from pathlib import Path

from streamrnn.errors import ConfigError, FatalError
from streamrnn.transport.contract import PartitionId, RawBatch
from streamrnn.transport.durable import is_stream, mendable
from streamrnn.transport.file_state import FileSettings, load_manifest
from streamrnn.transport.lines import FileLines, LineCutter

LINES = 500  # at most, in one batch
LOOK_EVERY = 0.2  # seconds
LINE_BYTES = 2048  # of an output, to find about where the last ones begin
NO_TIME = -1


class FileTap:
    """Implements `Tap`."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._output = -1
        self._byte = 0  # up to here the output was read
        self._cut_in = False  # that was the middle of a line, most likely
        self._end: int | None = 0  # of the output at the start, None once it was reached
        self._cutter = LineCutter(settings.max_line_bytes)
        self._lines: list[bytes] = []  # read and not yet delivered
        self._inputs: FileLines | None = None

    @property
    def caught_up(self) -> bool:
        return self._end is None

    async def start(self, back: int | None) -> None:
        settings = self._settings
        _followable(settings.input, "file.input: a file of JSON lines was expected")
        _followable(settings.output, "file.output: `streamrnn run` makes it when it starts")
        with mendable(settings.input):
            self._inputs = FileLines(settings.input, settings.max_line_bytes)
        with mendable(settings.output):
            self._output = os.open(settings.output, os.O_RDONLY | os.O_CLOEXEC)
        self._end = self._committed()
        if back is not None:
            self._byte = max(0, self._end - back * LINE_BYTES)
            self._cut_in = self._byte > 0

    async def outputs(self, max_wait: float) -> dict[PartitionId, RawBatch]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + max_wait
        while not self._lines:
            committed = self._committed()
            if self._end is not None and self._byte >= self._end:
                self._end = None
                return {}
            if self._byte < committed:
                self._read(committed)
                continue
            if clock() >= deadline:
                return {}
            await asyncio.sleep(LOOK_EVERY)
        lines, self._lines = self._lines[:LINES], self._lines[LINES:]
        return {self._settings.partition: _batch(0, lines)}

    async def inputs(self, partition: PartitionId, offset: int) -> RawBatch:  # noqa: ARG002 (there is only one)
        lines = self._inputs
        assert lines is not None
        with mendable(self._settings.input):
            if lines.line != offset or (lines.ended and not lines.ready):
                lines.seek(offset)
            while not (lines.ready or lines.ended):
                lines.read(1.0)
        if not lines.ready:
            raise FatalError(
                f"{self._settings.input}: line {offset} is not there, but {self._settings.output} holds a forecast "
                "of it: one of them was replaced"
            )
        return _batch(offset, lines.take(LINES))

    async def stop(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            self._output = -1
        if self._inputs is not None:
            self._inputs.close()
            self._inputs = None

    def _committed(self) -> int:
        """How much of the output counts: all of it where no worker keeps a position, as behind a pipe."""
        path = self._settings.output
        there, ours = (Path(path).stat() if Path(path).exists() else None), os.fstat(self._output)
        if there is None or there.st_ino != ours.st_ino or ours.st_size < self._byte:
            raise FatalError(f"{path}: was cut, moved or replaced while it was followed. Start again")
        written = load_manifest(self._settings.folder).output
        if written is None or written.path != str(Path(path).absolute()):
            return ours.st_size
        return min(written.length, ours.st_size)

    def _read(self, end: int) -> None:
        """One block of the output that ends at `end` or before."""
        with mendable(self._settings.output):
            block = os.pread(self._output, min(self._cutter.block, end - self._byte), self._byte)
        self._byte += len(block)
        self._lines = self._cutter.feed(block)
        if self._cut_in and self._lines:
            self._lines, self._cut_in = self._lines[1:], False


def _followable(name: str, hint: str) -> None:
    """Raise ConfigError for a pipe, FatalError where there is no such file."""
    path = Path(name)
    if is_stream(name) and not path.is_dir():
        raise ConfigError(f"{name}: is a pipe, which nobody else can follow. {hint}")
    if not path.is_file():
        raise FatalError(f"{name}: {'is a folder' if path.is_dir() else 'does not exist'}. {hint}")


def _batch(offset: int, lines: list[bytes]) -> RawBatch:
    """Lines as a batch, the first at this offset."""
    number = len(lines)
    return RawBatch(
        offsets=list(range(offset, offset + number)),
        timestamps=[NO_TIME] * number,
        keys=[None] * number,
        values=[*lines],
        headers=[()] * number,
        next_offset=offset + number,
    )
