"""Files that survive a crash whole: replaced by rename, appended with fsync, cut back to a known length."""

import errno
import os
import select
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamrnn.errors import FatalError, TransportError

PIPE_CHUNK = 4096  # a pipe that poll calls writable takes PIPE_BUF bytes without blocking (pipe(7))
GIVE_UP_POLL = 100  # milliseconds between two looks at whether writing was given up

ADVICE = {
    errno.ENOSPC: "Free some space there; the task then goes on by itself",
    errno.EDQUOT: "Raise the quota or free some space; the task then goes on by itself",
    errno.EACCES: "Give this user the right to read and write it",
    errno.EPERM: "Give this user the right to read and write it",
    errno.EROFS: "Choose a path on a file system that is mounted writable",
    errno.ENOENT: "Create it or correct the path",
    errno.ENXIO: "Nobody has the other end of this pipe open yet",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
}


@contextmanager
def mendable(path: Path | str) -> Iterator[None]:
    """Turn an OSError into a TransportError that names the path and says what to do."""
    try:
        yield
    except BrokenPipeError as error:
        raise FatalError(f"{path}: whoever read it has closed it, so no output can be delivered.") from error
    except OSError as error:
        advice = ADVICE.get(error.errno or 0, "The task is started again")
        raise TransportError(f"{error.filename or path}: {error.strerror or error}. {advice}.") from error


def sync_folder(folder: Path) -> None:
    """Make a rename, creation or removal in this folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make what was written to this file durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def replace_file(path: Path, data: bytes) -> None:
    """After this the file holds exactly `data`; after a crash in between, exactly what it held before."""
    fresh = path.with_name(path.name + ".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.rename(path)
    sync_folder(path.parent)


def is_stream(path: str) -> bool:
    """Whether it can be neither rewound nor cut back: "-", a pipe, a device."""
    if path == "-":
        return True
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except FileNotFoundError:
        return False


class Sink:
    """Where lines are appended: a regular file with a known length, or a stream that only goes forward."""

    def __init__(self, path: str, standard: int) -> None:
        """Open `path`; "-" is the descriptor `standard`, which stays open after `close`."""
        self.path = path
        self._given_up = threading.Event()
        self._regular = not is_stream(path)
        self._owned = path != "-"
        if not self._owned:
            self._fd = standard
        elif self._regular:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            sync_folder(Path(path).absolute().parent)
        else:
            self._fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._fd)
        self._in_chunks = not stat.S_ISREG(status.st_mode)
        self.length = status.st_size if self._regular else 0  # bytes that count; what lies behind is overwritten

    def cut(self, length: int) -> None:
        """Take away what was appended after the file had this length."""
        os.ftruncate(self._fd, length)
        os.fsync(self._fd)
        self.length = length

    def append(self, data: bytes) -> None:
        """Returns once a regular file has the bytes on disk, once a stream has taken them."""
        if not data:
            return
        if not self._regular:
            self._hand_on(data)
            return
        rest, at = memoryview(data), self.length
        while rest:
            written = os.pwrite(self._fd, rest, at)
            rest, at = rest[written:], at + written
        os.fdatasync(self._fd)
        self.length = at

    def give_up(self) -> None:
        """An append that waits for a slow reader ends with an error. May be called from another thread."""
        self._given_up.set()

    def close(self) -> None:
        if self._owned:
            os.close(self._fd)
            self._owned = False

    def _hand_on(self, data: bytes) -> None:
        rest = memoryview(data)
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        while rest:
            if self._given_up.is_set():
                raise TransportError(f"{self.path}: stopped while its reader took nothing more.")
            if room.poll(GIVE_UP_POLL):
                written = os.write(self._fd, rest[:PIPE_CHUNK] if self._in_chunks else rest)
                rest = rest[written:]
