"""What is kept of each series: one place that names every slab, its shape and its type.

A stream of D features is D series, D neighbouring rows. The same list allocates the table, is written to
snapshots, and is the account of memory that `streamrnn check` prints.

What must wait for its label lives in rings. With t the steps a series has made and h a horizon:

    by origin    slot t mod longest            what is the same for all horizons (features, gains, value, scale)
    by horizon   slot offset_h + t mod h       what a horizon must remember until its label arrives, and no longer
    by window    slot t mod (T + longest)      inputs and targets of the windows of truncated BPTT
    by start     slot (t / 4) mod starts       states at which a window may start

Profiles are allocated when the task finds a season, with one column a phase.
"""

from dataclasses import dataclass
from math import prod

import numpy as np

from streamrnn.core import anomaly, mixture, profiles, scaling, tails
from streamrnn.core.cells import CELLS
from streamrnn.engine.settings import ForecastSettings

DIFFERENCES = 11
SMALL = 1 + DIFFERENCES + len(scaling.LEVEL_WINDOWS)  # 1, differences, levels
HARMONICS, WEEKLY_HARMONICS = 3, 2
PROFILE_FEATURES = 11  # a profile: seven leads, three backward differences, x - p
LINEAR_FEATURES = SMALL + 2 * (HARMONICS + WEEKLY_HARMONICS) + PROFILE_FEATURES * len(profiles.RATES)
INPUTS = 13  # of the network: see `network_inputs`
EMBEDDING = 4
START_STRIDE = 4  # windows start at multiples of this
BOUNDARY_STEPS = 4096  # at most so many steps between two learning boundaries
WARM_STEPS = 150  # labels after which a stream's mixture is past its priors
MEMORIES = len(mixture.MEMORIES)
PANEL = 2  # features that each series shows to the others of its stream

# columns of the slab "moments"
VALUE, SQUARE, MOVES, SEEN, TIME, INTERVAL, ELAPSED = range(7)


@dataclass(frozen=True, slots=True)
class Field:
    """One slab: `shape` a row, so (N, *shape) in all."""

    name: str
    part: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def row_bytes(self) -> int:
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(slots=True)
class Layout:
    """The slabs of a table and the arithmetic of their rings."""

    settings: ForecastSettings
    fields: tuple[Field, ...]
    experts: tuple[str, ...]
    horizon_offsets: np.ndarray  # (P,) first slot of each horizon in the rings "by horizon"
    window_slots: int
    start_slots: int

    def account(self, phases: int) -> dict[str, int]:
        """Bytes a series by part of the recipe, with the profiles of a season of so many phases."""
        parts: dict[str, int] = {}
        for f in (*self.fields, *profile_fields(phases)):
            parts[f.part] = parts.get(f.part, 0) + f.row_bytes
        return parts


def panel_features(settings: ForecastSettings) -> int:
    """How many features come from the stream's series together."""
    return PANEL * settings.features if settings.features > 1 else 0


def expert_names(linear: tuple[str, ...]) -> tuple[str, ...]:
    """The mixture's experts; the first is persistence, the second persistence with the profile's change."""
    return ("persistence", "profile", *linear, "recurrent")


def series_layout(settings: ForecastSettings, experts: tuple[str, ...], linear: tuple[Field, ...]) -> Layout:
    """The layout that these settings ask for; linear: the slabs of the linear experts."""
    P, K, G = len(settings.horizons), len(experts), MEMORIES
    S = CELLS[settings.cell].states * settings.hidden
    longest, slots = settings.longest, sum(settings.horizons)
    window_slots = settings.window + longest
    start_slots = (window_slots - 1) // START_STRIDE + 1
    f8 = "float64"
    fields = (
        Field("steps", "scale", (), "int64"),
        Field("moments", "scale", (7,), f8),
        Field("levels", "scale", (len(scaling.LEVEL_WINDOWS),), f8),
        Field("differences", "scale", (DIFFERENCES,), f8),
        Field("origin_value", "labels", (longest,), f8),
        Field("origin_scale", "labels", (longest,), f8),
        Field("scored", "labels", (P,), "int32"),
        Field("forecasts", "labels", (slots, K + G + 3)),  # experts, both mixtures, published, below, above
        *linear,
        Field("hidden", "recurrent", (S,)),  # of an LSTM the memory too
        Field("embedding", "recurrent", (EMBEDDING,)),
        Field("input_square", "recurrent", (INPUTS,)),
        Field("target_square", "recurrent", (P,)),
        Field("window_inputs", "windows", (window_slots, INPUTS), "float16"),  # only to learn from: bounded by 4,
        Field("window_targets", "windows", (window_slots, P), "float16"),  # by 20,
        Field("window_starts", "windows", (start_slots, S), "float16"),  # by 1, or by the cell's limit
        Field("regret", "mixture", (P, G, K)),
        Field("regret_square", "mixture", (P, G, K)),
        Field("last_regret", "mixture", (P, 2)),
        Field("last_regret_square", "mixture", (P, 2)),
        Field("error", "mixture", (P,)),
        Field("quantiles", "intervals", (P, 2)),
        Field("error_size", "intervals", (P,)),
        Field("alarm_memory", "anomaly", (anomaly.MEMORY,), f8),
        Field("tail_mass", "anomaly", (anomaly.CHANNELS, tails.BINS)),
        Field("tail_pending", "anomaly", (anomaly.CHANNELS, tails.PENDING), "uint8"),
        Field("tail_fitted", "anomaly", (anomaly.CHANNELS, tails.FITTED)),
    )
    offsets = np.concatenate([[0], np.cumsum(settings.horizons)[:-1]]).astype(np.int64)
    return Layout(settings, fields, experts, offsets, window_slots, start_slots)


def profile_fields(phases: int) -> tuple[Field, ...]:
    """The slabs that a season of so many phases brings."""
    return (
        Field("profiles", "profiles", (len(profiles.RATES), phases), "float64"),
        Field("visits", "profiles", (phases,), "uint8"),
    )
