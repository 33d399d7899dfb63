"""The upper tail of a few numbers u >= 0 of each series: a decaying histogram of ln(u), a power law beyond it.

Above the threshold q of the upper q0 the tail is taken as a power law whose exponent is uncertain (a gamma prior),
with mass A and B = sum ln(u / q) above:

    p = q0 (1 + ln(u/q) / (b + max(B, A/10)))^-(a + A),   a = 2, b = .7

and below it p is the rank. A number counts as a quarter of a bin smaller than it is: one that is hardly beyond all
that was seen is not yet extraordinary.

The histogram is brought up to date after every 16 numbers of a series: to count each at once would cost as much as
the forecast.

Axes: N series, B of them at a time, C channels, J bins. What is computed is channels first.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, array_module, put_chosen

BINS, BINS_AN_OCTAVE, LOWEST = 60, 5.0, -5.0  # bins of log2(u)
PENDING = 16  # numbers that wait to be counted in
KEEP = 1.0 - 1.0 / 10_000  # of the mass, a number
TAIL_NUMBERS, LEAST_TAIL, MOST_TAIL = 20.0, 0.001, 0.05  # q0 = clip(20 / n, ...)
PRIOR_SHAPE, PRIOR_RATE = 2.0, 0.7
BLUR = 0.25  # bins
CACHED = 256  # series whose histograms stay in the cache
LOG_BIN = float(np.log(2.0)) / BINS_AN_OCTAVE
THRESHOLD, ABOVE, SPREAD, TOTAL = range(4)  # what is fitted of a tail: the bin of q, A, b + max(B, A/10), all mass
FITTED = 4


@dataclass(slots=True)
class Tails:
    """Slabs of all series."""

    mass: Array  # (N, C, J) float32, at and above each bin
    pending: Array  # (N, C, PENDING) uint8, bins that are not in the mass yet
    fitted: Array  # (N, C, FITTED) float32


def newborn() -> Array:
    """What is fitted (FITTED,) where nothing was seen yet."""
    return np.array([0.0, 0.0, PRIOR_RATE, 0.0], "float32")


def probabilities(tails: Tails, rows: Array, u: Array, count: Array, known: Array) -> Array:
    """Probabilities p (C, B) of the numbers u (C, B), which are then counted where known (B,).

    rows (B,) of the tails; count (B,): numbers these series have had before.
    """
    xp = array_module(u)
    C = len(u)
    place = xp.log2(xp.fmax(u, 1e-9))  # in bins; what is no number is in the first
    place -= LOWEST
    place *= BINS_AN_OCTAVE
    xp.clip(place, 0.0, BINS - 1e-6, out=place)
    series = rows * C + xp.arange(C)[:, None]  # (C, B), of (N·C)
    fitted = tails.fitted.reshape(-1, FITTED).take(series, axis=0)  # (C, B, FITTED)
    share = _share(count - count % PENDING)

    blurred = xp.maximum(place - BLUR, 0.0)
    beyond = (blurred - fitted[:, :, THRESHOLD]) * LOG_BIN
    power = xp.log1p(xp.maximum(beyond, 0.0) / fitted[:, :, SPREAD])
    power *= -PRIOR_SHAPE - fitted[:, :, ABOVE]
    xp.exp(power, out=power)
    bin_ = blurred.astype("int64")
    mass, first = tails.mass.reshape(-1), series * BINS
    at = mass.take(first + bin_)
    after = mass.take(first + xp.minimum(bin_ + 1, BINS - 1))
    rank = (at - (at - after) * (blurred - bin_) + 0.5) / (fitted[:, :, TOTAL] + 1.0)
    p: Array = xp.where(beyond >= 0, share * power, xp.clip(rank, share, 1.0))

    turn = (count % PENDING).astype("int64")
    tails.pending.reshape(-1)[series * PENDING + turn] = place  # what is not known is written over by the next
    due = known & (turn == PENDING - 1)
    if xp is np:
        chosen = np.flatnonzero(due)
        for at_once in range(0, chosen.size, CACHED):
            some = chosen[at_once : at_once + CACHED]
            _bring_up_to_date(tails, rows[some], count[some] + 1.0, due[some])
    else:
        _bring_up_to_date(tails, rows, count + 1.0, due)
    return p


def _bring_up_to_date(tails: Tails, rows: Array, count: Array, due: Array) -> None:
    """Count what waits, and fit the tails anew, where due (B,)."""
    xp = array_module(count)
    pending = tails.pending[rows]  # (B, C, PENDING)
    B, C, _ = pending.shape
    flat = pending.reshape(B * C, PENDING) + xp.arange(B * C)[:, None] * BINS
    added = _histogram(flat.ravel(), B * C * BINS).reshape(B * C, BINS)
    mass = tails.mass[rows] * np.float32(KEEP**PENDING)
    mass += (added @ xp.tri(BINS, dtype="float32")).reshape(B, C, BINS)  # how many lie at and above each bin
    put_chosen(tails.mass, rows, mass, due)

    total = mass[:, :, 0]
    outer = mass <= (_share(count).astype("float32")[:, None] * total)[:, :, None]  # bins from the threshold on
    threshold = xp.minimum(BINS - outer.sum(-1), BINS - 1)
    above = xp.take_along_axis(mass, threshold[:, :, None], axis=2)[:, :, 0]
    excess = ((mass * outer).sum(-1) - above / 2.0) * np.float32(LOG_BIN)  # B, by parts
    spread = PRIOR_RATE + xp.maximum(excess, above / 10.0)
    put_chosen(tails.fitted, rows, xp.stack([threshold, above, spread, total], axis=-1), due)


def _histogram(places: Array, size: int) -> Array:
    """How many of the places (n,) are each of 0 .. size - 1: (size,) float32."""
    xp = array_module(places)
    if xp is np:
        return np.bincount(places, minlength=size).astype("float32")
    made: Array = xp.zeros(size, "float32")  # CuPy's bincount waits for the largest of the places
    xp.add.at(made, places, xp.ones(len(places), "float32"))
    return made


def _share(count: Array) -> Array:
    """q0 after so many numbers."""
    xp = array_module(count)
    return xp.clip(TAIL_NUMBERS / xp.maximum(count, 1.0), LEAST_TAIL, MOST_TAIL)
