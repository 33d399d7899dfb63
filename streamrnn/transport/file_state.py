"""What the lives of a file partition leave to each other: its settings, its lock, its manifest."""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from streamrnn.engine.snapshot import StoredSnapshot
from streamrnn.errors import RefusedError, SnapshotError
from streamrnn.transport.contract import PartitionId, StoredState
from streamrnn.transport.durable import is_stream, mendable, replace_file
from streamrnn.transport.lines import FileLines, LinePosition
from streamrnn.transport.page_store import PageStore

FORMAT = 1


@dataclass(frozen=True, slots=True)
class FileSettings:
    """Where to read and write; "-" is standard input or output."""

    input: str
    output: str
    state: Path
    dead_letter: str  # "-" is standard error; "" is <output>.dead-letter, or standard error where output is "-"
    app_id: str
    max_line_bytes: int = 16 << 20  # of a longer line this much is delivered; keep it above input.max_bytes
    anomalies: str | None = None  # None: they have no file of their own

    @property
    def dead_letter_path(self) -> str:
        return self.dead_letter or ("-" if self.output == "-" else f"{self.output}.dead-letter")

    @property
    def written(self) -> list[str]:
        """Where lines are appended."""
        return [path for path in (self.output, self.dead_letter_path, self.anomalies) if path is not None]

    @property
    def partition(self) -> PartitionId:
        return PartitionId("stdin" if self.input == "-" else Path(self.input).name, 0)

    @property
    def folder(self) -> Path:
        """What this partition's lives leave to each other."""
        return self.state / f"{self.app_id}-{self.partition.topic}-0"


class Written(msgspec.Struct, frozen=True):
    """A file that is appended to, and how much of it is committed."""

    path: str
    length: int


class Manifest(msgspec.Struct, frozen=True):
    """What the last life left, in one file that is replaced by rename."""

    format: int = FORMAT
    position: LinePosition | None = None
    output: Written | None = None
    dead_letter: Written | None = None
    anomalies: Written | None = None
    snapshot: str | None = None  # the file name of an index of the page store
    snapshot_position: LinePosition | None = None  # of the snapshot's next offset, to seek there at once


def lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed, also by the process's death."""
    path = folder / "lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise RefusedError(
            f"{path}: another process (id {holder}) lives on this state. Stop it first, or give this one another"
            " app_id or file.state."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def load_manifest(folder: Path) -> Manifest:
    path = folder / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except msgspec.DecodeError as error:
        raise RefusedError(
            f"{path}: is damaged ({error}). Put it back, or start anew with `streamrnn state drop`."
        ) from error
    if manifest.format != FORMAT:
        raise RefusedError(f"{path}: has format {manifest.format}, this version reads {FORMAT}.")
    return manifest


def store_manifest(folder: Path, manifest: Manifest) -> None:
    replace_file(folder / "manifest.json", msgspec.json.encode(manifest) + b"\n")


def stored_state(settings: FileSettings) -> tuple[int | None, StoredSnapshot | None]:
    """The committed offset and the snapshot, for a look from outside, also while a process lives on them.

    Raises SnapshotError where the snapshot is damaged, RefusedError where the manifest is.
    """
    for last in (False, True):
        manifest = load_manifest(settings.folder)
        pages = PageStore(settings.folder)
        try:
            with mendable(settings.folder):
                pages.look(manifest.snapshot)
                return (manifest.position.offset if manifest.position else None), pages.read()
        except SnapshotError:
            # a living task may just have replaced what this manifest names
            if last or load_manifest(settings.folder).snapshot == manifest.snapshot:
                raise
    raise AssertionError("not reached")


def drop_state(settings: FileSettings) -> bool:
    """Forget the snapshot; the position too where the input is no longer the file that was read.

    Returns whether there was anything to forget. Raises RefusedError while a process lives on the state.
    """
    folder = settings.folder
    with mendable(folder):
        if not folder.is_dir():
            return False
        held = lock(folder)
        try:
            try:
                manifest = load_manifest(folder)
            except RefusedError:
                store_manifest(folder, Manifest())
                return True
            left = Manifest(
                position=manifest.position if _fits(settings, manifest.position) else None,
                output=_unless_cut(manifest.output),
                dead_letter=_unless_cut(manifest.dead_letter),
                anomalies=_unless_cut(manifest.anomalies),
            )
            store_manifest(folder, left)
            PageStore(folder).open(None)
        finally:
            os.close(held)
    return left != manifest


def check_length(path: str, found: int, written: Written) -> None:
    """Raises RefusedError where a file has lost what was committed to it."""
    if found < written.length:
        raise RefusedError(
            f"{path}: has {found} bytes, {written.length} are committed: it was cut, moved or replaced. Put it back, "
            "or start a new one after `streamrnn state drop`."
        )


class FileStateStore:
    """Implements `StateStore`."""

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings

    async def partitions(self) -> list[PartitionId]:
        return [self._settings.partition]

    async def look(self, partition: PartitionId) -> StoredState:  # noqa: ARG002 (there is only one)
        settings = self._settings
        committed, snapshot, log, refusal = None, None, None, None
        try:
            committed, snapshot = stored_state(settings)
        except (RefusedError, SnapshotError) as error:
            refusal = str(error)
            with suppress(RefusedError):
                position = load_manifest(settings.folder).position
                committed = position.offset if position else None
        try:
            log = _bounds(settings)
        except RefusedError as error:
            refusal = refusal or str(error)
        return StoredState(committed, log, snapshot, refusal)

    async def drop(self, partition: PartitionId) -> bool:  # noqa: ARG002
        return drop_state(self._settings)


def _bounds(settings: FileSettings) -> tuple[int, int] | None:
    """The input's first line and the number behind its last, None where nobody knows.

    Raises RefusedError where a file is not the one that was read or written.
    """
    if is_stream(settings.input) or not Path(settings.input).exists():
        return None
    manifest = load_manifest(settings.folder)
    for path, written in (
        (settings.output, manifest.output),
        (settings.dead_letter_path, manifest.dead_letter),
        (settings.anomalies or "-", manifest.anomalies),
    ):
        if written is not None and written.path == str(Path(path).absolute()) and not is_stream(path):
            check_length(path, Path(path).stat().st_size if Path(path).exists() else 0, written)
    with mendable(settings.input):
        lines = FileLines(settings.input, settings.max_line_bytes)
        try:
            for position in (manifest.position, manifest.snapshot_position):
                if position is not None and position.byte:  # at byte 0: written when the input was a pipe
                    lines.resume_from(position)
            return 0, lines.count()
        finally:
            lines.close()


def _fits(settings: FileSettings, position: LinePosition | None) -> bool:
    if position is None or is_stream(settings.input) or not Path(settings.input).exists():
        return False
    lines = FileLines(settings.input, settings.max_line_bytes)
    try:
        lines.resume_from(position)
    except RefusedError:
        return False
    finally:
        lines.close()
    return True


def _unless_cut(written: Written | None) -> Written | None:
    if written is None or not Path(written.path).exists() or Path(written.path).stat().st_size < written.length:
        return None
    return written
