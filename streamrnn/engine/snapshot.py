"""A task's state as pages of bytes under keys, and back. No pickle: arrays as raw bytes, a header in JSON.

A page is a byte range of one array. Only pages with a touched stream in them are written again; the header lists
every valid page with its checksum, so that a store which keeps the newest bytes of each key holds a whole snapshot.
"""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from streamrnn.core.backend import Array, to_host
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.state_arrays import check_finite, laid_out, layout_id, slot_arrays, take_shared
from streamrnn.errors import SnapshotError

FORMAT = 3
PAGE_BYTES = 896 * 1024
KEYS_A_PAGE = 2048
HEADER = {
    "layout": str,
    "offset": int,
    "settings": dict,
    "slots": int,
    "shared": dict,
    "pages": dict,
}  # and the format
UNCHANGEABLE = ("features", "horizons", "cell", "hidden", "readout", "window")  # they shape the slabs


@dataclass(slots=True)
class SnapshotPages:
    """One snapshot as it is written: what changed since the last one, and the header that makes it whole."""

    offset: int  # S: the state is exactly as of this next offset
    header: bytes
    pages: dict[str, bytes] = field(default_factory=dict)  # changed pages, each at most PAGE_BYTES
    dropped: tuple[str, ...] = ()  # pages of earlier snapshots that are no longer valid

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(map(len, self.pages.values()))


@dataclass(slots=True)
class StoredSnapshot:
    """One snapshot as it is read back: the newest header and the newest bytes under every page's key."""

    header: bytes
    pages: dict[str, bytes]
    written: float | None = field(default=None, compare=False)  # epoch seconds, where the store knows


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What a stored snapshot says of itself; whether it is sound only `restore` knows."""

    format: int
    layout: str
    offset: int
    settings: dict[str, Any]  # as `ForecastSettings.to_json` gave them, maybe another version's
    nbytes: int


class Capture:
    """The state as it was at an offset, isolated from what comes after; to be saved once all of it is checked."""

    def __init__(self, offset: int, header: dict[str, Any], dropped: tuple[str, ...], sums: dict[str, int]) -> None:
        self.offset, self._header, self._dropped = offset, header, dropped
        self._sums = sums  # checksums of the pages that are valid; those of the changed ones are still to come
        self._pages: dict[str, bytes] = {}
        self._numbers: dict[str, tuple[str, np.dtype]] = {}  # pages of numbers: of which array, and of what kind
        self._unchecked: list[str] = []

    def add(self, key: str, page: bytes, name: str | None = None, kind: "np.dtype | None" = None) -> None:
        """A changed page: of the array of this name with numbers of this kind, or of keys."""
        self._pages[key] = page
        self._sums.pop(key, None)  # until it is checked: what is not saved in the end is to be captured again
        self._unchecked.append(key)
        if name is not None and kind is not None:
            self._numbers[key] = name, kind

    @property
    def checked(self) -> bool:
        """Nothing is left to `check`."""
        return not self._unchecked

    def check(self, most: int) -> None:
        """Check and sum up the next pages, of about so many bytes, so that a large state keeps nobody waiting.

        Raises SnapshotError where a number is not finite: what is stored must be fit to go on from.
        """
        size = 0
        while self._unchecked and size < most:
            key = self._unchecked.pop()
            page = self._pages[key]
            if key in self._numbers:
                name, kind = self._numbers[key]
                check_finite(name, np.frombuffer(page, kind))
            self._sums[key] = zlib.crc32(page)
            size += len(page)

    def finished(self) -> SnapshotPages:
        """What is to be saved; all is checked."""
        header = sealed(self._header | {"pages": dict(sorted(self._sums.items()))})
        return SnapshotPages(self.offset, header, self._pages, self._dropped)


class SnapshotWriter:
    """Captures a forecaster's state, each time only what changed since the last capture."""

    def __init__(self, forecaster: Forecaster, sums: dict[str, int] | None = None) -> None:
        self.forecaster = forecaster
        self._sums = dict(sums or {})  # checksum of every valid page, filled by the newest capture's `check`

    def capture(self, offset: int) -> SnapshotPages:
        """The state as it is now, to be saved as that of next offset `offset`. Raises SnapshotError, as `check`."""
        captured = self.begin(offset)
        while not captured.checked:
            captured.check(PAGE_BYTES)
        return captured.finished()

    def begin(self, offset: int) -> Capture:
        """The same, not checked yet: no more than a copy of what has changed."""
        f, table = self.forecaster, self.forecaster.table
        slots, used, shared = np.flatnonzero(table.touched), len(table.index.keys), f.state()
        raw = {name: array.tobytes() for name, array in shared.items()}
        # bytes of a slot
        widths = {name: array.nbytes // max(1, table.capacity) for name, array in slot_arrays(f).items()}
        valid = {f"keys/{page}" for page in range(-(-used // KEYS_A_PAGE))}
        valid |= {f"slot/{name}/{page}" for name, width in widths.items() for page in _page_numbers(used * width)}
        valid |= {f"shared/{name}/{page}" for name, content in raw.items() for page in _page_numbers(len(content))}
        header = {
            "format": FORMAT,
            "layout": layout_id(f),
            "offset": offset,
            "settings": f.settings.to_json(),
            "slots": used,
            "shared": {name: [array.dtype.str, list(array.shape)] for name, array in shared.items()},
        }
        dropped, known = tuple(sorted(set(self._sums) - valid)), self._sums
        self._sums = {key: value for key, value in known.items() if key in valid}
        captured = Capture(offset, header, dropped, self._sums)

        for name, array in slot_arrays(f).items():
            self._copy_slab(captured, f"slot/{name}", array, widths[name], used, slots)
        for page in range(-(-used // KEYS_A_PAGE)):
            key = f"keys/{page}"
            if key not in known or (slots // KEYS_A_PAGE == page).any():
                captured.add(key, _pack_keys(table.index.keys[page * KEYS_A_PAGE : (page + 1) * KEYS_A_PAGE]))
        for name, content in raw.items():
            for page in _page_numbers(len(content)):
                part = content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]
                captured.add(f"shared/{name}/{page}", part, name, shared[name].dtype)
        table.touched[:] = False
        return captured

    def _copy_slab(
        self, captured: Capture, name: str, array: Array, width: int, used: int, slots: np.ndarray
    ) -> None:
        """Add the pages of an array (`width` bytes a slot, `used` slots) that are new or hold a touched slot."""
        end = used * width
        pages = _page_numbers(end)
        first, last = slots * width // PAGE_BYTES, ((slots + 1) * width - 1) // PAGE_BYTES
        dirty = np.zeros(len(pages) + 1, np.int64)  # +1 where a run of touched pages begins, -1 behind its end
        np.add.at(dirty, first, 1)
        np.add.at(dirty, last + 1, -1)
        flat = array.reshape(-1).view("uint8")
        for page, touched in zip(pages, np.cumsum(dirty)[:-1].tolist(), strict=True):
            if touched or f"{name}/{page}" not in self._sums:
                part = to_host(flat[page * PAGE_BYTES : min(end, (page + 1) * PAGE_BYTES)])
                captured.add(f"{name}/{page}", part.tobytes(), name, np.dtype(array.dtype))


def _page_numbers(size: int) -> range:
    return range(-(-size // PAGE_BYTES))


def restore(stored: StoredSnapshot, xp: ModuleType = np) -> tuple[Forecaster, SnapshotWriter, int]:
    """The forecaster that a snapshot holds, a writer that goes on from it, and its next offset.

    Raises SnapshotError, naming what is wrong, where the snapshot is damaged, foreign or of another layout.
    """
    header = _read_header(stored.header)
    _check_pages(header["pages"], stored.pages)
    try:
        return _rebuilt(header, stored.pages, xp)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise SnapshotError(f"the snapshot's parts do not fit together, so it is not one of ours ({told})") from error


def _rebuilt(
    header: dict[str, Any], pages: dict[str, bytes], xp: ModuleType
) -> tuple[Forecaster, SnapshotWriter, int]:
    f = laid_out(ForecastSettings.from_json(header["settings"]), header["layout"], xp)
    used, table = header["slots"], f.table
    keys: list[bytes | None] = []
    for page in range(-(-used // KEYS_A_PAGE)):
        keys += _unpack_keys(pages[f"keys/{page}"])
    if len(keys) != used:
        raise SnapshotError(f"the snapshot holds {len(keys)} stream ids, its header says {used}")
    take_shared(f, _read_shared(header["shared"], pages), keys)
    for name, array in slot_arrays(f).items():
        size = used * (array.nbytes // max(1, table.capacity))
        flat = array.reshape(-1).view("uint8")
        for start, part in _pages(f"slot/{name}", pages, size):
            check_finite(f"slot/{name}", np.frombuffer(part, array.dtype))
            values = np.frombuffer(part, "uint8")
            flat[start : start + len(part)] = xp.asarray(values) if name in table.slabs else values
    return f, SnapshotWriter(f, header["pages"]), header["offset"]


def sealed(header: dict[str, Any]) -> bytes:
    """A header as it is stored: JSON, and on a line of its own the JSON's checksum."""
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"%s\n%08x" % (text, zlib.crc32(text))


def described(stored: StoredSnapshot) -> SnapshotFacts:
    """What the header says, without a look at the pages' bytes. Raises SnapshotError where it cannot be read."""
    header = _read_header(stored.header)
    size = len(stored.header) + sum(len(stored.pages.get(key, b"")) for key in header["pages"])
    return SnapshotFacts(header["format"], header["layout"], header["offset"], header["settings"], size)


def _read_shared(listed: dict[str, Any], pages: dict[str, bytes]) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    for name, (dtype, shape) in listed.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        arrays[name] = (
            np.frombuffer(b"".join(page for _, page in _pages(f"shared/{name}", pages, size)), dtype)
            .reshape(shape)
            .copy()
        )
    return arrays


def _pages(name: str, pages: dict[str, bytes], size: int) -> Iterator[tuple[int, bytes]]:
    """The pages of `size` bytes of an array, and where each begins."""
    for start in range(0, size, PAGE_BYTES):
        page = pages[f"{name}/{start // PAGE_BYTES}"]
        if len(page) != min(PAGE_BYTES, size - start):
            expected = min(PAGE_BYTES, size - start)
            raise SnapshotError(f"page {start // PAGE_BYTES} of {name} has {len(page)} bytes, expected {expected}")
        yield start, page


def _read_header(raw: bytes) -> dict[str, Any]:
    text, _, seal = raw.partition(b"\n")
    try:
        header = json.loads(text)
        written = header["format"]
    except (ValueError, KeyError, TypeError):
        raise SnapshotError(f"the snapshot's header is not one of streamrnn's: {raw[:80]!r}") from None
    if written != FORMAT:
        raise SnapshotError(f"the snapshot has format {written}, this version reads format {FORMAT}")
    if seal != b"%08x" % zlib.crc32(text):
        raise SnapshotError(f"the snapshot's header has checksum {zlib.crc32(text):08x}, {seal[:20]!r} was written")
    lacking = [name for name in HEADER if name not in header]
    if lacking:
        raise SnapshotError(f"the snapshot's header lacks {', '.join(lacking)}")
    for name, kind in HEADER.items():
        if not isinstance(header[name], kind):
            raise SnapshotError(f"the snapshot's header has {header[name]!r:.80} as {name}, not one of streamrnn's")
    return dict(header)


def _check_pages(sums: dict[str, int], pages: dict[str, bytes]) -> None:
    for key, expected in sums.items():
        if key not in pages:
            raise SnapshotError(f"the snapshot lacks page {key}")
        found = zlib.crc32(pages[key])
        if found != expected:
            raise SnapshotError(f"page {key} has checksum {found:08x}, the header says {expected:08x}")


def _pack_keys(keys: list[bytes | None]) -> bytes:
    lengths = np.array([-1 if key is None else len(key) for key in keys], "<i4")
    return len(keys).to_bytes(4, "little") + lengths.tobytes() + b"".join(key or b"" for key in keys)


def _unpack_keys(raw: bytes) -> list[bytes | None]:
    count = int.from_bytes(raw[:4], "little")
    keys: list[bytes | None] = []
    at = 4 + 4 * count
    for length in np.frombuffer(raw, "<i4", count, 4).tolist():
        keys.append(None if length < 0 else raw[at : at + length])
        at += max(0, length)
    return keys
