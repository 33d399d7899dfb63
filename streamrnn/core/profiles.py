"""Profiles: what a series is usually worth at each phase of the season, slow and fast.

    p[phase] += max(α, 1 / (visits + 1)) clip(x - p[phase], ±limit)      no limit at the first visit

A phase that was never visited counts as the present level: early garbage would cost more than ignorance.
"""

from streamrnn.core.backend import Array, array_module, constant
from streamrnn.core.season import Season

RATES = (0.02, 0.1)  # α of the slow and the fast profile
MOST_VISITS = 255


def phase_at(season: Season, time: Array, steps: Array, interval: Array, ahead: Array) -> Array:
    """The phase `ahead` steps from now: time (B,) ms, steps (B,), interval (B,) ms, ahead (J,) -> (B, J) int64."""
    xp = array_module(time)
    if season.milliseconds:
        turns = (time[:, None] + ahead * interval[:, None]) / season.milliseconds
    else:
        turns = (steps[:, None] + ahead) / season.steps
    return xp.floor((turns - xp.floor(turns)) * season.phases + 0.5).astype("int64") % season.phases


def turn(season: Season, time: Array, steps: Array) -> Array:
    """Where in the season a step is, and where in seven of them: (B,) -> (B, 2), in turns, 0 to 1."""
    xp = array_module(time)
    turns = time / season.milliseconds if season.milliseconds else steps / season.steps
    both = xp.stack([turns, turns / 7.0], axis=1)
    return both - xp.floor(both)


def update(now: Array, visits: Array, value: Array, limit: Array, observed: Array) -> tuple[Array, Array]:
    """The profiles at the present phase after its value, and its visits.

    now (B, 2); visits, value, limit, observed (B,).
    """
    xp = array_module(now)
    rate = xp.maximum(constant(xp, RATES, now.dtype.name), (1.0 / (visits + 1.0))[:, None]) * observed[:, None]
    counted = observed & (visits < MOST_VISITS)  # visits are bytes: one more would be none
    limit = xp.where(visits > 0, limit, xp.inf)[:, None]
    return now + rate * xp.clip(value[:, None] - now, -limit, limit), visits + counted
