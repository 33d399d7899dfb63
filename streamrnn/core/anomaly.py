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

Axes: B rows, 4 channels.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, array_module
from streamrnn.core.scaling import NEGLIGIBLE
from streamrnn.core.tails import Tails, probabilities

CHANNELS = 4
WARM = 100  # records scored before anything is said
ERROR_WINDOW, SLOW_WINDOW = 300.0, 10_000.0
ERROR_LIMIT, DEVIATION_LIMIT, RATIO_LIMIT = 6.0, 5.0, 8.0
FIRE, EARLY = 1.57, 300.0  # an incident begins where the damped score reaches FIRE + EARLY / n
QUIET = 100.0  # records
DAMP_CHANNEL, DAMP_ALL = 0.2, 0.15  # decades of 1/p for each recent alarm
KEEP_CHANNEL, KEEP_ALL = 1.0 - 1.0 / 10_000, 1.0 - 1.0 / 3_000
LONGEST = 15.0  # decades: what float64 can still tell from 1
RATES = np.array([0.1, 0.01, 0.001])  # of the tracked thresholds,
THRESHOLDS = np.array([1.07, 1.75, 2.2])  # what they begin with,
PACE = np.array([0.05, 0.2, 0.5])  # the step where one is passed,
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
    m = memory.T.copy()  # (MEMORY, B): what follows goes along series
    u = _channels(m, value, error, known)  # (B, 4)
    odds = 1.0 / probabilities(tails, rows, u, m[COUNT], known)
    m[COUNT] += known
    warm = m[COUNT] > WARM
    told = known & warm

    score = _score(odds, m[MEAN], told)
    surprise = _calibrated(m[TRACKED:], xp.maximum(score, 0.0), told)

    damped = odds * (10.0 ** (-DAMP_CHANNEL * m[CHANNEL_ALARMS:TRACKED])).T
    alarm = _score(damped, m[DAMPED], told) - DAMP_ALL * m[ALARMS] - EARLY / xp.maximum(m[COUNT], 1.0)
    m[SILENCE] -= told
    fires = told & (alarm >= FIRE) & ((m[SILENCE] <= 0) | (alarm >= m[LAST] + 1.0))

    m[CHANNEL_ALARMS:TRACKED] *= xp.where(told, KEEP_CHANNEL, 1.0)
    m[CHANNEL_ALARMS:TRACKED] += fires * (damped / damped.sum(1, keepdims=True)).T
    m[ALARMS] = m[ALARMS] * xp.where(told, KEEP_ALL, 1.0) + fires
    m[SILENCE] = xp.where(fires, QUIET, m[SILENCE])
    m[LAST] = xp.where(fires, alarm, m[LAST])
    memory[:] = m.T

    incident = 1.0 - 10.0 ** -xp.minimum(3.0 + alarm - FIRE, LONGEST)
    anomaly = xp.where(fires, incident, xp.minimum(surprise, 0.9985))
    silent = xp.where(warm, 0.0, np.nan)  # what is said where there was nothing to judge
    return Judged(xp.where(told, surprise, silent), xp.where(told, anomaly, silent))


def _score(odds: Array, average: Array, told: Array) -> Array:
    """S of 1/p (B, 4), whose Ē (B,) is updated in place."""
    xp = array_module(odds)
    mean = odds.mean(1)
    average += told * (mean - average) / 5.0
    score: Array = xp.log10((mean + average) / 2.0)
    return score


def _calibrated(tracked: Array, score: Array, told: Array) -> Array:
    """Surprise (B,) of S >= 0 (B,), given the thresholds c (3, B), which are updated in place."""
    xp = array_module(score)
    upper = tracked.copy()
    for i in range(1, len(RATES)):
        upper[i] = xp.maximum(upper[i], upper[i - 1] + APART)
    lower = xp.concatenate([xp.zeros_like(upper[:1]), upper[:-1]])
    decades = xp.clip((score - lower) / (upper - lower), 0.0, 1.0).sum(0) + xp.maximum(score - upper[-1], 0.0)
    rates, pace, start = (xp.asarray(each)[:, None] for each in (RATES, PACE, THRESHOLDS))
    tracked += told * pace * ((score > tracked) - rates)
    xp.clip(tracked, start - BELOW, start + ABOVE, out=tracked)
    surprise: Array = 1.0 - 10.0 ** -xp.minimum(decades, LONGEST)
    return surprise


def _channels(m: Array, value: Array, error: Array, known: Array) -> Array:
    """The four numbers of each series (B, 4), after its error and value were taken in; m (MEMORY, B)."""
    xp = array_module(m)
    n = m[COUNT] + 1.0
    size = m[ERROR].copy()
    error = xp.where(known, error, 0.0)
    ratio = xp.clip(error / xp.where(size > NEGLIGIBLE, size, xp.inf), -RATIO_LIMIT, RATIO_LIMIT)
    magnitude = xp.abs(error)
    magnitude = xp.where(size > 0, xp.minimum(magnitude, ERROR_LIMIT * size), magnitude)
    m[ERROR] += known * xp.maximum(1.0 / n, 1.0 / ERROR_WINDOW) * (1.25 * magnitude - size)
    m[RUN2] += known * (ratio - m[RUN2]) / 2.0
    m[RUN20] += known * (ratio - m[RUN20]) / 20.0

    first = known & (m[COUNT] == 0)
    for row in (SLOW, RECENT):
        m[row] = xp.where(first, value, m[row])
    m[RECENT] += known * (value - m[RECENT]) / 10.0
    slow, width = m[SLOW].copy(), m[DEVIATION].copy()
    unit = xp.where(width > NEGLIGIBLE, width, xp.inf)
    away = value - slow
    far, stretch = xp.abs(away) / unit, xp.abs(m[RECENT] - slow) / unit
    away = xp.where(width > 0, xp.clip(away, -DEVIATION_LIMIT * width, DEVIATION_LIMIT * width), away)
    rate = known * xp.maximum(1.0 / (n + 1.0), 1.0 / SLOW_WINDOW)
    m[SLOW] += rate * away
    m[DEVIATION] += rate * (xp.abs(away) - width)
    return xp.stack([xp.abs(m[RUN2]), xp.abs(m[RUN20]), far, stretch], axis=1)
