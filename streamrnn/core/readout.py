"""The exact linear readout: recursive least squares a series, one weight vector a horizon, one curvature for all.

A feature vector's gain does not depend on its label. It is computed when the features are, kept beside them, and
used for each horizon when that horizon's label arrives: this is exact, and needs one matrix for all horizons.

    k = P φ / (λ + φᵀ P φ),   P' = (P - k (P φ)ᵀ) / λ          (Haykin, Adaptive Filter Theory, RLS)
    w_h += k (y_h - w_hᵀ φ)                                     h steps later

Axes: B rows, F features, P horizons.
"""

import numpy as np

from streamrnn.core.backend import Array, array_module

FORGETTING = 0.9998
CACHED = 256  # rows whose products stay in the cache
PRIOR = 0.1  # the curvature starts as PRIOR · I, and no direction is ever less certain than that


def update_curvature(curvature: Array, features: Array, learns: Array, forgetting: float) -> Array:
    """The gains k (B, F) of these features; the curvature P (B, F, F) is updated in place.

    features (B, F), learns (B,) bool: where false the gain is 0 and P stays; forgetting λ.
    """
    xp = array_module(curvature)
    phi = features * learns[:, None]
    Pphi = xp.matmul(curvature, phi[:, :, None])[:, :, 0]
    kept = xp.where(learns, forgetting, 1.0).astype(features.dtype)
    spread = kept + xp.einsum("bf,bf->b", phi, Pphi)
    root = Pphi / xp.sqrt(spread)[:, None]
    together = CACHED if xp is np else max(1, len(root))
    for first in range(0, len(root), together):
        part, v = curvature[first : first + together], root[first : first + together]
        part -= v[:, :, None] * v[:, None, :]  # k (P φ)ᵀ as v vᵀ: rounding then keeps P symmetric
        part /= kept[first : first + together, None, None]
    gain: Array = Pphi / spread[:, None]
    guard_curvature(curvature)
    return gain


def guard_curvature(curvature: Array) -> None:
    """Keep forgetting from winding up where nothing excites a feature: scale row and column i so that P_ii <= PRIOR.

    Done for the rows where some P_ii is 5 % above, so that it is rare.
    """
    xp = array_module(curvature)
    diagonal = xp.einsum("bii->bi", curvature)  # a view
    wound = (diagonal > 1.05 * PRIOR).any(1)
    if xp is not np:
        factor = xp.where(wound[:, None], xp.minimum(1.0, xp.sqrt(PRIOR / diagonal)), 1.0).astype(curvature.dtype)
        curvature *= factor[:, :, None] * factor[:, None, :]
    elif wound.any():
        rows = xp.flatnonzero(wound)
        factor = xp.minimum(1.0, xp.sqrt(PRIOR / diagonal[rows])).astype(curvature.dtype)
        curvature[rows] *= factor[:, :, None] * factor[:, None, :]


def predict(weights: Array, features: Array) -> Array:
    """w_hᵀ φ for each horizon: weights (B, P, F), features (B, F) -> (B, P)."""
    return array_module(weights).einsum("bpf,bf->bp", weights, features)


def learn(weights: Array, features: Array, gains: Array, labels: Array, valid: Array) -> None:
    """Correct each horizon's weights by the label that has now arrived, in place.

    weights (B, P, F); features and gains (B, P, F), those of each horizon's origin; labels and valid (B, P).
    """
    xp = array_module(weights)
    error = (labels - xp.einsum("bpf,bpf->bp", weights, features)) * valid
    weights += gains * error[:, :, None]
