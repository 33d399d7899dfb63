"""Which library holds the arrays. Every function takes its module from its arrays, or is handed it as `xp`.

On a device nothing may be asked of an array on the way: whoever asks waits until all is computed. So columns are sent
in one copy and fetched in one, constants are sent once, and what is done only to some rows is done to all.
"""

import importlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
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


def sent(xp: ModuleType, columns: Sequence[Array]) -> Sequence[Array]:
    """NumPy's columns (n,), of 8 bytes a number, as arrays of the module: themselves, or one copy to the device."""
    if xp is np:
        return columns
    packed = xp.asarray(np.concatenate([column.view(np.int64) for column in columns]))
    edges = np.cumsum([0, *map(len, columns)]).tolist()
    parts = (packed[a:b] for a, b in pairwise(edges))
    return [part.view(column.dtype) for part, column in zip(parts, columns, strict=True)]


def fetched(arrays: Sequence[Array]) -> Sequence[Array]:
    """Arrays of one module as NumPy's: themselves, or one copy from the device."""
    xp = array_module(arrays[0])
    if xp is np:
        return arrays
    packed = xp.concatenate([xp.ascontiguousarray(array).reshape(-1).view("uint8") for array in arrays]).get()
    edges = np.cumsum([0, *(array.nbytes for array in arrays)]).tolist()
    parts = (packed[a:b] for a, b in pairwise(edges))
    return [part.view(array.dtype).reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]


@cache
def constant(xp: ModuleType, values: tuple[Any, ...], dtype: str) -> Array:
    """These numbers as an array of the module, made once. Nobody may write to it."""
    return xp.asarray(values, dtype)


def worth_doing(condition: Array) -> bool:
    """Whether it is true anywhere; on a device always. What is then done must change nothing where it is false."""
    return bool(condition.any()) if isinstance(condition, np.ndarray) else True


def chosen(condition: Array) -> Any:
    """An index of the rows where a condition (B,) holds; on a device of all rows, for to choose would be to wait."""
    return np.flatnonzero(condition) if isinstance(condition, np.ndarray) else slice(None)


def put_chosen(target: Array, at: Array, values: Array, condition: Array) -> None:
    """Let target[at] = values for chosen rows: at and condition (n,), values (n, ...).

    On a device rows that were not meant, where the condition does not hold, are written as they were.
    """
    xp = array_module(target)
    if xp is not np:
        wide = condition.reshape(-1, *(1,) * (values.ndim - 1))
        values = xp.where(wide, values.astype(target.dtype), target[at])
    target[at] = values
