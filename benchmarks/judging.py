"""Scores of a whole table's forecasts: errors, law 6, and the coverage and score of intervals.

Axes: T rows of the table, D columns, P horizons. `forecasts` (T, D, P) were made just after each row.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamrnn.core import intervals, scaling
from streamrnn.core.backend import Array

COVERAGES = (0.5, 0.8, 0.9, 0.95)
STRETCH, BEGINNING = 500, 200  # of law 6
ROLLING = 1000  # steps over which coverage is looked at
RESIDUALS, REFRESH = 1000, 20  # of the residual quantile, the rival of the intervals
REPEATING = 0.25  # a column that repeats its last value more often than this is told apart


def squared_error(values: Array, forecasts: Array, train: int, start: int) -> tuple[float, float]:
    """Mean squared and mean absolute error in standard deviations of the first `train` rows.

    NaN in values: targets that are left out. Columns whose deviation there is under 5 % of all rows' do not count.
    """
    scale = np.nanstd(values[:train], axis=0)
    kept = scale > 0.05 * np.nanstd(values, axis=0)
    P = forecasts.shape[2]
    origins = np.arange(start - 1, len(values) - P)
    squared = absolute = count = 0.0
    for d in np.flatnonzero(kept):
        target = values[origins[:, None] + np.arange(1, P + 1), d]
        error = (forecasts[origins, d] - target) / scale[d]
        error = error[~np.isnan(error)]
        squared, absolute = squared + float((error * error).sum()), absolute + float(np.abs(error).sum())
        count += error.size
    return squared / count, absolute / count


def scales(values: Array) -> Array:
    """S of each column after each row (T, D), as the forecaster has it."""
    T, D = values.shape
    square, moves, last, made = np.zeros(D), np.zeros(D), values[0].copy(), np.empty((T, D))
    for t in range(T):
        now = np.where(np.isnan(values[t]), last, values[t])
        scaling.update_scale(square, moves, np.where(np.isnan(last), 0.0, now - last))
        last, made[t] = now, np.sqrt(square)
    return made


def errors(values: Array, forecasts: Array, scale: Array, horizon: int, p: int) -> Array:
    """Label minus forecast in units of S at the origin, (T - h, D); NaN where there is no label."""
    unit = scale[:-horizon]
    known = np.where(unit > 0, unit, np.nan)
    made: Array = (values[horizon:] - forecasts[:-horizon, :, p]) / known
    return made


def stretches_that_keep_law_6(values: Array, forecasts: Array, horizon: int, p: int) -> float:
    """The share of stretches of 500 steps whose error is at most 1.1 times persistence's plus .01 S²; NaN: none."""
    scale = scales(values)
    mine = errors(values, forecasts, scale, horizon, p)[BEGINNING:]
    naive = errors(values, np.broadcast_to(values[:, :, None], forecasts.shape), scale, horizon, p)[BEGINNING:]
    known = ~np.isnan(mine) & ~np.isnan(naive)
    over = np.where(known, mine**2 - 1.1 * naive**2 - 0.01, 0.0)
    sums = np.cumsum(np.concatenate([np.zeros((1, over.shape[1])), over]), axis=0)
    kept = sums[STRETCH:] <= sums[:-STRETCH] + 1e-9
    return float(kept.mean()) if kept.size else float("nan")


@dataclass(frozen=True, slots=True)
class Coverage:
    """How intervals of one nominal coverage did at one horizon."""

    nominal: float
    found: float  # over all columns that do not repeat themselves
    repeating: float | None  # over those that do
    within: float  # share of the series within 5 points
    lowest: float  # over any stretch of 1,000 steps, all series together
    highest: float
    score: float  # interval score in mean absolute errors, mean over series
    rival: float  # that of the residual quantile


def intervals_of(values: Array, forecasts: Array, horizon: int, p: int, start: int) -> Iterator[Coverage]:
    """Replays the forecaster's own intervals at each of COVERAGES, beside residual quantiles. Scored from `start`."""
    error = errors(values, forecasts, scales(values), horizon, p)
    repeats = (np.diff(values, axis=0) == 0).mean(0) > REPEATING
    for nominal in COVERAGES:
        below, above = _tracked(error, horizon, nominal)
        lower, upper = _residual_quantiles(error, horizon, nominal)
        e, known = error[start:], ~np.isnan(error[start:])
        inside = np.where(known, (-below[start:] <= e) & (e <= above[start:]), np.nan)
        plain = inside[:, ~repeats] if (~repeats).any() else inside
        pooled = np.nanmean(plain, axis=1)
        rolled = np.convolve(np.nan_to_num(pooled, nan=nominal), np.full(ROLLING, 1 / ROLLING), "valid")
        mine = _interval_score(e, -below[start:], above[start:], nominal)[:, ~repeats]
        rival = _interval_score(e, lower[start:], upper[start:], nominal)[:, ~repeats]
        size = np.nanmean(np.abs(e), axis=0)[~repeats]
        yield Coverage(
            nominal,
            found=float(np.nanmean(plain)),
            repeating=float(np.nanmean(inside[:, repeats])) if repeats.any() else None,
            within=float((np.abs(np.nanmean(plain, axis=0) - nominal) <= 0.05).mean()),
            lowest=float(rolled.min()),
            highest=float(rolled.max()),
            score=float((np.nanmean(mine, axis=0) / size).mean()),
            rival=float((np.nanmean(rival, axis=0) / size).mean()),
        )


def _tracked(error: Array, horizon: int, coverage: float) -> tuple[Array, Array]:
    """How far the forecaster's intervals reach below and above, made at each origin (T - h, D)."""
    T, D = error.shape
    below, above = np.zeros((T, D), "float32"), np.zeros((T, D), "float32")
    quantiles = np.full((D, 1, 2), intervals.initial_quantile(coverage), "float32")
    size, counted = np.zeros((D, 1), "float32"), np.zeros((D, 1), "int32")
    for t in range(T):
        origin = t - horizon
        if origin >= 0:
            arrived = error[origin].astype("float32")[:, None]
            valid = ~np.isnan(arrived)
            reach = below[origin][:, None], above[origin][:, None]
            given = np.nan_to_num(arrived), *reach, valid, counted, np.array([horizon])
            intervals.learn(quantiles, size, *given, coverage)
            counted += valid
        reached = intervals.bounds(quantiles, size)
        below[t], above[t] = reached[0][:, 0], reached[1][:, 0]
    return below, above


def _residual_quantiles(error: Array, horizon: int, coverage: float) -> tuple[Array, Array]:
    """Bounds from the quantiles of the last 1,000 errors that have arrived."""
    lower, upper = np.zeros_like(error), np.zeros_like(error)
    tails = (1 - coverage) / 2, (1 + coverage) / 2
    for t in range(horizon + REFRESH, len(error), REFRESH):
        arrived = error[max(0, t - horizon - RESIDUALS) : t - horizon + 1]
        arrived = np.where(np.isnan(arrived).all(0), 0.0, arrived)  # a column that has not moved yet
        lower[t : t + REFRESH], upper[t : t + REFRESH] = np.nanquantile(arrived, tails, axis=0)
    return lower, upper


def _interval_score(e: Array, lower: Array, upper: Array, coverage: float) -> Array:
    """Width plus 2 / (1 - c) times what an error lies outside (Gneiting and Raftery 2007)."""
    outside = np.maximum(lower - e, 0) + np.maximum(e - upper, 0)
    score: Array = upper - lower + 2 / (1 - coverage) * outside
    return np.where(np.isnan(e), np.nan, score)
