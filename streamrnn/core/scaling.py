"""What makes series comparable: the scale S, the levels, the running mean square of every input.

All updates are in place on rows gathered from the stream table, and take the number of values seen so far, so that
a young series learns fast: gain = max(1 / window, 1 / (n + 1)).
"""

from streamrnn.core.backend import Array, array_module, constant

SCALE_WINDOW = 5000
SCALE_CLIP = 100.0  # a square counts at most this many times the present mean square
LEVEL_WINDOWS = (16, 64, 256, 1024)
REACH = 50.0  # levels and profiles heed a value at most this many S from where they are
INPUT_WINDOW = 2000
SIZE_FLOOR = 1e-10  # of a mean square: what is 0 but for rounding must not be blown up
NEGLIGIBLE = 1e-150  # a smaller difference has no square in float64


def update_scale(square: Array, moves: Array, difference: Array) -> None:
    """Mean square of the non-zero first differences; the scale S is its root.

        v += max(1/W, 1/n) (min(d², 100 v) - v),   n = number of non-zero differences so far, with this one

    The clip keeps a jitter followed by a real move from exploding, the growing n lets S follow within some steps.
    square, moves and difference (B,) float64; the first two are updated in place.
    """
    xp = array_module(square)
    moved = xp.abs(difference) > NEGLIGIBLE
    moves += moved
    d2 = difference * difference
    gain = moved / xp.clip(moves, 1.0, SCALE_WINDOW)
    first = moves == 1.0
    square += gain * (xp.where(first, d2, xp.minimum(d2, SCALE_CLIP * square)) - square)


def reach(scale: Array) -> Array:
    """How far from an average a value still counts in full, (B,): without it one -9999 spoils it for a season."""
    xp = array_module(scale)
    limit: Array = xp.where(scale > 0, REACH * scale, xp.inf)
    return limit


def update_levels(levels: Array, value: Array, limit: Array, seen: Array, observed: Array) -> None:
    """Exponential averages of the value over each of LEVEL_WINDOWS, in place.

        l += max(1/τ, 1/(n+1)) clip(x - l, ±limit),   n = values seen before this one

    levels (B, 4) float64; value, limit, seen, observed (B,). Rows whose value was not observed stay as they are.
    """
    xp = array_module(levels)
    gain = xp.maximum(1.0 / constant(xp, LEVEL_WINDOWS, levels.dtype.name), (1.0 / (seen + 1.0))[:, None])
    gain *= observed[:, None]
    levels += gain * xp.clip(value[:, None] - levels, -limit[:, None], limit[:, None])


def normalise(inputs: Array, mean_square: Array, steps: Array, limit: float) -> Array:
    """Each input divided by the root of its own running mean square, which is updated in place, clipped to ±limit.

    inputs and mean_square (B, I) float32, steps (B,) -> (B, I) float32. An input that was always 0 stays 0.
    """
    xp = array_module(inputs)
    gain = xp.maximum(1.0 / INPUT_WINDOW, 1.0 / (steps + 1.0)).astype(inputs.dtype)[:, None]
    mean_square += gain * (inputs * inputs - mean_square)
    scaled: Array = inputs / xp.sqrt(mean_square + xp.float32(SIZE_FLOOR))
    return xp.clip(scaled, -limit, limit)
