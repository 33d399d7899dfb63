"""How improbable a record was: surprise for the record by itself, an alarm where an incident begins.

Four channels look at a step, each a number u >= 0. With c = e / s, the forecast's error over its usual size:

    |EWMA2(c)|, |EWMA20(c)|        an error, a run of errors to one side
    |x - M| / V, |EWMA10(x) - M| / V    a value, a stretch of values far from where the series has been

Each channel keeps its own tail, see `tails.py`, which gives p, the probability of a u as large. Then E = mean of 1/p
over the channels, Ē its EWMA5, S = log10((E + Ē) / 2).

Surprise is S on the series' own scale: thresholds c that S passes in one record of 10, of 100, of 1000 are tracked,

    c_i += η_i (1[S > c_i] - 10^-i),    surprise = 1 - 10^-d,    d = i at S = c_i, linear between, slope 1 beyond

An incident is told once: for the alarm each channel's 1/p is damped by its own recent alarms, and the sum by all of
them; an alarm is followed by quiet, unless it gets ten times worse. A young series, whose tails are little known,
must be further out.

Axes: B rows, 4 channels; arrays in here are channels first, so that sums run along the rows.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, array_module, constant, worth_doing
from streamrnn.core.scaling import NEGLIGIBLE
from streamrnn.core.tails import Tails, probabilities

CHANNELS = 4
WARM = 100  # records scored before anything is said
ERROR_WINDOW, SLOW_WINDOW = 300.0, 10_000.0
ERROR_LIMIT, DEVIATION_LIMIT, RATIO_LIMIT = 6.0, 5.0, 8.0
FIRE, EARLY = 1.5, 150.0  # an incident begins where the damped score reaches FIRE + EARLY / n
RUNS = ((2.0,), (20.0,))  # records of the two averages of c
QUIET = 100.0  # records
DAMP_CHANNEL, DAMP_ALL = 0.2, 0.15  # decades of 1/p for each recent alarm
KEEP_CHANNEL, KEEP_ALL = 1.0 - 1.0 / 10_000, 1.0 - 1.0 / 3_000
LONGEST = 15.0  # decades: what float64 can still tell from 1
DECADE = float(np.log(10.0))
RATES = (0.1, 0.01, 0.001)  # of the tracked thresholds,
THRESHOLDS = (1.07, 1.7, 2.15)  # what they begin with,
PACE = (0.05, 0.2, 0.5)  # the step where one is passed,
BELOW, ABOVE, APART = 0.7, 1.0, 0.1  # how far from where they began they may get, and how close to each other

# rows of the memory, kept as (B, MEMORY) float64
ERROR, RUN2, RUN20, SLOW, DEVIATION, RECENT, COUNT, MEAN, DAMPED, ALARMS, SILENCE, LAST = range(12)
CHANNEL_ALARMS = 12
TRACKED = CHANNEL_ALARMS + CHANNELS
MEMORY = TRACKED + len(RATES)


@dataclass(slots=True)
class Judged:
    """What a step's records were."""

    surprise: Array  # (B,) 0..1, NaN before the score is warm
    anomaly: Array  # (B,) 0..1, at or above .999 where an incident begins


def newborn() -> Array:
    """The memory (MEMORY,) of a series that has seen nothing: nothing was ever surprising."""
    memory = np.zeros(MEMORY)
    memory[[MEAN, DAMPED]] = 1.0
    memory[TRACKED:] = THRESHOLDS
    return memory


def judge(memory: Array, tails: Tails, rows: Array, value: Array, error: Array, known: Array) -> Judged:
    """Score a step of B series; memory (B, MEMORY) float64 and these rows (B,) of the tails are updated in place.

    value (B,) and error (B,) (value minus the forecast made before) in the units of the series; known (B,): where
    both are there. Where they are not, nothing changes and nothing is surprising.
    """
    xp = array_module(memory)
    m = memory.T.copy()  # (MEMORY, B)
    u = _channels(m, value, xp.where(known, error, 0.0))
    odds = 1.0 / probabilities(tails, rows, u, m[COUNT], known)
    m[COUNT] += 1.0
    warm = m[COUNT] > WARM
    told = known & warm

    surprise = _calibrated(m[TRACKED:], xp.maximum(_score(odds, m[MEAN]), 0.0), warm)

    by_channel, alarms = m[CHANNEL_ALARMS:TRACKED], m[ALARMS]
    damped = odds * xp.exp((-DAMP_CHANNEL * DECADE) * by_channel)
    alarm = _score(damped, m[DAMPED]) - DAMP_ALL * alarms - EARLY / m[COUNT]
    m[SILENCE] -= 1.0
    fires = told & (alarm >= FIRE) & ((m[SILENCE] <= 0) | (alarm >= m[LAST] + 1.0))
    by_channel *= KEEP_CHANNEL
    alarms *= KEEP_ALL
    if worth_doing(fires):
        by_channel += fires * damped / damped.sum(0)
        alarms += fires
        m[SILENCE] = xp.where(fires, QUIET, m[SILENCE])
        m[LAST] = xp.where(fires, alarm, m[LAST])
    memory[:] = xp.where(known[:, None], m.T, memory) if worth_doing(~known) else m.T

    incident = 1.0 - 10.0 ** -xp.clip(3.0 + alarm - FIRE, 0.0, LONGEST)
    anomaly = xp.where(fires, incident, xp.minimum(surprise, 0.9985))
    if worth_doing(~told):
        silent = xp.where(memory[:, COUNT] > WARM, 0.0, xp.nan)
        surprise, anomaly = xp.where(told, surprise, silent), xp.where(told, anomaly, silent)
    return Judged(surprise, anomaly)


def _score(odds: Array, average: Array) -> Array:
    """S of 1/p (4, B), whose Ē (B,) is updated in place."""
    mean = odds.sum(0)
    mean /= CHANNELS
    average += (mean - average) / 5.0
    mean += average
    mean /= 2.0
    score: Array = array_module(odds).log10(mean)
    return score


def _calibrated(tracked: Array, score: Array, warm: Array) -> Array:
    """Surprise (B,) of S >= 0 (B,), given the thresholds c (3, B), which are updated in place where warm (B,)."""
    xp = array_module(score)
    edges = xp.zeros((len(RATES) + 1, len(score)))
    edges[1] = tracked[0]
    for i in range(1, len(RATES)):
        edges[i + 1] = xp.maximum(tracked[i], edges[i] + APART)
    decades = xp.clip((score - edges[:-1]) / (edges[1:] - edges[:-1]), 0.0, 1.0).sum(0)
    decades += xp.maximum(score - edges[-1], 0.0)
    rates, pace, start = (constant(xp, each, "float64")[:, None] for each in (RATES, PACE, THRESHOLDS))
    tracked += warm * pace * ((score > tracked) - rates)
    xp.clip(tracked, start - BELOW, start + ABOVE, out=tracked)
    surprise: Array = 1.0 - xp.exp(-DECADE * xp.minimum(decades, LONGEST))
    return surprise


def _channels(m: Array, value: Array, error: Array) -> Array:
    """The four numbers of each series (4, B), after its error and value were taken in; m (MEMORY, B)."""
    xp = array_module(m)
    n, size, width = m[COUNT] + 1.0, m[ERROR], m[DEVIATION]
    u = xp.empty((CHANNELS, len(value)))
    ratio = xp.clip(error / xp.maximum(size, NEGLIGIBLE), -RATIO_LIMIT, RATIO_LIMIT)
    runs = m[RUN2 : RUN20 + 1]
    runs += (ratio - runs) / constant(xp, RUNS, "float64")
    u[:2] = xp.abs(runs)
    magnitude = xp.minimum(xp.abs(error), xp.where(size > 0, ERROR_LIMIT * size, xp.inf))
    size += xp.maximum(1.0 / n, 1.0 / ERROR_WINDOW) * (1.25 * magnitude - size)

    if worth_doing(first := n == 1.0):
        for row in (SLOW, RECENT):
            m[row] = xp.where(first, value, m[row])
    m[RECENT] += (value - m[RECENT]) / 10.0
    away = value - m[SLOW]
    unit = xp.maximum(width, NEGLIGIBLE)
    u[2] = xp.abs(away) / unit
    u[3] = xp.abs(m[RECENT] - m[SLOW]) / unit
    limit = xp.where(width > 0, DEVIATION_LIMIT * width, xp.inf)
    away = xp.clip(away, -limit, limit)
    rate = xp.maximum(1.0 / (n + 1.0), 1.0 / SLOW_WINDOW)
    m[SLOW] += rate * away
    width += rate * (xp.abs(away) - width)
    return u
