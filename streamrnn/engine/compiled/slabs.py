"""The slabs that the loops work on, as what numba can take: named tuples of arrays."""

from typing import NamedTuple

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.readouts import ExactReadout
from streamrnn.engine.stream_table import StreamTable


class Slabs(NamedTuple):
    """Of a table, (N, ...) each: see `layout.py`. What these settings have not is empty."""

    steps: Array
    moments: Array
    levels: Array
    differences: Array
    origin_value: Array
    origin_scale: Array
    scored: Array
    forecasts: Array
    features: Array
    scaled: Array
    directions: Array
    feature_square: Array
    strength: Array
    shared_weights: Array
    panel_directions: Array
    panel_weights: Array
    hidden: Array
    embedding: Array
    input_square: Array
    target_square: Array
    regret: Array
    regret_square: Array
    last_regret: Array
    last_regret_square: Array
    error: Array
    quantiles: Array
    error_size: Array
    alarm_memory: Array
    tail_mass: Array
    tail_pending: Array
    tail_fitted: Array
    profiles: Array
    visits: Array


class Exact(NamedTuple):
    """The slabs of one exact readout."""

    curvature: Array  # (N, W, W)
    weights: Array  # (N, P, W)
    gains: Array  # (N, longest, W)
    forgetting: float


NONE = np.zeros((0, 0, 0), "float32")
NO_EXACT = Exact(NONE, NONE, NONE, 1.0)
EMPTY = {
    "panel_directions": NONE,
    "panel_weights": NONE,
    "profiles": np.zeros((0, 0, 0)),
    "visits": np.zeros((0, 0), "uint8"),
}


def slabs_of(table: StreamTable) -> Slabs:
    """As they are now: a table that grows has new ones."""
    return Slabs(*(table.slabs[name] if name in table.slabs else EMPTY[name] for name in Slabs._fields))


def exact_of(table: StreamTable, readouts: list[ExactReadout]) -> tuple[Exact, Exact]:
    """Of the exact readouts, in the order of the mixture; the second is empty where there is only one."""
    made = [Exact(*_parts(table, each.name), each.forgetting) for each in readouts]
    return made[0], made[1] if len(made) > 1 else NO_EXACT


def _parts(table: StreamTable, name: str) -> tuple[Array, Array, Array]:
    slabs = table.slabs
    return slabs[f"{name}_curvature"], slabs[f"{name}_weights"], slabs[f"{name}_gains"]
