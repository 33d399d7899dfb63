"""Does the data repeat itself, and how often? A season is looked for in the recent past of some series together.

Candidates are calendar periods that fit the sampling, and peaks of the pooled autocorrelation. A candidate is taken
only if the mean change at each phase, learnt on the first part of the history, explains changes in the rest.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array

HOUR, DAY, WEEK = 3_600_000.0, 86_400_000.0, 604_800_000.0
LEARNT_SHARE = 0.6  # of the history; the rest judges
LEAST_PERIODS, LEAST_OTHER_PERIODS = 2.5, 4.0  # that must be in the history: of a calendar's period, of another
LEAST_GAIN, LEAST_OTHER_GAIN = 0.02, 0.05  # out-of-sample R²: chance gives other periods many more tries
KEEP = 0.5  # a season that was found is kept while its R² is at least this part of the best
NEAR_BEST = 0.85  # the shortest candidate whose R² is at least this part of the best is taken
SAME_LENGTH = 0.02  # periods that differ by less are the same
PHASES = 288  # a longer season has coarser phases
PEAKS = 3  # of the autocorrelation that are tried


@dataclass(frozen=True, slots=True)
class Season:
    """A period of `steps` steps, or, where the time between steps is known, of `milliseconds`, in so many phases."""

    steps: int
    milliseconds: float  # 0: goes by steps
    phases: int


def candidates(history: Array, interval: float) -> dict[int, float]:
    """Periods in steps worth trying, and the R² that each must reach.

    history (M, n) float64, interval in ms between steps (0: unknown).
    """
    n = history.shape[1]
    peaks = _peaks(autocorrelation(history)[: int(n / LEAST_OTHER_PERIODS) + 1])
    found = dict.fromkeys(peaks, LEAST_OTHER_GAIN)
    if interval > 0:
        for period in (HOUR, DAY, WEEK):
            steps = period / interval
            if abs(steps - round(steps)) < 0.01 and steps <= n / LEAST_PERIODS:
                found[round(steps)] = LEAST_GAIN
    return {m: least for m, least in sorted(found.items()) if m >= 4}


def autocorrelation(history: Array) -> Array:
    """The autocorrelation of the first differences, the mean over the series: (M, n) -> (n - 1,)."""
    d = np.diff(history, axis=1)
    d = d - d.mean(1, keepdims=True)
    size = np.sqrt((d * d).sum(1, keepdims=True))
    d = d[size[:, 0] > 0] / size[size[:, 0] > 0]
    if not len(d):
        return np.zeros(history.shape[1] - 1)
    n = d.shape[1]
    spectrum = np.fft.rfft(d, 2 * n, axis=1)
    return np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n].mean(0)


def gain(history: Array, period: int) -> float:
    """How much of the changes in the last part of the history the first part's mean change at each phase explains.

        R² = 1 - mean over series of sum (d - profile[phase])² / sum d²,   d = x[t] - x[t - k]

    the better of k = 1 and k = a quarter of the period.
    """
    return max(_gain(history, period, 1), _gain(history, period, max(1, period // 4)))


def find(history: Array, interval: float, present: Season | None = None) -> Season | None:
    """The season, None where nothing repeats. history (M, n) float64 without NaN."""
    tried = candidates(history, interval)
    if present is not None and present.steps * LEAST_PERIODS <= history.shape[1]:
        tried.setdefault(present.steps, LEAST_GAIN)
    gains = {m: gain(history, m) for m in tried}
    good = {m: found for m, found in gains.items() if found >= tried[m]}
    if not good:
        return present
    best = max(good.values())
    if present is not None and gains.get(present.steps, best) >= KEEP * best:
        return present
    steps = min(m for m, found in good.items() if found >= NEAR_BEST * best)
    return Season(steps, _length(steps, interval), min(steps, PHASES))


def _length(steps: int, interval: float) -> float:
    """In ms: a calendar's period where it is about that long, as an interval that jitters is not known exactly."""
    for period in (HOUR, DAY, WEEK):
        if abs(steps * interval - period) < max(0.5 * interval, SAME_LENGTH * period):
            return period
    return steps * interval


def _gain(history: Array, period: int, k: int) -> float:
    d = history[:, k:] - history[:, :-k]
    size = np.sqrt((d * d).mean(1, keepdims=True))
    d = d[size[:, 0] > 0] / size[size[:, 0] > 0]
    if not len(d):
        return 0.0
    d = np.clip(d, -5, 5)
    learnt = int(d.shape[1] * LEARNT_SHARE)
    phase = np.arange(d.shape[1]) % period
    sums = np.zeros((len(d), period))
    np.add.at(sums.T, phase[:learnt], d[:, :learnt].T)
    counts = np.bincount(phase[:learnt], minlength=period)
    profile = sums / (counts + 1.0)  # shrunk: with two visits a mean is mostly noise
    rest = d[:, learnt:]
    error = rest - profile[:, phase[learnt:]]
    total = (rest * rest).sum(1)
    told = total > 0
    return float(1.0 - ((error * error).sum(1)[told] / total[told]).mean()) if told.any() else 0.0


def _peaks(correlation: Array) -> list[int]:
    """Lags of the highest local maxima."""
    if len(correlation) < 6:
        return []
    inner = correlation[1:-1]
    maxima = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner > 0.05)) + 1
    return sorted(maxima.tolist(), key=lambda lag: -correlation[lag])[:PEAKS]
