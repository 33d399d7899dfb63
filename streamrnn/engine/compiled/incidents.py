"""How improbable a step was, as loops. See anomaly.py and tails.py."""

from math import exp, inf, log1p, log2, log10, nan

import numpy as np

from streamrnn.core import anomaly, tails
from streamrnn.core.anomaly import (
    ALARMS,
    CHANNEL_ALARMS,
    CHANNELS,
    COUNT,
    DAMPED,
    DEVIATION,
    ERROR,
    LAST,
    MEAN,
    RECENT,
    RUN2,
    SILENCE,
    SLOW,
    TRACKED,
)
from streamrnn.core.backend import Array
from streamrnn.core.scaling import NEGLIGIBLE
from streamrnn.core.tails import ABOVE, BINS, PENDING, PRIOR_RATE, PRIOR_SHAPE, SPREAD, THRESHOLD, TOTAL
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.compiled.observation import clip
from streamrnn.engine.compiled.slabs import Slabs

RUNS = np.ravel(anomaly.RUNS)
RATES, PACE, STARTS = np.array(anomaly.RATES), np.array(anomaly.PACE), np.array(anomaly.THRESHOLDS)
LOWEST, BINS_AN_OCTAVE, LOG_BIN, BLUR = tails.LOWEST, tails.BINS_AN_OCTAVE, tails.LOG_BIN, tails.BLUR
TAIL_NUMBERS, LEAST_TAIL, MOST_TAIL, KEPT = tails.TAIL_NUMBERS, tails.LEAST_TAIL, tails.MOST_TAIL, tails.KEEP**PENDING
WARM, LONGEST, DECADE = anomaly.WARM, anomaly.LONGEST, anomaly.DECADE
ERROR_WINDOW, SLOW_WINDOW = anomaly.ERROR_WINDOW, anomaly.SLOW_WINDOW
ERROR_LIMIT, DEVIATION_LIMIT, RATIO_LIMIT = anomaly.ERROR_LIMIT, anomaly.DEVIATION_LIMIT, anomaly.RATIO_LIMIT
FIRE, EARLY, QUIET = anomaly.FIRE, anomaly.EARLY, anomaly.QUIET
DAMP_CHANNEL, DAMP_ALL = anomaly.DAMP_CHANNEL, anomaly.DAMP_ALL
KEEP_CHANNEL, KEEP_ALL = anomaly.KEEP_CHANNEL, anomaly.KEEP_ALL
LOWER, UPPER, APART = anomaly.BELOW, anomaly.ABOVE, anomaly.APART


@compiled
def judge(s: Slabs, row: int, value: float, error: float, known: bool, odds: Array) -> tuple[float, float]:
    """Surprise and anomaly of a step; odds (CHANNELS,) is room to work in."""
    m = s.alarm_memory
    if not known:
        quiet = 0.0 if m[row, COUNT] > WARM else nan
        return quiet, quiet
    channels(s, row, value, error, odds)
    share, turn = share_after(m[row, COUNT] - m[row, COUNT] % PENDING), int(m[row, COUNT]) % PENDING
    for c in range(CHANNELS):
        odds[c] = 1.0 / probability(s, row, c, odds[c], share, turn)
    m[row, COUNT] += 1.0
    count = m[row, COUNT]
    warm = count > WARM
    if turn == PENDING - 1:
        for c in range(CHANNELS):
            bring_up_to_date(s, row, c, share_after(count))

    surprise = calibrated(s, row, max(score(s, row, MEAN, odds), 0.0), warm)
    for c in range(CHANNELS):
        odds[c] *= exp(-DAMP_CHANNEL * DECADE * m[row, CHANNEL_ALARMS + c])
    alarm = score(s, row, DAMPED, odds) - DAMP_ALL * m[row, ALARMS] - EARLY / count
    m[row, SILENCE] -= 1.0
    fires = warm and alarm >= FIRE and (m[row, SILENCE] <= 0 or alarm >= m[row, LAST] + 1.0)
    for c in range(CHANNELS):
        m[row, CHANNEL_ALARMS + c] *= KEEP_CHANNEL
    m[row, ALARMS] *= KEEP_ALL
    if not warm:
        return nan, nan
    if not fires:
        return surprise, min(surprise, 0.9985)
    mass = 0.0
    for c in range(CHANNELS):
        mass += odds[c]
    for c in range(CHANNELS):
        m[row, CHANNEL_ALARMS + c] += odds[c] / mass
    m[row, ALARMS] += 1.0
    m[row, SILENCE], m[row, LAST] = QUIET, alarm
    return surprise, 1.0 - 10.0 ** -min(max(3.0 + alarm - FIRE, 0.0), LONGEST)


@compiled
def channels(s: Slabs, row: int, value: float, error: float, u: Array) -> None:
    """The four numbers of a step, after its error and value were taken in: u (CHANNELS,)."""
    m = s.alarm_memory
    n, size, width = m[row, COUNT] + 1.0, m[row, ERROR], m[row, DEVIATION]
    ratio = clip(error / max(size, NEGLIGIBLE), RATIO_LIMIT)
    for i in range(len(RUNS)):
        m[row, RUN2 + i] += (ratio - m[row, RUN2 + i]) / RUNS[i]
        u[i] = abs(m[row, RUN2 + i])
    magnitude = min(abs(error), ERROR_LIMIT * size if size > 0 else inf)
    m[row, ERROR] += max(1.0 / n, 1.0 / ERROR_WINDOW) * (1.25 * magnitude - size)

    if n == 1.0:
        m[row, SLOW] = m[row, RECENT] = value
    m[row, RECENT] += (value - m[row, RECENT]) / 10.0
    away, unit = value - m[row, SLOW], max(width, NEGLIGIBLE)
    u[2] = abs(away) / unit
    u[3] = abs(m[row, RECENT] - m[row, SLOW]) / unit
    away = clip(away, DEVIATION_LIMIT * width if width > 0 else inf)
    rate = max(1.0 / (n + 1.0), 1.0 / SLOW_WINDOW)
    m[row, SLOW] += rate * away
    m[row, DEVIATION] += rate * (abs(away) - width)


@compiled
def share_after(count: float) -> float:
    """q0 after so many numbers."""
    return min(max(TAIL_NUMBERS / max(count, 1.0), LEAST_TAIL), MOST_TAIL)


@compiled
def probability(s: Slabs, row: int, c: int, u: float, share: float, turn: int) -> float:
    """P of the number u of this channel, which then waits to be counted."""
    place = (log2(max(u, 1e-9)) - LOWEST) * BINS_AN_OCTAVE if u == u else 0.0
    place = min(max(place, 0.0), BINS - 1e-6)
    s.tail_pending[row, c, turn] = np.uint8(place)
    blurred = max(place - BLUR, 0.0)
    beyond = (blurred - s.tail_fitted[row, c, THRESHOLD]) * LOG_BIN
    if beyond >= 0:
        power = log1p(beyond / s.tail_fitted[row, c, SPREAD]) * (-PRIOR_SHAPE - s.tail_fitted[row, c, ABOVE])
        return share * exp(power)
    low = int(blurred)
    at = float(s.tail_mass[row, c, low])
    after = float(s.tail_mass[row, c, min(low + 1, BINS - 1)])
    rank = (at - (at - after) * (blurred - low) + 0.5) / (s.tail_fitted[row, c, TOTAL] + 1.0)
    return min(max(rank, share), 1.0)


@compiled
def bring_up_to_date(s: Slabs, row: int, c: int, share: float) -> None:
    """Count what waits, and fit the tail anew."""
    mass, fitted = s.tail_mass, s.tail_fitted
    for j in range(BINS):
        mass[row, c, j] *= np.float32(KEPT)
    for i in range(PENDING):
        for j in range(np.int64(s.tail_pending[row, c, i]) + 1):
            mass[row, c, j] += np.float32(1.0)
    total = mass[row, c, 0]
    least = np.float32(share) * total
    threshold, excess = BINS, 0.0
    while threshold > 0 and mass[row, c, threshold - 1] <= least:
        threshold -= 1
        excess += mass[row, c, threshold]
    threshold = min(threshold, BINS - 1)
    above = mass[row, c, threshold]
    excess = (excess - above / 2.0) * LOG_BIN
    fitted[row, c, THRESHOLD], fitted[row, c, ABOVE] = threshold, above
    fitted[row, c, SPREAD], fitted[row, c, TOTAL] = PRIOR_RATE + max(excess, above / 10.0), total


@compiled
def score(s: Slabs, row: int, average: int, odds: Array) -> float:
    """S of 1/p, whose running mean is updated."""
    mean = 0.0
    for c in range(CHANNELS):
        mean += odds[c]
    mean /= CHANNELS
    s.alarm_memory[row, average] += (mean - s.alarm_memory[row, average]) / 5.0
    return log10((mean + s.alarm_memory[row, average]) / 2.0)


@compiled
def calibrated(s: Slabs, row: int, score: float, warm: bool) -> float:
    """Surprise of S >= 0; the thresholds are updated where warm."""
    m, edge, decades = s.alarm_memory, 0.0, 0.0
    for i in range(len(RATES)):
        tracked = m[row, TRACKED + i]
        after = tracked if i == 0 else max(tracked, edge + APART)
        decades += min(max((score - edge) / (after - edge), 0.0), 1.0)
        edge = after
        if warm:
            tracked += PACE[i] * ((score > tracked) - RATES[i])
            m[row, TRACKED + i] = min(max(tracked, STARTS[i] - LOWER), STARTS[i] + UPPER)
    decades += max(score - edge, 0.0)
    return 1.0 - exp(-DECADE * min(decades, LONGEST))
