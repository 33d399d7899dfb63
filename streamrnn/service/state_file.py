"""A partition's state as a file that other programs can read: safetensors, with what it is in the header."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.snapshot import arrays_of
from streamrnn.errors import StreamRNNError

FORMAT = "state-1"  # not one that `model.initial` takes


def write_state(path: Path, forecaster: Forecaster, topic: str, partition: int, offset: int) -> int:
    """Write the file, whole or not at all; returns its size in bytes. Raises StreamRNNError."""
    arrays = {name: np.array(value, order="C") for name, value in arrays_of(forecaster).items()}
    header = {
        "format": FORMAT,
        "topic": topic,
        "partition": str(partition),
        "offset": str(offset),  # the state is that of this next offset
        "settings": json.dumps(forecaster.settings.to_json()),
    }
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, fresh, header)
        fresh.rename(path)
        return path.stat().st_size
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            fresh.unlink()
        raise StreamRNNError(f"{path}: cannot be written: {error}") from error
