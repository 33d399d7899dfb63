"""Snapshots on disk: pages appended to segment files, and an index file that says where the valid ones lie.

A save writes one new segment (the changed pages) and one new index. The index comes into force when its name is
written into the manifest (`file.py`), which is one rename; until then the old index and all its pages are untouched.
What no index in force names is deleted afterwards, or at the next start.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from streamrnn.engine.snapshot import SnapshotPages, StoredSnapshot
from streamrnn.errors import SnapshotError
from streamrnn.transport.durable import replace_file, sync_folder, write_all

FORMAT = 1
DEAD_PER_LIVE = 2  # dead bytes on disk per live byte at which the live pages are rewritten


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page's newest bytes lie."""

    segment: int
    position: int
    length: int
    crc32: int


class Index(msgspec.Struct, frozen=True):
    """One snapshot: its header and the places of its pages."""

    format: int
    offset: int
    header: bytes
    pages: dict[str, Place]


EMPTY = Index(FORMAT, 0, b"", {})


class PageStore:
    """The snapshot in one folder. `write` and `settle` are called by one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name: str | None = None
        self._index = EMPTY
        self._written: tuple[str, Index] | None = None  # not yet in force

    def open(self, name: str | None) -> None:
        """Take this index as the one in force. Raises SnapshotError where it is damaged or missing."""
        self.look(name)
        self._clear()

    def look(self, name: str | None) -> None:
        """Like `open`, but leave every file as it is."""
        self._index = EMPTY if name is None else self._load(name)
        self._name, self._written = name, None

    def read(self) -> StoredSnapshot | None:
        """The snapshot in force, each page verified. Raises SnapshotError where one is damaged or missing."""
        if self._name is None:
            return None
        written = (self._folder / self._name).stat().st_mtime
        return StoredSnapshot(self._index.header, dict(self._pages(self._index.pages)), written)

    def write(self, snapshot: SnapshotPages) -> str:
        """Write pages and index. Returns the index's name, which must be in the manifest before `settle`."""
        gone = {*snapshot.dropped, *snapshot.pages}
        kept = {key: place for key, place in self._index.pages.items() if key not in gone}
        moved: dict[str, Place] = {}
        if self._wasteful(kept, sum(map(len, snapshot.pages.values()))):
            kept, moved = moved, kept
        segment = 1 + max((*self._segments(), self._number()))
        pages = kept | self._append(segment, snapshot.pages, moved)

        index = Index(FORMAT, snapshot.offset, snapshot.header, pages)
        body = msgspec.json.encode(index)
        name = f"snapshot-{segment:012}.json"
        replace_file(self._folder / name, b"%08x\n%s\n" % (crc32(body), body))
        self._written = (name, index)
        return name

    def settle(self) -> None:
        """What `write` wrote last is in force: delete what it superseded."""
        if self._written is not None:
            self._name, self._index = self._written
            self._written = None
            self._clear()

    def _wasteful(self, kept: dict[str, Place], fresh: int) -> bool:
        sizes = self._segments()
        live = fresh + sum(place.length for place in kept.values())
        stored = fresh + sum(sizes.get(segment, 0) for segment in {place.segment for place in kept.values()})
        return stored - live > DEAD_PER_LIVE * live

    def _append(self, segment: int, pages: dict[str, bytes], moved: dict[str, Place]) -> dict[str, Place]:
        """Write a new segment from fresh pages and, page by page, from those that move. Returns their places."""
        places: dict[str, Place] = {}
        if not pages and not moved:
            return places
        fd = os.open(self._segment_path(segment), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            position = 0
            for source in (iter(pages.items()), self._pages(moved)):
                for key, page in source:
                    write_all(fd, page)
                    places[key] = Place(segment, position, len(page), crc32(page))
                    position += len(page)
            os.fsync(fd)
        except BaseException:
            self._segment_path(segment).unlink(missing_ok=True)  # the disk may be full of just this
            raise
        finally:
            os.close(fd)
        sync_folder(self._folder)
        return places

    def _pages(self, places: dict[str, Place]) -> Iterator[tuple[str, bytes]]:
        """Keys and verified bytes, each segment opened once."""
        by_segment: dict[int, list[str]] = {}
        for key, place in places.items():
            by_segment.setdefault(place.segment, []).append(key)
        for segment, keys in sorted(by_segment.items()):
            path = self._segment_path(segment)
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise self._damage(path, f"is missing, {len(keys)} pages were expected in it") from None
            try:
                for key in sorted(keys, key=lambda key: places[key].position):
                    place = places[key]
                    page = os.pread(fd, place.length, place.position)
                    if (len(page), crc32(page)) != (place.length, place.crc32):
                        found = f"{len(page)} bytes with crc32 {crc32(page):08x}"
                        expected = f"{place.length} bytes with crc32 {place.crc32:08x}"
                        where = f"page {key!r} at byte {place.position}"
                        raise self._damage(path, f"{where} is damaged: found {found}, expected {expected}")
                    yield key, page
            finally:
                os.close(fd)

    def _load(self, name: str) -> Index:
        path = self._folder / name
        try:
            checksum, _, body = path.read_bytes().rstrip(b"\n").partition(b"\n")
        except FileNotFoundError:
            raise self._damage(path, "is missing, the manifest names it") from None
        if checksum != b"%08x" % crc32(body):
            raise self._damage(path, f"is damaged: its crc32 is {crc32(body):08x}, not {checksum[:8]!r}")
        try:
            index = msgspec.json.decode(body, type=Index)
        except msgspec.DecodeError as error:
            raise self._damage(path, f"was written by another version ({error})") from error
        if index.format != FORMAT:
            raise self._damage(path, f"has format {index.format}, this version reads {FORMAT}")
        return index

    def _clear(self) -> None:
        """Delete indexes and segments that the one in force does not need."""
        needed = {self._segment_path(place.segment).name for place in self._index.pages.values()} | {self._name}
        for path in self._folder.iterdir():
            if path.name.startswith(("snapshot-", "segment-")) and path.name not in needed:
                path.unlink()

    def _number(self) -> int:
        """The number in the name of the index in force: a new one never overwrites it."""
        return int(self._name.removeprefix("snapshot-").removesuffix(".json")) if self._name else 0

    def _segments(self) -> dict[int, int]:
        """Number and size of every segment file."""
        return {int(path.stem.removeprefix("segment-")): path.stat().st_size for path in self._segment_files()}

    def _segment_files(self) -> Iterator[Path]:
        return self._folder.glob("segment-*.pages")

    def _segment_path(self, segment: int) -> Path:
        return self._folder / f"segment-{segment:012}.pages"

    def _damage(self, path: Path, what: str) -> SnapshotError:
        return SnapshotError(
            f"{path}: {what}. Nothing is guessed: put the file back, or go on without this snapshot after"
            " `streamrnn state drop`."
        )
