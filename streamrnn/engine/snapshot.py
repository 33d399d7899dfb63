"""A task's state as pages of bytes under keys, and back. No pickle: arrays as raw bytes, a header in JSON."""

from dataclasses import dataclass, field


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
