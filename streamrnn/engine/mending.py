"""Where something of a series is not a number: the experts that still stand go on, what is broken begins anew.

On the host a step looks, and mends before it forecasts. On a device to look is to wait: a step there makes do with
what is sound, tells which series were not, and they are mended once that is known. Both are rare and may be slow.
"""

import numpy as np

from streamrnn.core import anomaly
from streamrnn.core.backend import Array, array_module, constant
from streamrnn.engine.stream_table import StreamTable

Rows = dict[str, Array]


def mend_on_the_way(table: StreamTable, g: Rows, rows: Array, experts: Array) -> int:
    """Mend the gathered rows and the table; experts (B, P, K) that are no numbers become persistence.

    Returns the number of series concerned.
    """
    standing = np.isfinite(experts)
    experts[~standing] = 0.0
    table.scatter(g, rows)
    mended = table.mend(rows)
    g |= table.gather(tuple(g), rows)
    return max(mended, int((~standing).any((1, 2)).sum()))


def mend_afterwards(table: StreamTable, rows: np.ndarray, broken: np.ndarray) -> int:
    """Mend those of these rows (B,) that are broken (B,); returns the number of series concerned."""
    if not broken.any():
        return 0
    concerned = rows[broken]
    return max(table.mend(table.xp.asarray(concerned)), len(concerned))


def unbroken(values: Array) -> Array:
    """Which series (B,) have only numbers in values (B, ...)."""
    return array_module(values).isfinite(values).reshape(len(values), -1).all(1)


def numbers_only(values: Array) -> Array:
    """The values, 0 in place of what is no number."""
    xp = array_module(values)
    return xp.where(xp.isfinite(values), values, 0.0)


def sound_memory(memory: Array, sound: Array) -> Array:
    """The memory (B, MEMORY) of the anomaly score, a newborn's where it is not sound (B,)."""
    xp = array_module(memory)
    newborn = constant(xp, tuple(anomaly.newborn().tolist()), "float64")
    return xp.where(sound[:, None], memory, newborn)
