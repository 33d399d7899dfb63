"""The linear readout for a million series: one curvature for all, a weight vector for each.

Features are divided by their own running size in their series, φ̃ = φ / rms(φ), so that one curvature fits all.

    C ← γ C + sum φ̃ φ̃ᵀ            over the series of the task, γ once per (steps / streams)
    P = (C / weight + (10⁻³ + κ/N) I)⁻¹    N the steps of a series so far
    w += a P φ̃ e / (min(n + n0, 5000) + a φ̃ᵀ P φ̃)

This is recursive least squares with the series' own second moments replaced by everybody's: F floats a series
instead of F².
"""

import numpy as np

from streamrnn.core.backend import Array, array_module

FORGETTING = 0.9999
RIDGE, EARLY_RIDGE = 1e-3, 100.0
LONGEST_MEMORY = 5000.0
ALONE, POOLED = (
    10.0,
    300.0,
)  # n0: steps that the first weights count for, where they are 0 and where others taught them


def inverse(moments: Array, weight: float, steps: float) -> Array:
    """P (..., F, F) from C (..., F, F) of `weight` vectors, after `steps` of a series. float64 in and out."""
    F = moments.shape[-1]
    ridge = RIDGE + EARLY_RIDGE / max(steps, 1.0)
    inverted: Array = np.linalg.inv(moments / max(weight, 1.0) + ridge * np.eye(F))
    return inverted


def gains(Pphi: Array, phi: Array, rate: float, counted: Array) -> Array:
    """A P φ̃ / (min(n + n0, 5000) + a φ̃ᵀ P φ̃): Pphi and phi (..., F), n + n0 as counted (...) -> (..., F)."""
    xp = array_module(Pphi)
    spread = rate * xp.einsum("...f,...f->...", Pphi, phi)
    known = xp.minimum(counted, LONGEST_MEMORY).astype(phi.dtype)
    gain: Array = Pphi * (phi.dtype.type(rate) / (known + spread))[..., None]
    return gain
