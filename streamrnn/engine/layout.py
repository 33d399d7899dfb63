"""What is kept of each series: one place that names every slab, its shape and its type.

A stream of D features is D series, D neighbouring rows. The same list allocates the table, is written to
snapshots, and is the account of memory that `streamrnn check` prints.

What must wait for its label lives in rings. With t the steps a series has made and h a horizon:

    by origin    slot t mod longest            what is the same for all horizons (features, gains, value, scale)
    by horizon   slot offset_h + t mod h       what a horizon must remember until its label arrives, and no longer
    by window    slot t mod (T + longest)      inputs and targets of the windows of truncated BPTT
    by start     slot (t / 4) mod starts       hidden states at which a window may start
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from streamrnn.core import mixture, scaling
from streamrnn.engine.settings import ForecastSettings

EXPERTS = ("persistence", "linear", "recurrent")
DIFFERENCES = 11
LINEAR_FEATURES = 1 + DIFFERENCES + len(scaling.LEVEL_WINDOWS)
INPUTS = 6  # two differences, two levels, the interval since the last step, the mask of a missing value
EMBEDDING = 4
START_STRIDE = 4  # windows start at multiples of this
MEMORIES = len(mixture.MEMORIES)

# columns of the slab "moments"
VALUE, SQUARE, MOVES, SEEN, TIME, INTERVAL = range(6)


@dataclass(frozen=True, slots=True)
class Field:
    """One slab: `shape` a row, so (N, *shape) in all."""

    name: str
    part: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(slots=True)
class Layout:
    """The slabs of a table and the arithmetic of their rings."""

    settings: ForecastSettings
    fields: tuple[Field, ...]
    horizon_offsets: np.ndarray  # (P,) first slot of each horizon in the rings "by horizon"
    window_slots: int
    start_slots: int

    @property
    def row_bytes(self) -> int:
        """Bytes a series."""
        return sum(f.row_bytes for f in self.fields)

    def account(self) -> dict[str, int]:
        """Bytes a series by part of the recipe."""
        parts: dict[str, int] = {}
        for f in self.fields:
            parts[f.part] = parts.get(f.part, 0) + f.row_bytes
        return parts


def series_layout(settings: ForecastSettings) -> Layout:
    """The layout that these settings ask for."""
    P, K, G, F = len(settings.horizons), len(EXPERTS), MEMORIES, LINEAR_FEATURES
    H, longest, slots = settings.hidden, settings.longest, sum(settings.horizons)
    window_slots = settings.window + longest
    start_slots = (window_slots - 1) // START_STRIDE + 1
    f4, f8 = "float32", "float64"
    fields = (
        Field("steps", "scale", (), "int64"),
        Field("moments", "scale", (6,), f8),
        Field("levels", "scale", (len(scaling.LEVEL_WINDOWS),), f8),
        Field("differences", "scale", (DIFFERENCES,), f8),
        Field("origin_value", "labels", (longest,), f8),
        Field("origin_scale", "labels", (longest,), f8),
        Field("scored", "labels", (P,), "int32"),
        Field("forecasts", "labels", (slots, K + G + 3), f4),  # experts, both mixtures, published, below, above
        Field("curvature", "linear", (F, F), f4),
        Field("weights", "linear", (P, F), f4),
        Field("features", "linear", (longest, F), f4),
        Field("gains", "linear", (longest, F), f4),
        Field("hidden", "recurrent", (H,), f4),
        Field("embedding", "recurrent", (EMBEDDING,), f4),
        Field("input_square", "recurrent", (INPUTS,), f4),
        Field("target_square", "recurrent", (P,), f4),
        Field("window_inputs", "windows", (window_slots, INPUTS), f4),
        Field("window_targets", "windows", (window_slots, P), f4),
        Field("window_starts", "windows", (start_slots, H), f4),
        Field("regret", "mixture", (P, G, K), f4),
        Field("regret_square", "mixture", (P, G, K), f4),
        Field("last_regret", "mixture", (P, 2), f4),
        Field("last_regret_square", "mixture", (P, 2), f4),
        Field("error", "mixture", (P,), f4),
        Field("quantiles", "intervals", (P, 2), f4),
        Field("error_size", "intervals", (P,), f4),
    )
    offsets = np.concatenate([[0], np.cumsum(settings.horizons)[:-1]]).astype(np.int64)
    return Layout(settings, fields, offsets, window_slots, start_slots)
