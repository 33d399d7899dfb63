"""One step of many series: learn from what has arrived, take the value in, forecast. Never the other way round.

Each call steps B distinct series once. What they share (the `SharedModel`) is read, never changed: a series'
forecast is the same in whatever company it is computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamrnn.core import anomaly, intervals, mixture, scaling
from streamrnn.core.backend import Array, chosen, fetched, put_chosen
from streamrnn.core.tails import Tails
from streamrnn.engine.features import (
    WIDEST,
    linear_features,
    network_inputs,
    panel,
    seasonal,
    take_in,
)
from streamrnn.engine.layout import DIFFERENCES, MEMORIES, SEEN, START_STRIDE, VALUE
from streamrnn.engine.mending import mend_on_the_way, numbers_only, sound_memory, unbroken
from streamrnn.engine.shared_model import SharedModel
from streamrnn.engine.stream_table import StreamTable

TARGET_CLIP = 20.0
GROWN = DIFFERENCES + 1.0  # values until which a forecast is drawn to persistence: the features look back so far

# the slabs that every step reads and writes as a whole; the others are rings, of which it touches single slots
STEPPED = (
    *("steps", "moments", "levels", "differences", "scored"),
    *("hidden", "embedding", "input_square", "target_square"),
    *("regret", "regret_square", "last_regret", "last_regret_square", "error", "quantiles", "error_size"),
    "alarm_memory",
)

Rows = dict[str, Array]  # gathered copies of slabs


@dataclass(slots=True)
class Stepped:
    """What one step of B series gives."""

    mean: Array  # (B, P) float64, NaN before the first value
    lower: Array  # (B, P)
    upper: Array  # (B, P)
    scored: Array  # (B,) labels of the first horizon that have arrived
    surprise: Array  # (B,)
    anomaly: Array  # (B,)
    taught: Array  # (2, P, G, K) int64, sums of the regrets and of their squares
    scores: Array  # (4, P), the columns of records.Scores
    steps: Array  # (B,) steps made, with this one
    features: Array  # (B, n) for the moments that streams share
    mended: int = 0  # series of which something was not a number,
    broken: Array | None = None  # (B,) bool, on a device: series that are still to be mended

    def fetched(self, more: Sequence[Array]) -> tuple["Stepped", Sequence[Array]]:
        """What the host needs to know of it, and of more arrays, as NumPy's: nothing to do, or one copy."""
        if self.broken is None:
            return self, more
        own = fetched([*(getattr(self, name) for name in FETCHED), *more])
        named: dict[str, Any] = dict(zip(FETCHED, own, strict=False))
        return replace(self, **named), own[len(FETCHED) :]


FETCHED = ("mean", "lower", "upper", "scored", "surprise", "anomaly", "taught", "scores", "broken")


def step_series(table: StreamTable, model: SharedModel, rows: Array, value: Array, time: Array) -> Stepped:
    """Step the series of these rows with value (B,) float64, NaN where missing, at time (B,) ms."""
    xp, settings = table.xp, table.layout.settings
    names = STEPPED + model.readouts.stepped
    g, mended = table.gather(names, rows), 0
    if xp is not np:
        sound = unbroken(g["alarm_memory"])
        g["alarm_memory"] = sound_memory(g["alarm_memory"], sound)
    elif not np.isfinite(g["alarm_memory"].sum()):
        mended = table.mend(rows)
        g = table.gather(names, rows)
    missing = xp.isnan(value)
    value = xp.where(missing, g["moments"][:, VALUE], value)  # a missing value holds the last one

    regrets, judged, scores = _learn_from_labels(table, model, g, rows, value, missing)

    scale, limit, lateness = take_in(g, value, missing, time)
    season = seasonal(table, g, rows, value, limit, missing, time)
    unit = xp.where(scale > 0, scale, xp.inf)[:, None]
    origin = ~missing & (scale > 0)  # this step's forecasts will be learnt from
    inputs = network_inputs(g, value, missing, unit, lateness, season)
    if settings.learning:
        remember_inputs(table, rows, g["steps"], inputs, g["hidden"])
    g["hidden"], recurrent = model.step(xp.concatenate([inputs, g["embedding"]], axis=1), g["hidden"])
    phi = linear_features(g, value, unit, season)
    others = panel(g, value, unit, settings.features)
    slot = rows * settings.longest + g["steps"] % settings.longest
    linear, scaled = model.readouts.predict(table, g, slot, phi, g["hidden"][:, : settings.hidden], others, origin)

    change = xp.clip(season.change / unit, -WIDEST, WIDEST).astype("float32")
    experts = xp.empty((len(rows), len(settings.horizons), len(table.layout.experts)), "float32")
    experts[:, :, 0] = 0.0  # forecasts are deviations from the last value: persistence
    experts[:, :, 1] = change
    for k, made in enumerate(linear):
        experts[:, :, 2 + k] = made + change
    experts[:, :, -1] = recurrent * xp.sqrt(g["target_square"]) + model.network_base * change
    xp.clip(experts, -WIDEST, WIDEST, out=experts)
    if xp is not np:
        sound, experts = sound & unbroken(experts), numbers_only(experts)
    told = _told(model, g, experts)
    if xp is not np:
        sound, told, scale = sound & unbroken(told), numbers_only(told), numbers_only(scale)
    elif not np.isfinite(told.sum()):
        mended += mend_on_the_way(table, g, rows, experts)
        told, scale = _told(model, g, experts), numbers_only(scale)

    table.rings["origin_value"][slot] = value
    table.rings["origin_scale"][slot] = xp.where(origin, scale, 0.0)  # 0: nothing is learnt from it
    table.rings["forecasts"][_horizon_slots(table, g["steps"], rows)] = told
    g["steps"] += 1
    table.scatter(g, rows)

    published, below, above = told[..., -3], told[..., -2], told[..., -1]
    seen = (g["moments"][:, SEEN] > 0)[:, None]
    mean = xp.where(seen, value[:, None] + published * scale[:, None], xp.nan)
    return Stepped(
        mean=mean,
        lower=mean - below * scale[:, None],
        upper=mean + above * scale[:, None],
        scored=g["scored"][:, 0],
        surprise=judged.surprise,
        anomaly=judged.anomaly,
        taught=mixture.summed(regrets),
        scores=scores,
        steps=g["steps"],
        features=scaled,
        mended=mended,
        broken=None if xp is np else ~sound,
    )


def _told(model: SharedModel, g: Rows, experts: Array) -> Array:
    """What is remembered of a forecast: the experts', the mixtures', the published one, the reach below and above."""
    xp = model.xp
    mixed, published = mixture.mix(experts, _regrets(g), model.prior, model.advantage, g["scored"])
    published *= xp.minimum(g["moments"][:, SEEN] / GROWN, 1.0).astype("float32")[:, None]
    below, above = intervals.bounds(g["quantiles"], g["error_size"])
    return xp.concatenate([experts, mixed, xp.stack([published, below, above], axis=-1)], axis=-1)


def _learn_from_labels(
    table: StreamTable, model: SharedModel, g: Rows, rows: Array, value: Array, missing: Array
) -> tuple[Array, anomaly.Judged, Array]:
    """The value is the label of the forecasts made h steps ago: each part that is a series' own learns from it.

    Returns the regrets, what the record was, and the scores (4, P).
    """
    xp, settings = table.xp, table.layout.settings
    slots = _origin_slots(table, g["steps"], rows)  # (B, P)
    scale = table.rings["origin_scale"].take(slots)
    valid = (scale > 0) & ~missing[:, None]
    label = (value[:, None] - table.rings["origin_value"].take(slots)) / xp.where(valid, scale, xp.inf)
    label = xp.clip(label, -WIDEST, WIDEST).astype("float32")

    made = table.rings["forecasts"].take(_horizon_slots(table, g["steps"], rows), axis=0)
    K, M = len(table.layout.experts), len(table.layout.experts) + MEMORIES
    published, below, above = made[..., M], made[..., M + 1], made[..., M + 2]
    error = label - published
    counted = g["scored"]
    shock = mixture.shock(g["error"], counted)
    heeded = published + xp.clip(error, -shock, shock)  # the label, as far as it is believed

    told = made[..., :K], made[..., K:M], published, heeded
    regrets = mixture.learn(*told, valid, counted, _regrets(g))
    tracked = g["quantiles"], g["error_size"]
    intervals.learn(*tracked, error, below, above, valid, counted, table.horizons, settings.coverage)
    change = made[..., 1]
    model.readouts.learn(table, g, slots, heeded - change, valid, counted)
    target = heeded - model.network_base * change
    gain = valid * xp.maximum(1.0 / scaling.INPUT_WINDOW, 1.0 / (counted + 1.0)).astype("float32")
    g["target_square"] += gain * (target * target - g["target_square"])
    if settings.learning:
        size = xp.sqrt(g["target_square"])
        target = xp.clip(target / xp.where(size > 0, size, 1.0), -TARGET_CLIP, TARGET_CLIP)
        remember_targets(table, rows, g["steps"], target, valid)
    g["scored"] += valid

    covered = valid & (-error <= below) & (error <= above)
    absolute, naive = ((xp.abs(each) * valid).sum(0, dtype="float64") for each in (error, label))
    scores = xp.stack([valid.sum(0), covered.sum(0), absolute, naive])
    # the error of the shortest horizon, in the units of the series, which S as it was then gives back
    tails = Tails(*(table.slabs[name] for name in ("tail_mass", "tail_pending", "tail_fitted")))
    judged = anomaly.judge(g["alarm_memory"], tails, rows, value, error[:, 0] * scale[:, 0], valid[:, 0])
    return regrets, judged, scores


def remember_inputs(table: StreamTable, rows: Array, steps: Array, inputs: Array, hidden: Array) -> None:
    """Keep a step's inputs (B, I), with no target yet, and the state before it (B, S) where a window may start."""
    layout = table.layout
    xp, targets = table.xp, table.rings["window_targets"]
    slots = rows * layout.window_slots + steps % layout.window_slots
    table.rings["window_inputs"][slots] = inputs
    targets[slots] = xp.full(targets.shape[1], xp.nan, targets.dtype)
    begins = steps % START_STRIDE == 0
    some = chosen(begins)
    at = rows[some] * layout.start_slots + steps[some] // START_STRIDE % layout.start_slots
    put_chosen(table.rings["window_starts"], at, hidden[some], begins[some])


def remember_targets(table: StreamTable, rows: Array, steps: Array, target: Array, valid: Array) -> None:
    """Put targets (B, P) that have arrived beside the inputs of their origin; NaN, as it was, where not valid."""
    xp, layout = table.xp, table.layout
    P = target.shape[1]
    origin = steps[:, None] - table.horizons
    slots = (rows[:, None] * layout.window_slots + origin % layout.window_slots) * P + xp.arange(P)
    table.slabs["window_targets"].reshape(-1)[slots] = xp.where(valid, target, xp.nan)


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
