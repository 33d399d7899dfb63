"""What a series learns when a label arrives, as loops: regrets, intervals, readouts. See mixture.py, intervals.py."""

from math import inf, sqrt

import numpy as np

from streamrnn.core import intervals, mixture, shared_curvature
from streamrnn.core.backend import Array
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.compiled.observation import clip, positive
from streamrnn.engine.compiled.slabs import Exact, Slabs
from streamrnn.engine.readouts import PANEL_RATE, RATE

MEMORIES, LAST_MEMORY = np.array(mixture.MEMORIES), mixture.LAST_MEMORY
AVERAGE_PRIOR, PERSISTENCE_PRIOR = mixture.LAST_PRIOR
SHOCK, SHOCK_FLOOR, SHOCK_FROM = mixture.SHOCK, mixture.SHOCK_FLOOR, mixture.SHOCK_FROM
REGRET_CLIP, ERROR_WINDOW, TRUSTED = mixture.REGRET_CLIP, mixture.ERROR_WINDOW, mixture.TRUSTED
TINY, FLOOR = mixture.TINY, mixture.FLOOR
SIZE_WINDOW, QUANTILE_RATE = intervals.ERROR_WINDOW, intervals.RATE
LONGEST_MEMORY = shared_curvature.LONGEST_MEMORY
UNIT = mixture.FIXED_POINT


@compiled
def shock(s: Slabs, row: int, p: int) -> float:
    """The largest error that still counts in full."""
    if s.scored[row, p] < SHOCK_FROM:
        return inf
    return SHOCK * sqrt(max(s.error[row, p], SHOCK_FLOOR))


@compiled
def learn_regrets(s: Slabs, row: int, p: int, slot: int, label: float, taught: Array) -> None:
    """Regrets of the forecast in this slot; r and r² are added to taught (2, P, G, K) in integers."""
    made, K, G = s.forecasts, s.regret.shape[3], s.regret.shape[2]
    published = float(made[row, slot, K + G])
    wrong = published - label
    gain = max(1.0 / ERROR_WINDOW, 1.0 / (s.scored[row, p] + 1.0))
    s.error[row, p] += gain * (wrong * wrong - s.error[row, p])
    unit = 2.0 / (s.error[row, p] + TINY)
    average = 0.0
    for g in range(G):
        mixed = float(made[row, slot, K + g])
        average += mixed / G
        pull = (mixed - label) * unit
        for k in range(K):
            r = np.float32(clip((mixed - made[row, slot, k]) * pull, REGRET_CLIP))
            s.regret[row, p, g, k] = s.regret[row, p, g, k] * MEMORIES[g] + r
            s.regret_square[row, p, g, k] = s.regret_square[row, p, g, k] * MEMORIES[g] + r * r
            if r == r:
                taught[0, p, g, k] += np.int64(np.rint(r * UNIT))
                taught[1, p, g, k] += np.int64(np.rint(r * r * UNIT))
    for i in range(2):
        other = average if i == 0 else 0.0
        r = np.float32(clip((published - other) * wrong * unit, REGRET_CLIP))
        s.last_regret[row, p, i] = s.last_regret[row, p, i] * LAST_MEMORY + r
        s.last_regret_square[row, p, i] = s.last_regret_square[row, p, i] * LAST_MEMORY + r * r


@compiled
def learn_interval(
    s: Slabs, row: int, p: int, error: float, below: float, above: float, pace: float, coverage: float
) -> None:
    """Track the quantiles of the errors; pace: 1 / cbrt(h)."""
    counted = s.scored[row, p]
    if counted > 0:
        rate = max(QUANTILE_RATE, 2.0 / (counted + 10.0)) * pace
        miss = (1.0 - coverage) / 2.0
        s.quantiles[row, p, 0] = max(s.quantiles[row, p, 0] + rate * ((-error > below) - miss), 0.0)
        s.quantiles[row, p, 1] = max(s.quantiles[row, p, 1] + rate * ((error > above) - miss), 0.0)
    gain = max(1.0 / SIZE_WINDOW, 1.0 / (counted + 1.0))
    s.error_size[row, p] += gain * (abs(error) - s.error_size[row, p])


@compiled
def learn_exact(s: Slabs, each: Exact, row: int, p: int, origin: int, label: float) -> None:
    """Correct a horizon's weights along the gains of its origin."""
    n = each.weights.shape[2]
    made = np.float32(0.0)
    for i in range(n):
        made += each.weights[row, p, i] * s.features[row, origin, i]
    error = np.float32(label) - made
    for i in range(n):
        each.weights[row, p, i] += each.gains[row, origin, i] * error


@compiled
def learn_shared(
    weights: Array,
    scaled: Array,
    directions: Array,
    rate: float,
    known: float,
    row: int,
    p: int,
    origin: int,
    label: float,
) -> None:
    """Correct a horizon's weights over the curvature that all series share."""
    n = weights.shape[2]
    made = spread = np.float32(0.0)
    for i in range(n):
        made += weights[row, p, i] * scaled[row, origin, i]
        spread += directions[row, origin, i] * scaled[row, origin, i]
    step = np.float32(rate / (min(known, LONGEST_MEMORY) + rate * spread) * (label - made))
    for i in range(n):
        weights[row, p, i] += directions[row, origin, i] * step


@compiled
def learn_readouts(s: Slabs, exact: tuple[Exact, Exact], row: int, p: int, origin: int, label: float) -> None:
    """All linear experts."""
    learn_exact(s, exact[0], row, p, origin, label)
    if len(exact[1].weights):
        learn_exact(s, exact[1], row, p, origin, label)
    known = s.scored[row, p] + s.strength[row]
    learn_shared(s.shared_weights, s.scaled, s.directions, RATE, known, row, p, origin, label)
    if len(s.panel_weights):
        learn_shared(s.panel_weights, s.scaled, s.panel_directions, PANEL_RATE, known, row, p, origin, label)


@compiled
def mix(s: Slabs, row: int, p: int, prior: Array, advantage: Array, told: Array) -> None:
    """From a horizon's experts told (K + G + 3,), both mixtures, the published forecast and the interval's reach."""
    K, G = s.regret.shape[3], s.regret.shape[2]
    trusted = min(s.scored[row, p] / TRUSTED, 1.0)
    average = 0.0
    for g in range(G):
        mass = mixed = 0.0
        for k in range(K):
            u = s.regret[row, p, g, k] / np.sqrt(s.regret_square[row, p, g, k] + FLOOR)
            u = positive(u + prior[k] + advantage[p, g, k] * trusted)
            mass += u
            mixed += u * told[k]
        told[K + g] = mixed / max(mass, TINY)
        average += told[K + g] / G
    last = positive(s.last_regret[row, p, 0] / np.sqrt(s.last_regret_square[row, p, 0] + FLOOR) + AVERAGE_PRIOR)
    still = positive(s.last_regret[row, p, 1] / np.sqrt(s.last_regret_square[row, p, 1] + FLOOR) + PERSISTENCE_PRIOR)
    told[K + G] = average * last / max(last + still, TINY)
    told[K + G + 1] = positive(s.quantiles[row, p, 0]) * s.error_size[row, p]
    told[K + G + 2] = positive(s.quantiles[row, p, 1]) * s.error_size[row, p]
