"""The mixture of experts: weights by regret, so that it is soon as good as the best expert, and never far behind.

For the mixture's forecast ŷ, an expert's ŷ_k and the label y, the instantaneous regret is

    r_k = 2 (ŷ - y) (ŷ - ŷ_k) / q     clipped to ±50, q the running squared error of the mixture

and with R = γ R + r, V = γ V + r² (second-order bounds: Gaillard, Stoltz and van Erven 2014)

    u_k = R_k / sqrt(V_k + 10⁻⁶) + min(n / 50, 1) pooled_k + prior_k,     weight_k ∝ max(u_k, 0)

after n labels of the series: what others say of an expert holds once it has had time to get to know this series.

Two such mixtures (γ = .9995 and 1) are averaged, and a last pass of the same kind (γ = .9998) mixes that average with
persistence. Forecasts here are deviations from the last value in units of S: persistence is 0.

Axes: B rows, P horizons, G = 2 memories, K experts. Expert 0 is persistence.
"""

from dataclasses import dataclass

from streamrnn.core.backend import Array, array_module, constant

MEMORIES = (0.9995, 1.0)
LAST_MEMORY = 0.9998
REGRET_CLIP = 50.0
ERROR_WINDOW = 1000  # shorter ones would let a burst of large errors count no more than a quiet spell
PRIOR_PERSISTENCE, PRIOR_OTHER = 2.0, -1.0
LAST_PRIOR = (1.0, 0.5)  # the average, persistence
SHOCK = 20.0  # an error counts at most this many times the running root mean squared error,
SHOCK_FLOOR = 0.01  # of which the square is at least this, or a series that was frozen would never learn again,
SHOCK_FROM = 20  # once so many labels have arrived
POOL_CLIP = 4.0  # what other series say of an expert weighs at most as much as a regret of this many deviations
TRUSTED = 50.0  # labels from which on it counts in full
FIXED_POINT = 2.0**30  # what regrets are summed in over series: integers, the same in whatever order
TINY = 1e-12
FLOOR = 1e-6  # under a root of V: weights are known to 1e-7, and so small a regret must not look like a certain one


@dataclass(slots=True)
class Regrets:
    """One series' memory of who was right. Arrays are updated in place."""

    total: Array  # R (B, P, G, K)
    square: Array  # V (B, P, G, K)
    last_total: Array  # (B, P, 2)
    last_square: Array  # (B, P, 2)
    error: Array  # q (B, P), running squared error of the published forecast


def pooled_advantage(total: Array, square: Array) -> Array:
    """What all series of the task together say of each expert: R / sqrt(V), bounded; (P, G, K) -> (P, G, K)."""
    xp = array_module(total)
    return xp.clip(total / xp.sqrt(square + FLOOR), -POOL_CLIP, POOL_CLIP)


def mix(experts: Array, regrets: Regrets, prior: Array, pooled: Array, counted: Array) -> tuple[Array, Array]:
    """Forecasts of both mixtures (B, P, G) and the published one (B, P).

    experts (B, P, K) deviations; prior (K,); pooled advantage (P, G, K); counted (B, P): labels had before.
    """
    xp = array_module(experts)
    u = regrets.total / xp.sqrt(regrets.square + FLOOR)
    u += prior
    u += pooled * xp.minimum(counted / TRUSTED, 1.0).astype(u.dtype)[:, :, None, None]
    xp.maximum(u, 0.0, out=u)
    mass = xp.einsum("bpgk->bpg", u)
    mixed = xp.einsum("bpgk,bpk->bpg", u, experts)
    mixed /= xp.maximum(mass, TINY)  # all weights 0: persistence
    average = _average(mixed)
    last = regrets.last_total / xp.sqrt(regrets.last_square + FLOOR)
    last += constant(xp, LAST_PRIOR, last.dtype.name)
    xp.maximum(last, 0.0, out=last)
    published = average * last[:, :, 0] / xp.maximum(last[:, :, 0] + last[:, :, 1], TINY)
    return mixed, published


def _average(mixed: Array) -> Array:
    """The forecast (B, P) half way between both mixtures' (B, P, G)."""
    average: Array = 0.5 * (mixed[:, :, 0] + mixed[:, :, 1])
    return average


def shock(error: Array, counted: Array) -> Array:
    """The largest error that still counts in full, given q and the labels so far: (B, P), (B, P) -> (B, P).

    A reading 200 times out (a unit mistaken, a sentinel nobody declared) is followed by one error of that size up and
    one down. Learnt from as they are, two squared errors outweigh all that came before.
    """
    xp = array_module(error)
    limit: Array = xp.where(counted < SHOCK_FROM, xp.inf, SHOCK * xp.sqrt(xp.maximum(error, SHOCK_FLOOR)))
    return limit


def learn(
    experts: Array,
    mixed: Array,
    published: Array,
    label: Array,
    valid: Array,
    counted: Array,
    regrets: Regrets,
) -> Array:
    """Take in labels that have arrived; returns this step's regrets r (B, P, G, K), 0 where not valid.

    experts (B, P, K), mixed (B, P, G), published (B, P): as they were when forecast; label, no further off than a
    shock, and valid (B, P); counted (B, P): labels this series has had before, for the gain of q.
    """
    xp = array_module(experts)
    dtype = experts.dtype
    squared = (published - label) ** 2
    gain = valid * xp.maximum(1.0 / ERROR_WINDOW, 1.0 / (counted + 1.0)).astype(dtype)
    regrets.error += gain * (squared - regrets.error)
    unit = valid * 2.0 / (regrets.error + TINY)  # (B, P)

    r: Array = (mixed[..., None] - experts[:, :, None, :]) * ((mixed - label[:, :, None]) * unit[:, :, None])[
        ..., None
    ]
    xp.clip(r, -REGRET_CLIP, REGRET_CLIP, out=r)
    decay = xp.where(valid[..., None], constant(xp, MEMORIES, dtype.name), dtype.type(1.0))[..., None]  # (B, P, G, 1)
    regrets.total *= decay
    regrets.total += r
    regrets.square *= decay
    regrets.square += r * r

    s = xp.empty_like(regrets.last_total)  # against the average, against persistence
    s[:, :, 0], s[:, :, 1] = published - _average(mixed), published
    s *= ((published - label) * unit)[..., None]
    xp.clip(s, -REGRET_CLIP, REGRET_CLIP, out=s)
    decay = xp.where(valid, dtype.type(LAST_MEMORY), dtype.type(1.0))[..., None]
    regrets.last_total *= decay
    regrets.last_total += s
    regrets.last_square *= decay
    regrets.last_square += s * s
    return r


def summed(regrets: Array) -> Array:
    """Sums over the series of r and of r², (B, P, G, K) -> (2, P, G, K) int64 in units of 1 / FIXED_POINT.

    A regret that is not a number, of a series that is about to be mended, counts as none.
    """
    xp = array_module(regrets)
    both = xp.stack([regrets, regrets * regrets])
    both = xp.where(xp.isfinite(both), both, 0.0)
    total: Array = xp.rint(both * FIXED_POINT).astype("int64").sum(1)  # of a power of two: exact in float32 too
    return total


def priors(experts: int) -> list[float]:
    """The constant prior of each expert: until some 150 labels have arrived it rules."""
    return [PRIOR_PERSISTENCE] + [PRIOR_OTHER] * (experts - 1)
