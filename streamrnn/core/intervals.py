"""Intervals by tracking the quantiles of a series' own errors, one above and one below the forecast.

    q += η a (1[e > q] - (1 - c) / 2)       e: error, a: running mean |error|, c: coverage

whose long-run coverage is c whatever the errors do (Gibbs and Candès 2021; Angelopoulos et al. 2023, the P part).
Quantiles are kept as multiples of a, so that an interval follows a changed size of the errors at once. The errors of
a long horizon come late and in runs of one sign: their η is smaller, by the cube root of the horizon.

Axes: B rows, P horizons; sides 0 below, 1 above.
"""

from statistics import NormalDist

from streamrnn.core.backend import Array, array_module

ERROR_WINDOW = 100
RATE = 0.02
NORMAL_RATIO = 1.2533141373155003  # standard deviation over mean absolute value, sqrt(π/2)


def initial_quantile(coverage: float) -> float:
    """The multiple of the mean absolute error that a normal distribution would need."""
    return NormalDist().inv_cdf(0.5 + coverage / 2) * NORMAL_RATIO


def bounds(quantiles: Array, size: Array) -> tuple[Array, Array]:
    """How far below and above the forecast the interval reaches, both >= 0: (B, P, 2), (B, P) -> two (B, P)."""
    reach = array_module(quantiles).maximum(quantiles, 0.0) * size[:, :, None]
    return reach[:, :, 0], reach[:, :, 1]


def learn(
    quantiles: Array,
    size: Array,
    error: Array,
    below: Array,
    above: Array,
    valid: Array,
    counted: Array,
    horizons: Array,
    coverage: float,
) -> None:
    """Take in errors (label minus forecast) that have arrived, in place.

    quantiles (B, P, 2), size (B, P): mean absolute error; error (B, P) and the reach below and above it (B, P) that
    the forecast was given when it was made; valid (B, P); counted (B, P): labels had before; horizons (P,), steps.
    """
    xp = array_module(quantiles)
    dtype = quantiles.dtype
    missed = xp.empty(quantiles.shape, bool)
    missed[:, :, 0], missed[:, :, 1] = -error > below, error > above
    rate = (xp.maximum(RATE, 2.0 / (counted + 10.0)) / xp.cbrt(horizons)).astype(dtype)[:, :, None]
    step = rate * (missed - dtype.type((1.0 - coverage) / 2))
    quantiles += step * (valid & (counted > 0))[..., None]
    xp.maximum(quantiles, 0.0, out=quantiles)
    gain = valid * xp.maximum(1.0 / ERROR_WINDOW, 1.0 / (counted + 1.0)).astype(dtype)
    size += gain * (xp.abs(error) - size)
