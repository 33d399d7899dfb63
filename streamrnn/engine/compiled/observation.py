"""What a series sees of its own past, as loops: see scaling.py, profiles.py and features.py for the equations."""

from math import cos, inf, pi, sin, sqrt
from typing import Any, NamedTuple

import numpy as np

from streamrnn.core import profiles, scaling
from streamrnn.core.backend import Array
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.compiled.slabs import Slabs
from streamrnn.engine.features import FEATURE_CLIP, INPUT_CLIP, INTERVAL_WINDOW, NOW, SAME, SIXTH, WIDEST
from streamrnn.engine.layout import (
    DIFFERENCES,
    ELAPSED,
    HARMONICS,
    INPUTS,
    INTERVAL,
    MOVES,
    SEEN,
    SMALL,
    SQUARE,
    TIME,
    VALUE,
    WEEKLY_HARMONICS,
)

LEVELS, RATES = np.array(scaling.LEVEL_WINDOWS, float), np.array(profiles.RATES)
WAVES = HARMONICS + WEEKLY_HARMONICS
SCALE_WINDOW, SCALE_CLIP, REACH = scaling.SCALE_WINDOW, scaling.SCALE_CLIP, scaling.REACH
NEGLIGIBLE, SIZE_FLOOR = scaling.NEGLIGIBLE, scaling.SIZE_FLOOR
INPUT_WINDOW, MOST_VISITS = scaling.INPUT_WINDOW, profiles.MOST_VISITS


class Calendar(NamedTuple):
    """The task's season, for the loops; no phases where there is none."""

    steps: int
    milliseconds: float
    phases: int
    offsets: Array  # (J,) steps from now at which the profiles are read


@compiled
def clip(x: Any, limit: Any) -> Any:
    """To ±limit; NaN stays NaN."""
    if x > limit:
        return limit
    return -limit if x < -limit else x


@compiled
def positive(x: float) -> float:
    """At least 0; NaN stays NaN."""
    return 0.0 if x < 0.0 else x


@compiled
def take_in(s: Slabs, row: int, value: float, missing: bool, time: float) -> tuple[float, float, float]:
    """Update value, scale, levels, differences and the usual interval: S, the reach of a value, its lateness."""
    m, steps = s.moments, s.steps[row]
    seen = m[row, SEEN]
    difference = 0.0 if missing or seen == 0 else value - m[row, VALUE]
    square = m[row, SQUARE]
    limit = REACH * sqrt(square) if square > 0 else inf

    if abs(difference) > NEGLIGIBLE:
        m[row, MOVES] += 1.0
        moves = m[row, MOVES]
        d2 = difference * difference
        counted = d2 if moves == 1.0 else min(d2, SCALE_CLIP * square)
        m[row, SQUARE] += (counted - square) / min(moves, SCALE_WINDOW)
    if not missing:
        for i in range(len(LEVELS)):
            gain = max(1.0 / LEVELS[i], 1.0 / (seen + 1.0))
            s.levels[row, i] += gain * clip(value - s.levels[row, i], limit)
    for i in range(DIFFERENCES - 1, 0, -1):
        s.differences[row, i] = s.differences[row, i - 1]
    s.differences[row, 0] = difference

    elapsed = 0.0 if steps == 0 else max(time - m[row, TIME], 0.0)
    before, interval = m[row, ELAPSED], m[row, INTERVAL]
    if abs(elapsed - before) <= SAME * before:
        interval = elapsed
    else:
        interval += (elapsed - interval) / min(max(steps, 1), INTERVAL_WINDOW)
    m[row, INTERVAL], m[row, ELAPSED], m[row, TIME], m[row, VALUE] = interval, elapsed, time, value
    if not missing:
        m[row, SEEN] = seen + 1.0
    lateness = elapsed / interval - 1.0 if interval > 0 else 0.0
    return sqrt(m[row, SQUARE]), limit, lateness


@compiled
def phase_at(calendar: Calendar, time: float, steps: int, interval: float, ahead: float) -> int:
    """The phase so many steps from now."""
    if calendar.milliseconds > 0:
        turns = (time + ahead * interval) / calendar.milliseconds
    else:
        turns = (steps + ahead) / calendar.steps
    phase = int((turns - np.floor(turns)) * calendar.phases + 0.5)
    return phase - calendar.phases if phase >= calendar.phases else phase


@compiled
def seasonal(
    s: Slabs, row: int, calendar: Calendar, value: float, limit: float, missing: bool, time: float, p: Array
) -> None:
    """Update the profiles at this step's phase, then read them around it: p (A, J)."""
    steps, interval = s.steps[row], s.moments[row, INTERVAL]
    here = phase_at(calendar, time, steps, interval, 0.0)
    visits = s.visits[row, here]
    if not missing:
        reach = limit if visits > 0 else inf
        for a in range(len(RATES)):
            rate = max(RATES[a], 1.0 / (visits + 1.0))
            s.profiles[row, a, here] += rate * clip(value - s.profiles[row, a, here], reach)
        if visits < MOST_VISITS:
            s.visits[row, here] = visits + 1
    for j in range(len(calendar.offsets)):
        phase = phase_at(calendar, time, steps, interval, calendar.offsets[j])
        known = s.visits[row, phase] > 0
        for a in range(len(RATES)):
            p[a, j] = s.profiles[row, a, phase] if known else s.levels[row, 0]


@compiled
def waves_at(calendar: Calendar, time: float, steps: int, waves: Array) -> None:
    """Sines, then cosines, of the season and of seven seasons: (10,)."""
    turns = time / calendar.milliseconds if calendar.milliseconds > 0 else steps / calendar.steps
    for turn, first, harmonics in ((turns, 0, HARMONICS), (turns / 7.0, HARMONICS, WEEKLY_HARMONICS)):
        angle = 2.0 * pi * (turn - np.floor(turn))
        sine, cosine = sin(angle), cos(angle)
        now_sine, now_cosine = sine, cosine
        for k in range(first, first + harmonics):
            waves[k], waves[WAVES + k] = now_sine, now_cosine
            now_sine, now_cosine = now_sine * cosine + now_cosine * sine, now_cosine * cosine - now_sine * sine


@compiled
def linear_features(s: Slabs, row: int, value: float, scale: float, p: Array, waves: Array, phi: Array) -> None:
    """Differences, levels, harmonics and profiles, in units of S, clipped: phi (F,)."""
    unit = 1.0 / scale if scale > 0 else 0.0
    phi[0] = 1.0
    for i in range(DIFFERENCES):
        phi[1 + i] = clip(s.differences[row, i] * unit, FEATURE_CLIP)
    for i in range(len(LEVELS)):
        phi[1 + DIFFERENCES + i] = clip((value - s.levels[row, i]) * unit / 3.0, FEATURE_CLIP)
    for i in range(2 * WAVES):
        phi[SMALL + i] = waves[i]
    k = SMALL + 2 * WAVES
    for a in range(len(RATES)):
        for j in range(NOW + 1, SIXTH):
            phi[k] = clip((p[a, j] - p[a, NOW]) * unit, FEATURE_CLIP)
            k += 1
        for j in range(NOW):
            phi[k] = clip((p[a, j + 1] - p[a, j]) * unit, FEATURE_CLIP)
            k += 1
        phi[k] = clip((value - p[a, NOW]) * unit / 3.0, FEATURE_CLIP)
        k += 1


@compiled
def network_inputs(
    s: Slabs, row: int, value: float, missing: bool, scale: float, lateness: float, p: Array, waves: Array, x: Array
) -> None:
    """What the network sees of a step, each input divided by its own running size: x (I,)."""
    unit = 1.0 / scale if scale > 0 else 0.0
    x[0] = clip(s.differences[row, 0] * unit, WIDEST)
    x[1] = clip(s.differences[row, 1] * unit, WIDEST)
    x[2] = clip((value - s.levels[row, 0]) * unit, WIDEST)
    x[3] = clip((value - s.levels[row, 2]) * unit, WIDEST)
    x[4] = clip((value - p[0, NOW]) * unit, WIDEST)
    x[5] = clip((p[0, NOW + 1] - p[0, NOW]) * unit, WIDEST)
    x[6] = clip((p[0, SIXTH] - p[0, NOW]) * unit, WIDEST)
    x[7], x[8] = waves[0], waves[WAVES]
    x[9], x[10] = waves[HARMONICS], waves[WAVES + HARMONICS]
    x[11] = clip(lateness, WIDEST)
    x[12] = 1.0 if missing else 0.0
    normalise(x, s.input_square, row, s.steps[row], INPUTS, INPUT_CLIP)


@compiled
def normalise(x: Array, mean_square: Array, row: int, steps: int, n: int, limit: float) -> None:
    """Divide each of the first n by the root of its running mean square, in place."""
    gain, bound = np.float32(max(1.0 / INPUT_WINDOW, 1.0 / (steps + 1.0))), np.float32(limit)
    for i in range(n):
        mean_square[row, i] += gain * (x[i] * x[i] - mean_square[row, i])
        x[i] = clip(x[i] / np.sqrt(mean_square[row, i] + np.float32(SIZE_FLOOR)), bound)
