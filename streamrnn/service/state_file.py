"""A state as a file that other programs can read: safetensors, with what it is in the header.

`streamrnn state export` writes one for each partition, `streamrnn.Forecaster` saves and loads them.
"""

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.state_arrays import arrays_of, check_finite, forecaster_of, layout_id
from streamrnn.errors import SnapshotError, StreamRNNError
from streamrnn.transport.durable import sync_file, sync_folder

FORMAT = "state-2"  # not one that `model.initial` takes
MAKERS = "Forecaster.save or `streamrnn state export`"


def write_state(path: Path, forecaster: Forecaster, origin: Mapping[str, str]) -> int:
    """Write the file, whole or not at all; returns its size in bytes.

    origin: entries of the header that say what it is the state of. Raises StreamRNNError where it cannot be written,
    and SnapshotError where a number in it is not finite.
    """
    arrays = {name: np.array(value, order="C") for name, value in arrays_of(forecaster).items()}
    for name, array in arrays.items():
        check_finite(name.removeprefix("shared/"), array)
    settings = json.dumps(forecaster.settings.to_json())
    header = {
        **origin,
        "format": FORMAT,
        "layout": layout_id(forecaster),
        "settings": settings,
        "checksum": checksum(settings, arrays),
    }
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, fresh, header)
        sync_file(fresh)
        fresh.rename(path)
        sync_folder(path.parent)
        return path.stat().st_size
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            fresh.unlink()
        raise StreamRNNError(f"{path}: cannot be written: {error}") from error


def read_state(path: Path, xp: ModuleType = np) -> Forecaster:
    """The forecaster that a file holds, as it was, on arrays of xp.

    Raises SnapshotError, which names the file and what is wrong, where it is damaged, foreign or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"{path}: cannot be read: {error}. It is written by {MAKERS}") from None
    try:
        return _restored(header, arrays, xp)
    except SnapshotError as error:
        raise SnapshotError(f"{path}: {error}") from None


def _restored(header: Mapping[str, str], arrays: dict[str, np.ndarray], xp: ModuleType) -> Forecaster:
    if header.get("format") != FORMAT:
        raise SnapshotError(f"has format {header.get('format')}, expected {FORMAT} of {MAKERS}")
    lacking = [name for name in ("settings", "layout", "checksum") if name not in header]
    if lacking:
        raise SnapshotError(f"its header lacks {', '.join(lacking)}, so it is not whole")
    found = checksum(header["settings"], arrays)
    if found != header["checksum"]:
        raise SnapshotError(f"is damaged: its checksum is {found}, its header says {header['checksum']:.20}")
    try:
        settings = ForecastSettings.from_json(json.loads(header["settings"]))
        return forecaster_of(settings, header["layout"], arrays, xp)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
        told = f"{type(error).__name__}: {error}"
        raise SnapshotError(f"its parts do not fit together, so it is not one of ours ({told})") from error


def checksum(settings: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Of all that forecasts depend on, whatever order it is stored in."""
    made = zlib.crc32(settings.encode())
    for name in sorted(arrays):
        array = arrays[name]
        made = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), made)
        made = zlib.crc32(array.reshape(-1).view(np.uint8).data, made)
    return f"{made:08x}"
