"""Which library holds the arrays. Every function takes its module from its arrays, or is handed it as `xp`."""

import importlib
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Parameters: TypeAlias = dict[str, Array]  # a tree of one level: name -> array


def array_module(array: Any) -> ModuleType:
    """The module whose functions work on this array: NumPy, or the one that the array's type comes from (CuPy)."""
    if isinstance(array, np.ndarray):
        return np
    return importlib.import_module(type(array).__module__.partition(".")[0])


def to_host(array: Any) -> Array:
    """The array as NumPy's: itself, or one explicit copy from the device."""
    return array if isinstance(array, np.ndarray) else array.get()
