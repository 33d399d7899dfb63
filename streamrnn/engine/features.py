"""What the experts see of a step: features of the readouts, inputs of the network, the profile's own forecast."""

from dataclasses import dataclass

from streamrnn.core import profiles, scaling
from streamrnn.core.backend import Array, array_module, constant
from streamrnn.engine.layout import (
    DIFFERENCES,
    ELAPSED,
    HARMONICS,
    INPUTS,
    INTERVAL,
    LINEAR_FEATURES,
    MOVES,
    SEEN,
    SMALL,
    SQUARE,
    TIME,
    VALUE,
    WEEKLY_HARMONICS,
)
from streamrnn.engine.stream_table import StreamTable

FEATURE_CLIP = 10.0
INPUT_CLIP = 4.0
WIDEST = 1e6  # only keeps float32 finite
INTERVAL_WINDOW = 256
SAME = 0.01  # two intervals that differ by less are the same
NEAR = (-3, -2, -1, 0, 1, 2, 4, 8, 16)  # steps from now at which profiles are read; then parts of the season,
NOW, SIXTH = 3, 11  # where 0 stands, and a sixth of the season; then the horizons

Rows = dict[str, Array]


@dataclass(slots=True)
class Seasonal:
    """What the season says of a step. Zeros where there is none."""

    change: Array  # (B, P) p(t+h) - p(t) of the slow profile, float64
    features: Array  # (B, 22) of both profiles, in the units of the series
    beyond: Array  # (B,) x - p, slow
    leads: Array  # (B, 2) p(t+1) - p(t) and p(t+m/6) - p(t), slow
    waves: Array  # (B, 10) harmonics, 0 without a season


def take_in(g: Rows, value: Array, missing: Array, time: Array) -> tuple[Array, Array, Array]:
    """Update value, scale, levels, differences and the usual interval between steps.

    Returns S (B,), 0 while unknown; how far from an average the value counted in full (B,); and the lateness of this
    step: elapsed / usual interval - 1 (B,).
    """
    xp = array_module(value)
    moments, steps = g["moments"], g["steps"]
    seen = moments[:, SEEN]
    difference = xp.where(missing | (seen == 0), 0.0, value - moments[:, VALUE])
    limit = scaling.reach(xp.sqrt(moments[:, SQUARE]))
    scaling.update_scale(moments[:, SQUARE], moments[:, MOVES], difference)
    scaling.update_levels(g["levels"], value, limit, seen, ~missing)
    g["differences"][:, 1:] = g["differences"][:, :-1].copy()
    g["differences"][:, 0] = difference

    elapsed = xp.where(steps == 0, 0.0, xp.maximum(time - moments[:, TIME], 0.0))
    interval, before = moments[:, INTERVAL], moments[:, ELAPSED]
    again = xp.abs(elapsed - before) <= SAME * before  # a regular interval is known exactly, whatever gaps there are
    drifted = interval + (elapsed - interval) / xp.clip(steps, 1, INTERVAL_WINDOW)
    moments[:, INTERVAL] = xp.where(again, elapsed, drifted)
    lateness = elapsed / xp.where(interval > 0, interval, xp.inf) - (interval > 0)
    moments[:, ELAPSED] = elapsed

    moments[:, TIME] = time
    moments[:, VALUE] = value
    moments[:, SEEN] += ~missing
    return xp.sqrt(moments[:, SQUARE]), limit, lateness


def seasonal(
    table: StreamTable, g: Rows, rows: Array, value: Array, limit: Array, missing: Array, time: Array
) -> Seasonal:
    """Update the profiles at this step's phase, then read them around it."""
    xp, season = table.xp, table.season
    B, P = len(value), len(table.horizons)
    if season is None:
        zero = xp.zeros((B, 1))
        return Seasonal(
            xp.zeros((B, P)),
            xp.zeros((B, LINEAR_FEATURES - SMALL - 10)),
            zero[:, 0],
            xp.zeros((B, 2)),
            xp.zeros((B, 10)),
        )
    A, phases = len(profiles.RATES), season.phases
    offsets = profile_offsets(table)  # -3 .. -1, 0, leads, m/6, horizons
    steps, interval = g["steps"], g["moments"][:, INTERVAL]
    phase = profiles.phase_at(season, time, steps, interval, offsets)  # (B, J)
    visits, flat = table.rings["visits"], table.slabs["profiles"].reshape(-1)

    here = rows * phases + phase[:, 3]
    where = (rows[:, None] * A + xp.arange(A)) * phases + phase[:, 3:4]  # (B, A)
    now, visited = profiles.update(flat[where], visits[here], value, limit, ~missing)
    flat[where], visits[here] = now, visited

    around = rows[:, None] * phases + phase  # (B, J)
    known = visits[around] > 0
    p = flat[(rows[:, None, None] * A + xp.arange(A)[:, None]) * phases + phase[:, None, :]]  # (B, A, J)
    p = xp.where(known[:, None, :], p, g["levels"][:, 0][:, None, None])
    present = p[:, :, 3:4]
    change = p - present  # (B, A, J)
    slow = change[:, 0]
    beyond = value[:, None] - p[:, :, 3]
    features = xp.concatenate([change[:, :, 4:11], p[:, :, 1:4] - p[:, :, 0:3], beyond[:, :, None] / 3.0], axis=2)
    turns = profiles.turn(season, time, steps) * 6.283185307179586
    angles = xp.concatenate(
        [turns[:, :1] * xp.arange(1, HARMONICS + 1), turns[:, 1:] * xp.arange(1, WEEKLY_HARMONICS + 1)], axis=1
    ).astype("float32")
    return Seasonal(
        change=slow[:, 12:],
        features=features.reshape(B, -1),
        beyond=beyond[:, 0],
        leads=slow[:, NOW + 1 : SIXTH + 1 : SIXTH - NOW - 1],
        waves=xp.concatenate([xp.sin(angles), xp.cos(angles)], axis=1),
    )


def profile_offsets(table: StreamTable) -> Array:
    """Steps from now at which the profiles are read: (J,)."""
    assert table.season is not None
    m = table.season.steps
    near = (*NEAR, m // 4, m // 2, max(1, m // 6))
    return table.xp.concatenate([constant(table.xp, near, "int64"), table.horizons])


def linear_features(g: Rows, value: Array, unit: Array, season: Seasonal) -> Array:
    """Differences, levels, harmonics and profiles, in units of S, clipped: (B, F) float32."""
    xp = array_module(value)
    features = xp.empty((len(value), LINEAR_FEATURES))
    features[:, 0] = 1.0
    features[:, 1 : 1 + DIFFERENCES] = g["differences"] / unit
    features[:, 1 + DIFFERENCES : SMALL] = (value[:, None] - g["levels"]) / (3.0 * unit)
    waves = season.waves.shape[1]
    features[:, SMALL : SMALL + waves] = season.waves
    features[:, SMALL + waves :] = season.features / unit
    return xp.clip(features, -FEATURE_CLIP, FEATURE_CLIP).astype("float32")


def panel(g: Rows, value: Array, unit: Array, features: int) -> Array:
    """What the series of each stream show each other: (B, 2 D) float32, none for D = 1."""
    xp = array_module(value)
    if features == 1:
        return xp.empty((len(value), 0), "float32")
    shown = xp.stack([g["differences"][:, 0], (value - g["levels"][:, 1]) / 5.0], axis=1) / unit  # (B, 2)
    shown = xp.clip(shown, -FEATURE_CLIP, FEATURE_CLIP).astype("float32").reshape(-1, 1, 2 * features)
    return xp.repeat(shown, features, axis=1).reshape(len(value), -1)


def network_inputs(g: Rows, value: Array, missing: Array, unit: Array, lateness: Array, season: Seasonal) -> Array:
    """What the network sees of a step, each input divided by its own running size: (B, I) float32."""
    xp = array_module(value)
    raw = xp.empty((len(value), INPUTS))
    raw[:, 0:2] = g["differences"][:, 0:2] / unit
    raw[:, 2:4] = (value[:, None] - g["levels"][:, 0:3:2]) / unit
    raw[:, 4:5] = season.beyond[:, None] / unit
    raw[:, 5:7] = season.leads / unit
    raw[:, 7:9], raw[:, 9:11] = season.waves[:, 0:6:5], season.waves[:, 3:9:5]  # of the season, and of seven
    raw[:, 11] = lateness
    raw[:, 12] = missing
    raw = xp.clip(raw, -WIDEST, WIDEST).astype("float32")
    return scaling.normalise(raw, g["input_square"], g["steps"], INPUT_CLIP)
