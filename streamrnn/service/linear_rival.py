"""A linear rival for the demo's report: least squares on lags and the time of day, direct for each horizon.

    y(t + h) ≈ y(t) + w' x(t),   x(t) = [y(t - 1) - y(t), ..., y(t - L) - y(t), 1, cos and sin of the time at t + h]

Each column has weights of its own. They are fitted anew once a season (once a day) to every label that has come by
then, the older ones counting less: what recursive least squares holds at that row.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

LAGS = 48  # rows
HARMONICS = 2  # of the season
REFIT = 24  # rows, where there is no season
FORGET = 0.998  # a refit
RIDGE = 1e-2  # of the features' mean square
WIDEST = 6.0  # root mean squares of a feature or change so far: what is beyond is cut, or one wrong value ruins all


def linear_forecasts(
    values: np.ndarray, held: np.ndarray, horizons: tuple[int, ...], season: int | None
) -> np.ndarray:
    """Forecasts (R, C, P) made after each row of values (R, C), NaN missing; NaN before a column's first value.

    held: the values with the last one in place of a missing one (R, C); season: rows a day, None without one.
    """
    R, C = values.shape
    made = np.empty((R, C, len(horizons)))
    for p, h in enumerate(horizons if R else ()):
        made[:, :, p] = _of_horizon(values, held, h, season)
    return made


def _of_horizon(values: np.ndarray, held: np.ndarray, h: int, season: int | None) -> np.ndarray:
    """(R, C) for one horizon."""
    R, C = values.shape
    features = _features(held, h, season)  # (C, R, F)
    F, size = features.shape[2], season or REFIT
    square, product = np.zeros((C, F, F)), np.zeros((C, F))
    labels, change_square, weights, made = np.zeros(C), np.zeros(C), np.zeros((C, F)), held.copy()
    limit, change_limit = np.full((C, 1, F), np.inf), np.full((C, 1), np.inf)
    for first in range(0, R, size):
        rows = slice(first, first + size)
        made[rows] += np.einsum("crf,cf->rc", np.clip(features[:, rows], -limit, limit), weights)
        # the labels that come with these rows belong to the features h rows before
        came = np.arange(max(first, h + LAGS), min(first + size, R))
        if not len(came):
            continue
        change = np.clip((values[came] - held[came - h]).T, -change_limit, change_limit)  # (C, r)
        known = ~np.isnan(change)
        change = np.where(known, change, 0.0)
        x = np.where(known[:, :, None], np.clip(features[:, came - h], -limit, limit), 0.0)
        square = FORGET * square + x.transpose(0, 2, 1) @ x
        product = FORGET * product + np.einsum("crf,cr->cf", x, change)
        labels = FORGET * labels + known.sum(1)
        change_square = FORGET * change_square + (change * change).sum(1)
        if first >= 2 * F:
            mean = np.maximum(labels, 1.0)[:, None]
            limit = _limit(np.diagonal(square, axis1=1, axis2=2) / mean)[:, None]
            change_limit = _limit(change_square[:, None] / mean)
            ridge = RIDGE * np.trace(square, axis1=1, axis2=2) / F + np.finfo(float).tiny
            weights = np.linalg.solve(square + ridge[:, None, None] * np.eye(F), product[:, :, None])[:, :, 0]
    return made


def _limit(mean_square: np.ndarray) -> np.ndarray:
    """How far from 0 a number is believed that was so large before; all is where it was always 0."""
    return np.where(mean_square > 0, WIDEST * np.sqrt(mean_square), np.inf)


def _features(held: np.ndarray, h: int, season: int | None) -> np.ndarray:
    """(C, R, F): what is known after each row."""
    R, C = held.shape
    padded = np.concatenate([np.repeat(held[:1], LAGS, axis=0), held])
    lags = sliding_window_view(padded, LAGS + 1, axis=0)  # (R, C, L + 1), the newest last
    parts = [np.nan_to_num(lags[:, :, :-1] - lags[:, :, -1:]).transpose(1, 0, 2), np.ones((C, R, 1))]
    for harmonic in range(1, HARMONICS + 1) if season else ():
        angle = 2 * np.pi * harmonic * (np.arange(R) + h) / (season or 1)
        parts += [np.broadcast_to(np.stack([np.cos(angle), np.sin(angle)], axis=1), (C, R, 2))]
    return np.concatenate(parts, axis=2)
