"""Many steps with operations on arrays: wave after wave of distinct streams.

What streams share is read and never changed, so no order changes a forecast. `compiled/walk.py` makes the same steps
one after the other.
"""

from typing import TYPE_CHECKING

import numpy as np

from streamrnn.core.backend import sent
from streamrnn.engine.layout import BOUNDARY_STEPS
from streamrnn.engine.mending import mend_afterwards
from streamrnn.engine.output import Output
from streamrnn.engine.season_search import REMEMBERED, SERIES
from streamrnn.engine.series_step import step_series

if TYPE_CHECKING:
    from streamrnn.engine.forecaster import Forecaster

CHUNK = 2048  # series stepped together: enough that calls cost little, few enough that they stay in the cache


def in_waves(forecaster: "Forecaster", made: Output, first: int, slots: np.ndarray) -> int:
    """Make the steps `first` and after, of the streams in these slots (K,), and learn from their labels.

    Returns the number of series of which something was not a number.
    """
    mended, wide = 0, BOUNDARY_STEPS
    if forecaster.xp is np:
        wide = max(1, CHUNK // forecaster.settings.features)
    for wave in _waves(slots):
        for start in range(0, len(wave), wide):
            chunk = wave[start : start + wide]
            mended += _wave(forecaster, made, first + chunk, slots[chunk], forecaster.step_number + chunk)
    return mended


def _wave(f: "Forecaster", made: Output, steps: np.ndarray, slots: np.ndarray, numbers: np.ndarray) -> int:
    """Step distinct streams once: to a device and back there is one copy each way."""
    table, model, learning, D = f.table, f.model, f.settings.learning, f.settings.features
    here = table.row_numbers(slots)
    time = table.step_times(here, made.times[steps], made.left[steps])
    made.times[steps] = time
    chosen = np.flatnonzero(numbers % f.sampled == 0) if learning else numbers[:0]
    first = here[here < SERIES] if learning else here[:0]
    columns = (here, made.values[steps].ravel(), np.repeat(time, D), np.repeat(numbers, D), chosen, first)
    rows, value, stamps, repeated, sampled, remembered = sent(f.xp, columns)
    stepped = step_series(table, model, rows, value, stamps)
    if learning:
        model.collect(table, rows, stepped.steps, repeated, f.stride)
    stepped, shown = stepped.fetched([table.slabs[name][remembered] for name in REMEMBERED if first.size])
    if learning:
        model.contribute(stepped.taught, stepped.features, numbers[chosen], sampled)
    if first.size:
        f.search.remember(first, *shown)
    if stepped.broken is not None:
        stepped.mended += mend_afterwards(table, here, stepped.broken)
    made.put(steps, stepped, model.updates)
    return stepped.mended


def _waves(slots: np.ndarray) -> list[np.ndarray]:
    """Cut steps into waves of distinct streams: the first step of each, then the second of each, ..."""
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(starts) == len(slots):
        return [np.arange(len(slots))]
    lengths = np.diff(np.append(starts, len(slots)))
    rank = np.empty(len(slots), np.int64)
    rank[order] = np.arange(len(slots)) - np.repeat(starts, lengths)
    by_rank = np.argsort(rank, kind="stable")
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])
