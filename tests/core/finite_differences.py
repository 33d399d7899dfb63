"""Gradients as the quotients that define them."""

from collections.abc import Callable

import numpy as np

from streamrnn.core.backend import Array

STEP = 1e-6


def numeric(f: Callable[[], float], array: Array, elements: int | None = None, seed: int = 0) -> dict[int, float]:
    """Central differences of f with respect to this array, in place, by position in it: all, or so many of them."""
    flat = array.reshape(-1)
    assert np.shares_memory(flat, array)
    chosen = np.arange(flat.size)
    if elements is not None and elements < flat.size:
        chosen = np.random.default_rng(seed).choice(flat.size, elements, replace=False)
    made = {}
    for i in chosen.tolist():
        kept = flat[i]
        flat[i] = kept + STEP
        above = f()
        flat[i] = kept - STEP
        below = f()
        flat[i] = kept
        made[i] = (above - below) / (2 * STEP)
    return made


def relative_error(made: Array, expected: dict[int, float]) -> float:
    """The largest difference, by the size of the largest derivative."""
    theirs = np.array(list(expected.values()))
    ours = made.reshape(-1)[list(expected)]
    return float(np.abs(ours - theirs).max() / (1e-3 + np.abs(theirs).max()))
