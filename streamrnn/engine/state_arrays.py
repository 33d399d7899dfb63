"""A forecaster's whole state as arrays with names, and back: what files of state hold."""

import zlib
from collections.abc import Mapping
from types import ModuleType

import numpy as np

from streamrnn.core.backend import Array, to_host
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.key_index import KeyIndex
from streamrnn.engine.settings import ForecastSettings
from streamrnn.errors import SnapshotError

SLOT_ARRAYS = ("live", "last_step", "last_seen")
MAY_BE_NAN = ("slot/window_targets", "windows.targets")  # no label yet
OF_ANY_LENGTH = ("clock_ring", "resting", "season")


def arrays_of(f: Forecaster) -> dict[str, np.ndarray]:
    """All that a snapshot of this forecaster holds, by name; on the host no copies, so they change as it goes on.

    slot/NAME (slots or slots·D, ...) for what is kept of each stream or series, slots in use only; shared/NAME for
    the rest; stream_ids (slots, longest) uint8, each id filled up with zeros, and stream_id_bytes (slots,) int64,
    its length, 0 where a slot is free.
    """
    used, capacity = len(f.table.index.keys), max(1, f.table.capacity)
    made = {f"slot/{name}": to_host(array)[: used * len(array) // capacity] for name, array in slot_arrays(f).items()}
    made |= {f"shared/{name}": to_host(array) for name, array in f.state().items()}
    ids = [key or b"" for key in f.table.index.keys]
    lengths = np.array([len(key) for key in ids], np.int64)
    longest = max(1, int(lengths.max(initial=0)))
    filled = b"".join(key.ljust(longest, b"\0") for key in ids)
    made["stream_ids"] = np.frombuffer(filled, np.uint8).reshape(used, longest)
    made["stream_id_bytes"] = lengths
    return made


def forecaster_of(
    settings: ForecastSettings, layout: str, arrays: Mapping[str, np.ndarray], xp: ModuleType = np
) -> Forecaster:
    """The forecaster of these settings and this layout that `arrays_of` had before it; it copies them to xp.

    Raises SnapshotError where the layout is another version's, or where an array lacks, has another shape or type, or
    holds what is not a finite number.
    """
    f = laid_out(settings, layout, xp)
    shared = {name.removeprefix("shared/"): a.copy() for name, a in arrays.items() if name.startswith("shared/")}
    ids, lengths = (_found(arrays, name) for name in ("stream_ids", "stream_id_bytes"))
    if ids.ndim != 2 or ids.dtype != np.uint8 or lengths.shape != ids.shape[:1] or lengths.dtype != np.int64:
        raise SnapshotError(f"stream_ids {ids.dtype} {ids.shape} and stream_id_bytes {lengths.shape} are not ours")
    keys = [bytes(row[:length]) or None for row, length in zip(ids, lengths.tolist(), strict=True)]
    take_shared(f, shared, keys)
    for name, array in slot_arrays(f).items():
        found = _found(arrays, f"slot/{name}")
        used = len(keys) * len(array) // max(1, f.table.capacity)
        if found.shape != (used, *array.shape[1:]) or found.dtype != array.dtype:
            wanted = f"{array.dtype} {(used, *array.shape[1:])}"
            raise SnapshotError(f"slot/{name} holds {found.dtype} {found.shape}, expected {wanted}")
        check_finite(f"slot/{name}", found)
        array[:used] = xp.asarray(found) if name in f.table.slabs else found
    return f


def laid_out(settings: ForecastSettings, layout: str, xp: ModuleType = np) -> Forecaster:
    """A new forecaster. Raises SnapshotError where it lays its state out in another way than this."""
    f = Forecaster(settings, xp)
    if layout != layout_id(f):
        raise SnapshotError(
            f"the snapshot has layout {layout}, this version's is {layout_id(f)}: it was written by another version "
            "of streamrnn"
        )
    return f


def take_shared(f: Forecaster, shared: dict[str, np.ndarray], keys: list[bytes | None]) -> None:
    """Give a new forecaster what its streams share, and room for these, slot by slot; their own state comes next.

    Raises SnapshotError where the arrays are not those that `Forecaster.state` gives.
    """
    for name, expected in f.state().items():
        found = _found(shared, name)
        fits = found.ndim == expected.ndim if name in OF_ANY_LENGTH else found.shape == expected.shape
        if not fits or found.dtype != expected.dtype:
            wanted = f"{expected.dtype} {expected.shape}"
            raise SnapshotError(f"the snapshot holds {found.dtype} {found.shape} for {name}, expected {wanted}")
    for name, array in shared.items():
        check_finite(name, array)
    f.load(shared)
    f.table.index = KeyIndex.restored(keys, shared["resting"].tolist())
    if keys:
        f.table.grow(len(keys))


def slot_arrays(f: Forecaster) -> dict[str, Array]:
    """Every array whose first axis goes by slots (or by slots times features)."""
    return {**f.table.slabs, **{name: getattr(f.table, name) for name in SLOT_ARRAYS}}


def layout_id(f: Forecaster) -> str:
    """What tells one layout of the state from another: a version that lays it out differently cannot read it."""
    return f"{zlib.crc32(repr(f.layout.fields).encode()):08x}"


def check_finite(name: str, values: np.ndarray) -> None:
    """Raise SnapshotError where a number is not finite, unless it need not be."""
    if name not in MAY_BE_NAN and values.dtype.kind == "f" and not np.isfinite(values).all():
        raise SnapshotError(f"{name} holds numbers that are not finite: there is nothing to go on from")


def _found(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise SnapshotError(f"the snapshot holds nothing for {name}")
    return arrays[name]
