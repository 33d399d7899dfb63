"""Where the arrays live: what `compute.backend` asks for, and what there is."""

import importlib
from types import ModuleType

import numpy as np

from streamrnn.errors import ConfigError
from streamrnn.service.settings import Config, Default

# `auto` takes a device for more streams than this. No device has measured it yet: see docs/gpu.md.
STREAMS_FOR_A_DEVICE = 20_000
HOW_TO_GET_IT = (
    "Run `pip install cupy-cuda12x` (13x for CUDA 13) where there is a CUDA device, or set compute.backend: numpy"
)


def backend(config: Config, *, daemon: bool) -> ModuleType:
    """The array module for this configuration; daemon: it is for `run`, else `auto` is NumPy.

    Raises ConfigError where CuPy is asked for and there is none, or no device.
    """
    if config.compute.backend == "cupy":
        return cupy_or_error("compute.backend: 'cupy'")
    streams = config.state.max_streams
    many = streams > STREAMS_FOR_A_DEVICE and not isinstance(streams, Default)
    found = _cupy() if config.compute.backend == "auto" and daemon and many else np
    return np if isinstance(found, str) else found


def cupy_or_error(where: str) -> ModuleType:
    """CuPy, with a device that answers. Raises ConfigError, which says what was found and what to do."""
    found = _cupy()
    if isinstance(found, str):
        raise ConfigError(f"{where}: {found}. {HOW_TO_GET_IT}")
    return found


def _cupy() -> ModuleType | str:
    """CuPy, or why it cannot be used."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        told = str(error).strip().splitlines()
        return (
            "CuPy is not installed" if isinstance(error, ModuleNotFoundError) else f"CuPy does not load ({told[0]})"
        )
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
        cupy.zeros(1).sum().get()
    except (RuntimeError, OSError, ImportError) as error:  # no driver, no device, no compiler
        return f"CuPy {cupy.__version__} finds no device that it can use ({str(error).splitlines()[0]})"
    return cupy if devices else f"CuPy {cupy.__version__} finds no device"
