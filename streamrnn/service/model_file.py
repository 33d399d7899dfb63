"""A trained model on disk: safetensors, with the settings that shape it in the header."""

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import UNCHANGEABLE
from streamrnn.engine.warm_start import begin_with, learnt
from streamrnn.errors import ConfigError, SnapshotError

FORMAT = "2"


def write_model(forecaster: Forecaster, file: BinaryIO) -> None:
    """What the forecaster's streams share, as `model.initial` takes it."""
    arrays = {name: np.array(value, order="C") for name, value in learnt(forecaster).items()}
    settings = json.dumps(forecaster.settings.to_json())
    file.write(save(arrays, {"format": FORMAT, "streamrnn": settings}))


def read_model(path: Path, settings: ForecastSettings) -> dict[str, np.ndarray]:
    """The arrays of a model that fits these settings. Raises ConfigError."""
    where = f"model.initial: {path}"
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if header.get("format") != FORMAT:
            raise ConfigError(
                f"{where}: has format {header.get('format')}, expected {FORMAT} of `streamrnn train`. Train it anew"
            )
        theirs = ForecastSettings.from_json(json.loads(header["streamrnn"]))
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{where}: cannot be read: {error}. It is written by `streamrnn train`") from None
    except (SnapshotError, KeyError, ValueError) as error:
        raise ConfigError(f"{where}: was written by another version of streamrnn ({error}). Train it anew") from None
    changed = settings.difference(theirs, UNCHANGEABLE)
    if changed:
        raise ConfigError(
            f"{where}: was trained with other settings ({'; '.join(changed)}). Train it anew with these"
        )
    try:
        begin_with(Forecaster(settings), arrays)
    except SnapshotError as error:
        raise ConfigError(f"{where}: {error}. Train it anew") from None
    return arrays
