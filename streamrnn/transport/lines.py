"""The lines of a file or a pipe: read in blocks, each line bounded, and the byte at which a line begins."""

import os
import select
import sys
import threading
import time
from bisect import bisect_right
from typing import Protocol
from zlib import crc32

import msgspec
import numpy as np

from streamrnn.errors import FatalError, RefusedError

BLOCK = 1 << 20
MAX_MARKS = 1 << 16
FINGERPRINT = 4096  # bytes compared at both ends of what was read
UNKNOWN_END = sys.maxsize


class LinePosition(msgspec.Struct, frozen=True):
    """A line's number, the byte where it begins, and what lies before it, to tell when the file was replaced."""

    offset: int
    byte: int
    head: int  # crc32 of the file's first 4 KiB before `byte`
    tail: int  # crc32 of the last 4 KiB before `byte`


class Lines(Protocol):
    """What the transport needs of its input. `read` runs in a thread, one at a time; the rest beside no `read`."""

    ended: bool
    line: int  # the number of the line that `take` returns next

    def seek(self, line: int) -> None:
        """Go on with this line."""

    def read(self, max_wait: float) -> None:
        """Read until there are lines to take, the end, or max_wait seconds have passed."""

    @property
    def ready(self) -> int:
        """How many lines `take` can return now."""

    def take(self, count: int) -> list[bytes]:
        """The next lines, at most `count`, without their newlines."""

    def position(self, line: int) -> LinePosition:
        """Where a line begins that was already read or is the next to read."""

    def count(self) -> int:
        """How many lines there are, UNKNOWN_END where nobody can know."""

    def close(self) -> None:
        """Give up the descriptor."""


class LineCutter:
    """Blocks of bytes in, lines out. A line holds at most max_bytes: of a longer one the rest is skipped."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        # A block of at most max_bytes holds no line that is too long but the one that its predecessors began.
        self.block = min(BLOCK, max_bytes)
        self._begun = bytearray()  # the line in progress, as far as it is kept

    def feed(self, block: bytes) -> list[bytes]:
        """The lines that end in this block."""
        cut = block.rfind(b"\n") + 1
        lines: list[bytes] = []
        if cut:
            lines = (bytes(self._begun) + block[: cut - 1]).split(b"\n")
            if len(lines[0]) > self._max:
                lines[0] = lines[0][: self._max]
            self._begun = bytearray()
        self._begun += block[cut : cut + self._max - len(self._begun)]
        return lines

    def finish(self) -> list[bytes]:
        """The last line, if it ended without a newline."""
        last = [bytes(self._begun)] if self._begun else []
        self._begun = bytearray()
        return last


class _Read:
    """Lines that were read and not yet taken."""

    def __init__(self, max_line_bytes: int) -> None:
        self.ended = False
        self.line = 0
        self._cutter = LineCutter(max_line_bytes)
        self._lines: list[bytes] = []
        self._taken = 0

    @property
    def ready(self) -> int:
        return len(self._lines) - self._taken

    def take(self, count: int) -> list[bytes]:
        lines = self._lines[self._taken : self._taken + count]
        self._taken += len(lines)
        self.line += len(lines)
        if self._taken == len(self._lines):
            self._lines, self._taken = [], 0
        return lines

    def _finish(self) -> None:
        self._lines += self._cutter.finish()
        self.ended = True


class PipeLines(_Read):
    """A pipe has no past: the first line after it was opened gets the number that is sought first."""

    def __init__(self, path: str, max_line_bytes: int) -> None:
        super().__init__(max_line_bytes)
        self._path = path
        self._begun = False
        # Not blocking, or the opening of a named pipe would wait for its writer. Standard input stays as it is:
        # it is shared with the shell, and is read only after poll.
        self._fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._arrival = select.poll()
        self._arrival.register(self._fd, select.POLLIN)

    def seek(self, line: int) -> None:
        if not self._begun:
            self.line = 0 if line == UNKNOWN_END else line
            self._begun = True
        elif line != self.line:
            raise FatalError(
                f"{self._path}: the next line is {self.line} and line {line} was sought, but a pipe cannot be read"
                " again. Start it anew with the data, or give it a file as its input."
            )

    def read(self, max_wait: float) -> None:
        deadline = time.monotonic() + max_wait
        while not self._lines and not self.ended:
            left = deadline - time.monotonic()
            if left < 0 or not self._arrival.poll(int(left * 1000)):
                return
            try:
                block = os.read(self._fd, self._cutter.block)
            except BlockingIOError:
                continue
            if block:
                self._lines += self._cutter.feed(block)
            else:
                self._finish()

    def position(self, line: int) -> LinePosition:
        return LinePosition(line, 0, 0, 0)

    def count(self) -> int:
        return self.line + self.ready if self.ended else UNKNOWN_END

    def close(self) -> None:
        if self._fd:
            os.close(self._fd)
            self._fd = 0


class FileLines(_Read):
    """A regular file. Marks (a line, the byte where it begins) spare a search from the file's start.

    The file is read to where it ends when the reader comes there; a last line without newline counts. What is
    appended later is read by the next life; where it only completes a line that was delivered, it is skipped, so
    that numbers of lines stay true.
    """

    def __init__(self, path: str, max_line_bytes: int) -> None:
        super().__init__(max_line_bytes)
        self._path = path
        self._max_line_bytes = max_line_bytes
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._byte = 0  # up to here the file was read
        self._found = 0  # lines that end before that
        self._lock = threading.Lock()  # of the marks: positions are looked up while the next block is read
        self._marks: list[tuple[int, int]] = [(0, 0)]
        self._counted = (0, 0)  # newlines before this byte

    def seek(self, line: int) -> None:
        byte = self._locate(line)
        self.ended, self.line = False, line
        self._cutter, self._lines, self._taken = LineCutter(self._max_line_bytes), [], 0
        self._byte, self._found = byte, line

    def read(self, max_wait: float) -> None:
        deadline = time.monotonic() + max_wait
        while not self._lines and not self.ended:
            block = os.pread(self._fd, self._cutter.block, self._byte)
            lines = self._cutter.feed(block)
            self._found += len(lines)
            if lines:
                self._mark(self._found, self._byte + block.rfind(b"\n") + 1)
            self._byte += len(block)
            self._lines += lines
            if len(block) < self._cutter.block:  # a regular file gives less than was asked for only at its end
                self._finish()
            if time.monotonic() > deadline:
                return

    def position(self, line: int) -> LinePosition:
        return self._fingerprint(line, self._locate(line))

    def resume_from(self, position: LinePosition) -> None:
        """Trust a position that an earlier life wrote down. Raises RefusedError where the file is another now."""
        size = os.fstat(self._fd).st_size
        where = f"{self._path}: line {position.offset} at byte {position.byte} is committed"
        mend = "Put the file back as it was, or forget the position with `streamrnn state drop`."
        if size < position.byte:
            raise RefusedError(f"{where}, but the file ends at byte {size}: it was cut or replaced. {mend}")
        if self._fingerprint(position.offset, position.byte) != position:
            raise RefusedError(
                f"{where}, but of the file's {size} bytes those before it are not the ones that were read: the file"
                f" was replaced or rewritten. {mend}"
            )
        self.hint(position.offset, position.byte)

    def hint(self, line: int, byte: int) -> None:
        """A line's place as an earlier life knew it."""
        self._mark(line, byte)
        if byte > self._counted[1]:
            begins = os.pread(self._fd, 1, byte - 1) == b"\n"
            self._counted = (line if begins else line - 1, byte)

    def count(self) -> int:
        """Reads on from where it counted last, so only the first call after a start is as long as the file."""
        newlines, byte = self._counted
        last = os.pread(self._fd, 1, byte - 1) if byte else b"\n"
        while block := os.pread(self._fd, BLOCK, byte):
            newlines, byte, last = newlines + block.count(b"\n"), byte + len(block), block[-1:]
        self._counted = (newlines, byte)
        return newlines + (last != b"\n")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _mark(self, line: int, byte: int) -> None:
        with self._lock:
            at = bisect_right(self._marks, (line, byte))
            if self._marks[at - 1][0] != line:
                self._marks.insert(at, (line, byte))
            if len(self._marks) > MAX_MARKS:
                self._marks = self._marks[::2]

    def _locate(self, line: int) -> int:
        """The byte where a line begins: from the nearest mark before it, counting newlines."""
        with self._lock:
            newlines, marked = self._marks[bisect_right(self._marks, (line, sys.maxsize)) - 1]
        byte, last = self._end_of_line(marked), b"\n"
        while newlines < line:
            block = os.pread(self._fd, BLOCK, byte)
            if not block:
                lines = newlines + (last != b"\n")
                if lines == line:
                    return byte
                raise RefusedError(
                    f"{self._path}: line {line} was sought, but the file has only {lines} lines. It was cut or"
                    " replaced: put it back, or forget the position with `streamrnn state drop`."
                )
            more = block.count(b"\n")
            if newlines + more >= line:
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                return byte + int(ends[line - newlines - 1]) + 1
            newlines, byte, last = newlines + more, byte + len(block), block[-1:]
        return byte

    def _end_of_line(self, byte: int) -> int:
        """This byte if a line begins there, else where the next one does: the line before was once the last."""
        if byte == 0 or os.pread(self._fd, 1, byte - 1) == b"\n":
            return byte
        while block := os.pread(self._fd, BLOCK, byte):
            at = block.find(b"\n")
            if at >= 0:
                return byte + at + 1
            byte += len(block)
        return byte

    def _fingerprint(self, line: int, byte: int) -> LinePosition:
        length = min(FINGERPRINT, byte)
        head = crc32(os.pread(self._fd, length, 0))
        tail = crc32(os.pread(self._fd, length, byte - length))
        return LinePosition(line, byte, head, tail)
