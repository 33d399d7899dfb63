"""One step of a stream's series, as `engine/series_step.py` makes it, as loops in place of array operations."""

from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np

from streamrnn.core import anomaly, profiles, readout
from streamrnn.core.backend import Array
from streamrnn.core.scaling import INPUT_WINDOW
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.compiled.incidents import judge
from streamrnn.engine.compiled.labels import learn_interval, learn_readouts, learn_regrets, mix, shock
from streamrnn.engine.compiled.observation import (
    WAVES,
    Calendar,
    clip,
    linear_features,
    network_inputs,
    normalise,
    seasonal,
    take_in,
    waves_at,
)
from streamrnn.engine.compiled.slabs import Exact, Slabs
from streamrnn.engine.features import FEATURE_CLIP, NOW, SIXTH, WIDEST, profile_offsets
from streamrnn.engine.layout import EMBEDDING, INPUTS, LINEAR_FEATURES, MEMORIES, PANEL, SEEN, SMALL
from streamrnn.engine.readouts import FEATURE_LIMIT
from streamrnn.engine.series_step import GROWN, TARGET_CLIP
from streamrnn.engine.shared_model import SharedModel
from streamrnn.engine.stream_table import StreamTable

F = LINEAR_FEATURES
PROFILES, PRIOR, WOUND, CHANNELS = len(profiles.RATES), readout.PRIOR, 1.05 * readout.PRIOR, anomaly.CHANNELS


class Seen(NamedTuple):
    """What the loops find out about a step of B series: those of one stream."""

    value: Array  # (B,) float64, the last one where missing
    missing: Array  # (B,) bool
    scale: Array  # (B,) S
    limit: Array  # (B,) how far from an average the value counted
    teaches: Array  # (B,) bool: this step's forecasts will be learnt from
    x: Array  # (B, I + E) float32, of the network
    features: Array  # (B, n) float32: φ, panel
    scaled: Array  # (B, n) float32: φ̃
    change: Array  # (B, P) float32, of the profile
    target: Array  # (B, P) float32, of the network's windows
    valid: Array  # (B, P) bool: a label has arrived
    surprise: Array  # (B,)
    anomaly: Array  # (B,)
    taught: Array  # (2, P, G, K) int64, sums of r and r²
    scores: Array  # (4, P): scored, covered, |error|, |label|
    around: Array  # (A, J), room for the profiles around a step
    waves: Array  # (10,), room for its harmonics
    room: Array  # (F,) float32
    odds: Array  # (CHANNELS,)

    told: Array  # (B, P, K + G + 3) float32: the experts, both mixtures, published, below, above
    made: Array  # (3, B, P): mean, lower, upper

    @classmethod
    def of(cls, table: StreamTable) -> "Seen":
        """Room for the step of one stream, B = D."""
        D, P, K = table.layout.settings.features, len(table.horizons), len(table.layout.experts)
        n = table.slabs["feature_square"].shape[1]
        f4 = np.float32
        return cls(
            value=np.empty(D),
            missing=np.empty(D, bool),
            scale=np.empty(D),
            limit=np.empty(D),
            teaches=np.empty(D, bool),
            x=np.empty((D, INPUTS + EMBEDDING), f4),
            features=np.empty((D, n), f4),
            scaled=np.empty((D, n), f4),
            change=np.empty((D, P), f4),
            target=np.empty((D, P), f4),
            valid=np.empty((D, P), bool),
            surprise=np.empty(D),
            anomaly=np.empty(D),
            taught=np.zeros((2, P, MEMORIES, K), np.int64),
            scores=np.zeros((4, P)),
            around=np.empty((PROFILES, SIXTH + 1 + P)),
            waves=np.zeros(2 * WAVES),
            room=np.empty(table.slabs["features"].shape[2], f4),
            odds=np.empty(CHANNELS),
            told=np.empty((D, P, K + MEMORIES + 3), f4),
            made=np.empty((3, D, P)),
        )


class Shared(NamedTuple):
    """What all series share, for the loops."""

    horizons: Array  # (P,)
    offsets: Array  # (P,) of the rings by horizon
    pace: Array  # (P,) 1 / cbrt(h)
    base: Array  # (P,) 1 where the network corrects the profile's change
    prior: Array  # (K,)
    advantage: Array  # (P, G, K)
    coverage: float


def shared_of(table: StreamTable, model: SharedModel) -> Shared:
    return Shared(
        table.horizons,
        table.horizon_offsets,
        1.0 / np.cbrt(table.horizons),
        model.network_base,
        model.prior,
        model.advantage,
        table.layout.settings.coverage,
    )


def calendar_of(table: StreamTable) -> Calendar:
    if table.season is None:
        return Calendar(1, 0.0, 0, np.zeros(SIXTH + 1 + len(table.horizons), np.int64))
    return Calendar(table.season.steps, float(table.season.milliseconds), table.season.phases, profile_offsets(table))


@compiled
def look(
    s: Slabs,
    exact: tuple[Exact, Exact],
    shared: Shared,
    calendar: Calendar,
    rows: Array,
    time: Array,
    longest: int,
    seen: Seen,
) -> None:
    """Each series learns from the labels that its value brings, takes the value in, and looks around."""
    p, waves = seen.around, seen.waves
    for i in range(len(rows)):
        row, missing = rows[i], seen.missing[i]
        value = s.moments[row, 0] if missing else seen.value[i]
        seen.value[i] = value
        error, known = learn_labels(s, exact, shared, row, i, value, missing, longest, seen)
        seen.surprise[i], seen.anomaly[i] = judge(s, row, value, error, known, seen.odds)

        scale, limit, lateness = take_in(s, row, value, missing, time[i])
        seen.scale[i], seen.teaches[i] = scale, not missing and scale > 0
        if calendar.phases:
            seasonal(s, row, calendar, value, limit, missing, time[i], p)
            waves_at(calendar, time[i], s.steps[row], waves)
        else:
            for j in range(p.shape[1]):
                p[0, j] = p[1, j] = value  # nothing ever changes
        linear_features(s, row, value, scale, p, waves, seen.features[i])
        network_inputs(s, row, value, missing, scale, lateness, p, waves, seen.x[i])
        for k in range(EMBEDDING):
            seen.x[i, INPUTS + k] = s.embedding[row, k]
        unit = 1.0 / scale if scale > 0 else 0.0
        for h in range(len(shared.horizons)):
            seen.change[i, h] = clip((p[0, SIXTH + 1 + h] - p[0, NOW]) * unit, WIDEST)


@compiled
def learn_labels(
    s: Slabs,
    exact: tuple[Exact, Exact],
    shared: Shared,
    row: int,
    i: int,
    value: float,
    missing: bool,
    longest: int,
    seen: Seen,
) -> tuple[float, bool]:
    """The value is the label of the forecasts made h steps ago. The error of the first, and whether it is known."""
    G, K, steps = s.regret.shape[2], s.regret.shape[3], s.steps[row]
    first_error, first_known = 0.0, False
    for p in range(len(shared.horizons)):
        origin = (steps - shared.horizons[p]) % longest
        scale = s.origin_scale[row, origin]
        known = scale > 0 and not missing
        seen.valid[i, p] = known
        if not known:
            continue
        label = clip((value - s.origin_value[row, origin]) / scale, WIDEST)
        slot = shared.offsets[p] + steps % shared.horizons[p]
        change = s.forecasts[row, slot, 1]
        published = s.forecasts[row, slot, K + G]
        below, above = s.forecasts[row, slot, K + G + 1], s.forecasts[row, slot, K + G + 2]
        error = label - published
        heeded = published + clip(error, shock(s, row, p))

        learn_regrets(s, row, p, slot, heeded, seen.taught)
        learn_interval(s, row, p, error, below, above, shared.pace[p], shared.coverage)
        learn_readouts(s, exact, row, p, origin, heeded - change)
        target = heeded - shared.base[p] * change
        gain = max(1.0 / INPUT_WINDOW, 1.0 / (s.scored[row, p] + 1.0))
        s.target_square[row, p] += gain * (target * target - s.target_square[row, p])
        size = sqrt(s.target_square[row, p])
        seen.target[i, p] = clip(target / size if size > 0 else target, TARGET_CLIP)
        s.scored[row, p] += 1

        seen.scores[0, p] += 1.0
        seen.scores[1, p] += -error <= below and error <= above
        seen.scores[2, p] += abs(error)
        seen.scores[3, p] += abs(label)
        if p == 0:
            first_error, first_known = error * scale, True
    return first_error, first_known


@compiled
def show(s: Slabs, rows: Array, D: int, seen: Seen) -> None:
    """What the D series of each stream show each other."""
    for i in range(len(rows)):
        row, scale = rows[i], seen.scale[i]
        unit = 1.0 / scale if scale > 0 else 0.0
        difference = clip(s.differences[row, 0] * unit, FEATURE_CLIP)
        level = clip((seen.value[i] - s.levels[row, 1]) * unit / 5.0, FEATURE_CLIP)
        first, column = i - i % D, F + PANEL * (i % D)
        for k in range(first, first + D):
            seen.features[k, column], seen.features[k, column + 1] = difference, level


@compiled
def scale_features(s: Slabs, rows: Array, seen: Seen) -> None:
    """φ̃ of φ."""
    n = seen.features.shape[1]
    for i in range(len(rows)):
        for k in range(n):
            seen.scaled[i, k] = seen.features[i, k]
        normalise(seen.scaled[i], s.feature_square, rows[i], s.steps[rows[i]], n, FEATURE_LIMIT)


@compiled
def update_curvature(s: Slabs, each: Exact, row: int, slot: int, teaches: bool, room: Array) -> None:
    """P and the gains of the features in this slot of the ring; room (F,). See readout.py."""
    P, gains, n = each.curvature, each.gains, each.gains.shape[2]
    if not teaches:
        for i in range(n):
            gains[row, slot, i] = 0.0
        return
    forgetting = spread = np.float32(each.forgetting)
    for i in range(n):
        product = np.float32(0.0)
        for j in range(n):
            product += P[row, i, j] * s.features[row, slot, j]
        room[i] = product
        spread += product * s.features[row, slot, i]
    root = np.sqrt(spread)
    for i in range(n):
        gains[row, slot, i] = room[i] / spread
        room[i] /= root
    wound = False
    for i in range(n):
        for j in range(n):
            P[row, i, j] = (P[row, i, j] - room[i] * room[j]) / forgetting
        wound |= P[row, i, i] > WOUND
    if wound:
        for i in range(n):
            room[i] = min(1.0, sqrt(PRIOR / P[row, i, i]))
        for i in range(n):
            for j in range(n):
                P[row, i, j] *= room[i] * room[j]


@compiled
def forecast(
    s: Slabs,
    exact: tuple[Exact, Exact],
    shared: Shared,
    rows: Array,
    seen: Seen,
    hidden: Array,
    recurrent: Array,
    directions: Array,
    panel_directions: Array,
) -> None:
    """All experts of all horizons: seen.told[:, :, :K]. What their labels will need goes to the rings by origin."""
    told = seen.told
    longest, kept, n = s.features.shape[1], s.features.shape[2], seen.features.shape[1]
    H, K = kept - n, s.regret.shape[3]
    for i in range(len(rows)):
        row = rows[i]
        slot = s.steps[row] % longest
        if kept == SMALL:
            for k in range(SMALL):
                s.features[row, slot, k] = seen.features[i, k]
        else:
            for k in range(F):
                s.features[row, slot, k] = seen.features[i, k]
            for k in range(H):
                s.features[row, slot, F + k] = hidden[i, k]
            for k in range(F, n):
                s.features[row, slot, H + k] = seen.features[i, k]
        for k in range(n):
            s.scaled[row, slot, k] = seen.scaled[i, k]
        for k in range(F):
            s.directions[row, slot, k] = directions[i, k]
        if len(s.panel_weights):
            for k in range(n):
                s.panel_directions[row, slot, k] = panel_directions[i, k]
        update_curvature(s, exact[0], row, slot, seen.teaches[i], seen.room)
        if len(exact[1].weights):
            update_curvature(s, exact[1], row, slot, seen.teaches[i], seen.room)
        for p in range(len(shared.horizons)):
            change, expert = seen.change[i, p], 2
            told[i, p, 0], told[i, p, 1] = 0.0, clip(change, WIDEST)  # persistence, the profile
            told[i, p, expert] = clip(change + dot(exact[0].weights, s.features, row, p, slot), WIDEST)
            if len(exact[1].weights):
                expert += 1
                told[i, p, expert] = clip(change + dot(exact[1].weights, s.features, row, p, slot), WIDEST)
            expert += 1
            told[i, p, expert] = clip(change + dot(s.shared_weights, s.scaled, row, p, slot), WIDEST)
            if len(s.panel_weights):
                told[i, p, expert + 1] = clip(change + dot(s.panel_weights, s.scaled, row, p, slot), WIDEST)
            network = recurrent[i, p] * np.sqrt(s.target_square[row, p])
            told[i, p, K - 1] = clip(network + shared.base[p] * change, WIDEST)


@compiled
def dot(weights: Array, features: Array, row: int, p: int, slot: int) -> np.float32:
    """wᵀ φ."""
    made = np.float32(0.0)
    for k in range(weights.shape[2]):
        made += weights[row, p, k] * features[row, slot, k]
    return made


@compiled
def tell(s: Slabs, shared: Shared, rows: Array, seen: Seen) -> bool:
    """Mix and publish: seen.made. Whether all of it is a number."""
    told, made = seen.told, seen.made
    longest, G, K = s.origin_value.shape[1], s.regret.shape[2], s.regret.shape[3]
    total = 0.0
    for i in range(len(rows)):
        row = rows[i]
        steps, count, scale = s.steps[row], s.moments[row, SEEN], seen.scale[i]
        slot = steps % longest
        s.origin_value[row, slot] = seen.value[i]
        s.origin_scale[row, slot] = scale if seen.teaches[i] else 0.0
        for p in range(len(shared.horizons)):
            mix(s, row, p, shared.prior, shared.advantage, told[i, p])
            told[i, p, K + G] *= min(count / GROWN, 1.0)
            at = shared.offsets[p] + steps % shared.horizons[p]
            for k in range(K + G + 3):
                s.forecasts[row, at, k] = told[i, p, k]
                total += told[i, p, k]
            mean = seen.value[i] + told[i, p, K + G] * scale if count > 0 else np.nan
            made[0, i, p] = mean
            made[1, i, p] = mean - told[i, p, K + G + 1] * scale
            made[2, i, p] = mean + told[i, p, K + G + 2] * scale
    return isfinite(total)
