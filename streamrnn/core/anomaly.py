"""How improbable a record was: surprise for the record by itself, an alarm where an incident begins.

Four channels look at a step, each a number u >= 0. With c = e / s, the forecast's error over its usual size:

    |EWMA2(c)|, |EWMA20(c)|        an error, a run of errors to one side
    |x - M| / V, |EWMA10(x) - M| / V    a value, a stretch of values far from where the series has been

Each channel keeps its own tail: the mass above each bin of a log-scale, decaying. Above the threshold of the upper q0
the tail is taken as a power law whose exponent is uncertain (a gamma prior), with mass A and B = sum ln(u / q) above:

    p = q0 (1 + ln(u/q) / (b + max(B, A/10)))^-(a + A),   a = 2, b = .7

and below it p is the rank. Then E = mean of 1/p over the channels, Ē its EWMA5, S = log10((E + Ē) / 2).

An incident is told once: for the alarm each channel's 1/p is damped by its own recent alarms, and the sum by all of
them; an alarm is followed by quiet, unless it gets ten times worse.

Axes: B rows, 4 channels, J bins.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, array_module
from streamrnn.core.scaling import NEGLIGIBLE

CHANNELS = 4
BINS, BINS_AN_OCTAVE, LOWEST = 80, 5.0, -8.0  # bins of log2(u)
WARM = 100  # records scored before anything is said
ERROR_WINDOW, SLOW_WINDOW = 300.0, 10_000.0
ERROR_LIMIT, DEVIATION_LIMIT, RATIO_LIMIT = 6.0, 5.0, 8.0
KEEP = 1.0 - 1.0 / 10_000  # of the tails' mass, a step
TAIL_RECORDS, LEAST_TAIL, MOST_TAIL = 20.0, 0.001, 0.05  # q0 = clip(20 / n, ...)
PRIOR_SHAPE, PRIOR_RATE = 2.0, 0.7
FIRE = 1.7  # the damped score at which an incident begins
QUIET = 100.0  # records
DAMP_CHANNEL, DAMP_ALL = 0.2, 0.1  # decades of 1/p for each recent alarm
KEEP_CHANNEL, KEEP_ALL = 1.0 - 1.0 / 10_000, 1.0 - 1.0 / 3_000
LONGEST = 15.0  # decades: what float64 can still tell from 1

# columns of the memory (B, MEMORY) float64
ERROR, RUN2, RUN20, SLOW, DEVIATION, RECENT, COUNT, MEAN, DAMPED, ALARMS, SILENCE, LAST = range(12)
CHANNEL_ALARMS = 12
MEMORY = CHANNEL_ALARMS + CHANNELS


@dataclass(slots=True)
class Judged:
    """What a step's records were."""

    surprise: Array  # (B,) 0..1, NaN before the score is warm
    anomaly: Array  # (B,) 0..1, at or above .999 where an incident begins


def newborn() -> Array:
    """The memory (MEMORY,) of a series that has seen nothing: nothing was ever surprising."""
    memory = np.zeros(MEMORY)
    memory[[MEAN, DAMPED]] = 1.0
    return memory


def judge(memory: Array, tails: Array, value: Array, error: Array, known: Array) -> Judged:
    """Score a step of B series; memory (B, MEMORY) float64 and tails (B, 4, BINS) float32 are updated in place.

    value (B,) and error (B,) (value minus the forecast made before) in the units of the series; known (B,): where
    both are there. Where they are not, nothing changes and nothing is surprising.
    """
    xp = array_module(memory)
    u = _channels(memory, value, error, known)  # (B, 4)
    p = _tail_probabilities(tails, u, memory[:, COUNT])
    _insert(tails, u, known)
    memory[:, COUNT] += known
    warm = memory[:, COUNT] > WARM
    told = known & warm

    odds = 1.0 / p
    mean = odds.mean(1)
    memory[:, MEAN] += told * (mean - memory[:, MEAN]) / 5.0
    surprise = xp.log10(xp.maximum((mean + memory[:, MEAN]) / 2.0, 1.0))

    channels = memory[:, CHANNEL_ALARMS:]
    damped = odds * 10.0 ** (-DAMP_CHANNEL * channels)
    mean = damped.mean(1)
    memory[:, DAMPED] += told * (mean - memory[:, DAMPED]) / 5.0
    alarm = xp.log10(xp.maximum((mean + memory[:, DAMPED]) / 2.0, 1e-9)) - DAMP_ALL * memory[:, ALARMS]
    memory[:, SILENCE] -= told
    fires = told & (alarm >= FIRE) & ((memory[:, SILENCE] <= 0) | (alarm >= memory[:, LAST] + 1.0))

    channels *= xp.where(told, KEEP_CHANNEL, 1.0)[:, None]
    channels += fires[:, None] * damped / damped.sum(1, keepdims=True)
    memory[:, ALARMS] = memory[:, ALARMS] * xp.where(told, KEEP_ALL, 1.0) + fires
    memory[:, SILENCE] = xp.where(fires, QUIET, memory[:, SILENCE])
    memory[:, LAST] = xp.where(fires, alarm, memory[:, LAST])

    surprise = 1.0 - 10.0 ** -xp.minimum(surprise, LONGEST)
    incident = 1.0 - 10.0 ** -xp.minimum(3.0 + alarm - FIRE, LONGEST)
    anomaly = xp.where(fires, incident, xp.minimum(surprise, 0.9985))
    silent = xp.where(warm, 0.0, np.nan)  # what is said where there was nothing to judge
    return Judged(xp.where(told, surprise, silent), xp.where(told, anomaly, silent))


def _channels(memory: Array, value: Array, error: Array, known: Array) -> Array:
    """The four numbers of each row (B, 4), after its error and value were taken in."""
    xp = array_module(memory)
    n = memory[:, COUNT] + 1.0
    size = memory[:, ERROR].copy()
    error = xp.where(known, error, 0.0)
    ratio = xp.clip(error / xp.where(size > NEGLIGIBLE, size, xp.inf), -RATIO_LIMIT, RATIO_LIMIT)
    magnitude = xp.abs(error)
    magnitude = xp.where(size > 0, xp.minimum(magnitude, ERROR_LIMIT * size), magnitude)
    memory[:, ERROR] += known * xp.maximum(1.0 / n, 1.0 / ERROR_WINDOW) * (1.25 * magnitude - size)
    memory[:, RUN2] += known * (ratio - memory[:, RUN2]) / 2.0
    memory[:, RUN20] += known * (ratio - memory[:, RUN20]) / 20.0

    first = known & (memory[:, COUNT] == 0)
    for column in (SLOW, RECENT):
        memory[:, column] = xp.where(first, value, memory[:, column])
    memory[:, RECENT] += known * (value - memory[:, RECENT]) / 10.0
    slow, width = memory[:, SLOW].copy(), memory[:, DEVIATION].copy()
    unit = xp.where(width > NEGLIGIBLE, width, xp.inf)
    far, stretch = xp.abs(value - slow) / unit, xp.abs(memory[:, RECENT] - slow) / unit
    away = value - slow
    away = xp.where(width > 0, xp.clip(away, -DEVIATION_LIMIT * width, DEVIATION_LIMIT * width), away)
    rate = known * xp.maximum(1.0 / (n + 1.0), 1.0 / SLOW_WINDOW)
    memory[:, SLOW] += rate * away
    memory[:, DEVIATION] += rate * (xp.abs(away) - width)
    return xp.stack([xp.abs(memory[:, RUN2]), xp.abs(memory[:, RUN20]), far, stretch], axis=1)


def _tail_probabilities(tails: Array, u: Array, count: Array) -> Array:
    """P of each channel's u (B, 4) float64, given the mass above each bin: tails (B, 4, J)."""
    xp = array_module(tails)
    place = xp.clip((xp.log2(xp.maximum(u, 1e-9)) - LOWEST) * BINS_AN_OCTAVE, 0.0, BINS - 1e-6)  # in bins
    bin_ = place.astype("int64")
    total = tails[:, :, 0].astype("float64")
    share = xp.clip(TAIL_RECORDS / xp.maximum(count, 1.0), LEAST_TAIL, MOST_TAIL)[:, None]
    within = tails <= (share * total).astype(tails.dtype)[:, :, None]  # (B, 4, J): bins at and above the threshold
    threshold = xp.minimum(BINS - within.sum(-1), BINS - 1)  # (B, 4)
    mass = _at(tails, threshold)  # A
    excess = ((tails * within).sum(-1) - mass / 2.0) * (np.log(2.0) / BINS_AN_OCTAVE)  # B, by parts
    beyond = (place - threshold) * (np.log(2.0) / BINS_AN_OCTAVE)
    power = (1.0 + xp.maximum(beyond, 0.0) / (PRIOR_RATE + xp.maximum(excess, 0.1 * mass))) ** -(PRIOR_SHAPE + mass)
    above, here = _at(tails, bin_), _at(tails, xp.minimum(bin_ + 1, BINS - 1))
    rank = (above - (above - here) * (place - bin_) + 0.5) / (total + 1.0)
    return xp.where(beyond >= 0, share * power, xp.clip(rank, share, 1.0))


def _insert(tails: Array, u: Array, known: Array) -> None:
    """Count u (B, 4) in, after everything before has decayed a little."""
    xp = array_module(tails)
    place = xp.clip((xp.log2(xp.maximum(u, 1e-9)) - LOWEST) * BINS_AN_OCTAVE, 0.0, BINS - 1e-6).astype("int64")
    tails *= xp.where(known, KEEP, 1.0).astype(tails.dtype)[:, None, None]
    tails += (xp.arange(BINS) <= place[:, :, None]) & known[:, None, None]


def _at(tails: Array, bins: Array) -> Array:
    """tails[b, c, bins[b, c]] as float64: (B, 4)."""
    xp = array_module(tails)
    return xp.take_along_axis(tails, bins[:, :, None], axis=2)[:, :, 0].astype("float64")
