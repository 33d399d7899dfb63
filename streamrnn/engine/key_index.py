"""From a stream's key to its slot, for many keys at once.

Open addressing over the keys' hashes, probed for all keys of a batch together, with the key's bytes compared before
a slot is believed. The hash is Python's own of bytes: keyed with a secret of the process, so nobody can choose keys
that collide. Slots do not depend on it, so neither do forecasts.
"""

from heapq import heappop, heappush
from operator import eq

import numpy as np

EMPTY, DELETED = -1, -2
LOAD = 0.5  # at most this part of the cells is in use


class KeyIndex:
    """Slots of keys. `keys[slot]` is the key of a slot, None where it is free."""

    def __init__(self) -> None:
        self.keys: list[bytes | None] = []
        self.live = 0
        self._free: list[int] = []  # a heap: what is free says which slot is next, not when it was freed
        self.resting: list[int] = []  # freed since the last `release`
        self._resize(1024)

    def __len__(self) -> int:
        return self.live

    def look_up(self, keys: list[bytes]) -> np.ndarray:
        """Slots (R,) int64 of these keys, -1 where a key is unknown."""
        hashes = np.fromiter(map(hash, keys), np.int64, len(keys))
        found = np.full(len(keys), -1, np.int64)
        pending = np.arange(len(keys))
        cell = hashes & self._mask
        while pending.size:
            slot = self._slots[cell]
            candidate = (slot >= 0) & (self._hashes[cell] == hashes[pending])
            at = np.flatnonzero(candidate)
            asked = map(keys.__getitem__, pending[at].tolist())
            candidate[at] = list(map(eq, map(self.keys.__getitem__, slot[at].tolist()), asked))
            found[pending[candidate]] = slot[candidate]
            going = ~candidate & (slot != EMPTY)
            pending, cell = pending[going], (cell[going] + 1) & self._mask
        return found

    def insert(self, key: bytes) -> int:
        """A slot for a key that is not there yet: the lowest free one, else the next new one."""
        if (self._used + 1) > LOAD * len(self._slots):
            self._resize(max(1024, 4 * (self.live + 1)))
        if self._free:
            slot = heappop(self._free)
            self.keys[slot] = key
        else:
            slot = len(self.keys)
            self.keys.append(key)
        self._place(hash(key), slot)
        self.live += 1
        return slot

    def remove(self, slot: int) -> None:
        """Forget a slot's key. The slot is used again only after `release`."""
        key = self.keys[slot]
        cell = hash(key) & self._mask
        while self._slots[cell] != slot:
            cell = (cell + 1) & self._mask
        self._slots[cell] = DELETED
        self.keys[slot] = None
        self.resting.append(slot)
        self.live -= 1

    def release(self) -> None:
        """Allow slots that were freed to be used again."""
        for slot in self.resting:
            heappush(self._free, slot)
        self.resting.clear()

    @classmethod
    def restored(cls, keys: list[bytes | None], resting: list[int]) -> "KeyIndex":
        """The index over the keys of a snapshot, slot by slot; `resting` are the slots not yet released."""
        index = cls()
        index.keys, index.resting = list(keys), list(resting)
        rests = set(resting)
        index._free = [slot for slot, key in enumerate(keys) if key is None and slot not in rests]
        index.live = len(keys) - len(index._free) - len(rests)
        index._resize(max(1024, 4 * index.live))
        return index

    def _resize(self, cells: int) -> None:
        """Begin anew with so many cells or a few more, and place all keys at once."""
        size = 1 << (cells - 1).bit_length()
        self._mask = size - 1
        self._slots = np.full(size, EMPTY, np.int64)
        self._hashes = np.zeros(size, np.int64)
        slots = np.array([slot for slot, key in enumerate(self.keys) if key is not None], np.int64)
        hashes = np.fromiter((hash(key) for key in self.keys if key is not None), np.int64, len(slots))
        self._used = len(slots)
        cell = hashes & self._mask
        while slots.size:
            free = self._slots[cell] == EMPTY
            self._slots[cell[free]] = slots[free]  # of those that want the same cell the last one has it
            self._hashes[cell[free]] = hashes[free]
            going = self._slots[cell] != slots
            slots, hashes, cell = slots[going], hashes[going], (cell[going] + 1) & self._mask

    def _place(self, hashed: int, slot: int) -> None:
        cell = hashed & self._mask
        while self._slots[cell] >= 0:
            cell = (cell + 1) & self._mask
        self._used += self._slots[cell] == EMPTY
        self._slots[cell] = slot
        self._hashes[cell] = hashed
