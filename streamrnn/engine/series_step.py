"""One step of many series: learn from what has arrived, take the value in, forecast. Never the other way round.

Each call steps B distinct series once. What they share (the `SharedModel`) is read, never changed: a series'
forecast is the same in whatever company it is computed.
"""

from dataclasses import dataclass

from streamrnn.core import intervals, mixture, readout, scaling
from streamrnn.core.backend import Array, array_module, to_host
from streamrnn.engine.layout import (
    DIFFERENCES,
    EXPERTS,
    INPUTS,
    INTERVAL,
    LINEAR_FEATURES,
    MEMORIES,
    MOVES,
    SEEN,
    SQUARE,
    START_STRIDE,
    TIME,
    VALUE,
)
from streamrnn.engine.shared_model import SharedModel
from streamrnn.engine.stream_table import StreamTable
from streamrnn.records import Scores

FEATURE_CLIP = 10.0
INPUT_CLIP = 4.0
TARGET_CLIP = 20.0
LABEL_CLIP = 1e6  # only keeps float32 finite: large errors must count
INTERVAL_WINDOW = 256

# the slabs that every step reads and writes as a whole; the others are rings, of which it touches single slots
STEPPED = (
    *("steps", "moments", "levels", "differences", "scored", "curvature", "weights"),
    *("hidden", "embedding", "input_square", "target_square"),
    *("regret", "regret_square", "last_regret", "last_regret_square", "error", "quantiles", "error_size"),
)

Rows = dict[str, Array]  # gathered copies of slabs


@dataclass(slots=True)
class Stepped:
    """What one step of B series gives."""

    mean: Array  # (B, P) float64, NaN before the first value
    lower: Array  # (B, P)
    upper: Array  # (B, P)
    scored: Array  # (B,) labels of the first horizon that have arrived
    steps: Array  # (B,) steps made, with this one
    regrets: Array  # (B, P, G, K)
    scores: Scores


def step_series(table: StreamTable, model: SharedModel, rows: Array, value: Array, time: Array) -> Stepped:
    """Step the series of these rows with value (B,) float64, NaN where missing, at time (B,) ms."""
    xp, settings = table.xp, table.layout.settings
    g = table.gather(STEPPED, rows)
    missing = xp.isnan(value)
    value = xp.where(missing, g["moments"][:, VALUE], value)  # a missing value holds the last one

    regrets, scores = _learn_from_labels(table, g, rows, value, missing)

    scale, lateness = _take_in(g, value, missing, time)
    unit = xp.where(scale > 0, scale, xp.inf)[:, None]
    origin = ~missing & (scale > 0)  # this step's forecasts will be learnt from
    features = _linear_features(g, value, unit)
    gains = readout.update_curvature(g["curvature"], features, origin)
    inputs = _recurrent_inputs(g, value, missing, unit, lateness)
    if settings.learning:
        _remember_inputs(table, g, rows, inputs)
    g["hidden"], recurrent = model.step(inputs, g["embedding"], g["hidden"])

    experts = xp.zeros((len(rows), len(settings.horizons), len(EXPERTS)), "float32")  # deviations: persistence is 0
    experts[:, :, 1] = readout.predict(g["weights"], features)
    experts[:, :, 2] = recurrent * xp.sqrt(g["target_square"])
    xp.clip(experts, -LABEL_CLIP, LABEL_CLIP, out=experts)
    mixed, published = mixture.mix(experts, _regrets(g), model.prior)
    below, above = intervals.bounds(g["quantiles"], g["error_size"])

    made = xp.concatenate([experts, mixed, xp.stack([published, below, above], axis=-1)], axis=-1)
    _remember_forecasts(table, g, rows, value, xp.where(origin, scale, 0.0), features, gains, made)
    g["steps"] += 1
    table.scatter(g, rows)

    mean = value[:, None] + published * scale[:, None]
    mean[g["moments"][:, SEEN] == 0] = xp.nan
    lower, upper = mean - below * scale[:, None], mean + above * scale[:, None]
    return Stepped(mean, lower, upper, g["scored"][:, 0], g["steps"], regrets, scores)


def _learn_from_labels(
    table: StreamTable, g: Rows, rows: Array, value: Array, missing: Array
) -> tuple[Array, Scores]:
    """The value is the label of the forecasts made h steps ago: each part that is a series' own learns from it."""
    xp, settings = table.xp, table.layout.settings
    slots = _origin_slots(table, g["steps"], rows)  # (B, P)
    scale = _ring(table, "origin_scale").take(slots)
    valid = (scale > 0) & ~missing[:, None]
    label = (value[:, None] - _ring(table, "origin_value").take(slots)) / xp.where(valid, scale, xp.inf)
    label = xp.clip(label, -LABEL_CLIP, LABEL_CLIP).astype("float32")

    made = _ring(table, "forecasts").take(_horizon_slots(table, g["steps"], rows), axis=0)
    K, M = len(EXPERTS), len(EXPERTS) + MEMORIES
    published, below, above = made[..., M], made[..., M + 1], made[..., M + 2]
    error = label - published
    counted = g["scored"]

    regrets = mixture.learn(made[..., :K], made[..., K:M], published, label, valid, counted, _regrets(g))
    intervals.learn(g["quantiles"], g["error_size"], error, valid, counted, settings.coverage)
    features, gains = (_ring(table, name).take(slots, axis=0) for name in ("features", "gains"))
    readout.learn(g["weights"], features, gains, label, valid)
    gain = valid * xp.maximum(1.0 / scaling.INPUT_WINDOW, 1.0 / (counted + 1.0)).astype("float32")
    g["target_square"] += gain * (label * label - g["target_square"])
    if settings.learning:
        _remember_targets(table, g, rows, label, valid)
    g["scored"] += valid

    scores = Scores(
        scored=to_host(valid.sum(0)),
        covered=to_host((valid & (-error <= below) & (error <= above)).sum(0)),
        absolute=to_host((xp.abs(error) * valid).sum(0, dtype="float64")),
        naive=to_host((xp.abs(label) * valid).sum(0, dtype="float64")),
    )
    return regrets, scores


def _take_in(g: Rows, value: Array, missing: Array, time: Array) -> tuple[Array, Array]:
    """Update value, scale, levels, differences and the usual interval between steps.

    Returns S (B,), 0 while unknown, and the lateness of this step: elapsed / usual interval - 1 (B,).
    """
    xp = array_module(value)
    moments, steps = g["moments"], g["steps"]
    seen = moments[:, SEEN]
    difference = xp.where(missing | (seen == 0), 0.0, value - moments[:, VALUE])
    scaling.update_scale(moments[:, SQUARE], moments[:, MOVES], difference)
    scaling.update_levels(g["levels"], value, seen, ~missing)
    g["differences"][:, 1:] = g["differences"][:, :-1].copy()
    g["differences"][:, 0] = difference

    elapsed = xp.where(steps == 0, 0.0, xp.maximum(time - moments[:, TIME], 0.0))
    interval = moments[:, INTERVAL]
    interval += (elapsed - interval) / xp.clip(steps, 1, INTERVAL_WINDOW)
    lateness = elapsed / xp.where(interval > 0, interval, xp.inf) - (interval > 0)

    moments[:, TIME] = time
    moments[:, VALUE] = value
    moments[:, SEEN] += ~missing
    return xp.sqrt(moments[:, SQUARE]), lateness


def _linear_features(g: Rows, value: Array, unit: Array) -> Array:
    """1, the last differences and the distances from the levels, in units of S, clipped: (B, F) float32."""
    xp = array_module(value)
    features = xp.empty((len(value), LINEAR_FEATURES))
    features[:, 0] = 1.0
    features[:, 1 : 1 + DIFFERENCES] = g["differences"] / unit
    features[:, 1 + DIFFERENCES :] = (value[:, None] - g["levels"]) / (3.0 * unit)
    return xp.clip(features, -FEATURE_CLIP, FEATURE_CLIP).astype("float32")


def _recurrent_inputs(g: Rows, value: Array, missing: Array, unit: Array, lateness: Array) -> Array:
    """What the network sees of a step, each input divided by its own running size: (B, I) float32."""
    xp = array_module(value)
    raw = xp.empty((len(value), INPUTS))
    raw[:, 0:2] = g["differences"][:, 0:2] / unit
    raw[:, 2:4] = (value[:, None] - g["levels"][:, 0:3:2]) / unit
    raw[:, 4] = lateness
    raw[:, 5] = missing
    raw = xp.clip(raw, -LABEL_CLIP, LABEL_CLIP).astype("float32")
    return scaling.normalise(raw, g["input_square"], g["steps"], INPUT_CLIP)


def _remember_inputs(table: StreamTable, g: Rows, rows: Array, inputs: Array) -> None:
    """Keep the step's inputs, with no target yet, and the state before it where a window may start."""
    layout, steps = table.layout, g["steps"]
    slots = rows * layout.window_slots + steps % layout.window_slots
    _ring(table, "window_inputs")[slots] = inputs
    _ring(table, "window_targets")[slots] = table.xp.nan
    starts = table.xp.flatnonzero(steps % START_STRIDE == 0)
    at = rows[starts] * layout.start_slots + steps[starts] // START_STRIDE % layout.start_slots
    _ring(table, "window_starts")[at] = g["hidden"][starts]


def _remember_targets(table: StreamTable, g: Rows, rows: Array, label: Array, valid: Array) -> None:
    """Put the labels that have arrived beside the inputs of their origin, in units of their running size."""
    xp, layout = table.xp, table.layout
    size = xp.sqrt(g["target_square"])
    target = xp.clip(label / xp.where(size > 0, size, 1.0), -TARGET_CLIP, TARGET_CLIP)
    P = label.shape[1]
    origin = g["steps"][:, None] - table.horizons
    slots = (rows[:, None] * layout.window_slots + origin % layout.window_slots) * P + table.xp.arange(P)
    table.slabs["window_targets"].reshape(-1)[slots[valid]] = target[valid]


def _remember_forecasts(
    table: StreamTable, g: Rows, rows: Array, value: Array, scale: Array, features: Array, gains: Array, made: Array
) -> None:
    """Keep what this origin's labels will be held against; a scale of 0 says that nothing is learnt from it."""
    longest = table.layout.settings.longest
    slots = rows * longest + g["steps"] % longest
    for name, values in (("origin_value", value), ("origin_scale", scale), ("features", features), ("gains", gains)):
        _ring(table, name)[slots] = values
    _ring(table, "forecasts")[_horizon_slots(table, g["steps"], rows)] = made


def _ring(table: StreamTable, name: str) -> Array:
    """A slab of rings (N, slots, ...) as one row of slots (N·slots, ...)."""
    slab = table.slabs[name]
    return slab.reshape(slab.shape[0] * slab.shape[1], *slab.shape[2:])


def _origin_slots(table: StreamTable, steps: Array, rows: Array) -> Array:
    """Where each horizon's origin is in the rings by origin: (B, P)."""
    longest = table.layout.settings.longest
    return rows[:, None] * longest + (steps[:, None] - table.horizons) % longest


def _horizon_slots(table: StreamTable, steps: Array, rows: Array) -> Array:
    """Where each horizon remembers its forecast, made h steps ago and about to be replaced: (B, P)."""
    offsets = table.horizon_offsets + steps[:, None] % table.horizons
    slots: Array = rows[:, None] * table.slabs["forecasts"].shape[1] + offsets
    return slots


def _regrets(g: Rows) -> mixture.Regrets:
    return mixture.Regrets(g["regret"], g["regret_square"], g["last_regret"], g["last_regret_square"], g["error"])
