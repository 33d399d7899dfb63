"""Losses over batches of outputs: the value, and its gradient with respect to the outputs.

All are called alike, loss(output, target, weight) -> L, dL/do, with one weight for each element of the target; a
weight of 0 leaves its element out. L is divided by R, the number of rows with any weight above 0, so that weights of
1/P make it the mean over all elements that count.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from streamrnn.core.backend import Array, array_module

Loss: TypeAlias = Callable[[Array, Array, Array], tuple[float, Array]]

QUANTILES = (0.1, 0.5, 0.9)


def squared_error(output: Array, target: Array, weight: Array, rows: int | None = None) -> tuple[float, Array]:
    """Weighted squared error, divided by the number of rows that count.

        L = sum w (o - y)² / R,   dL/do = 2 w (o - y) / R,   R = number of rows with any w > 0

    output, target, weight (..., P); a weight of 0 leaves its element out; rows: R, where these are a part of what is
    divided by it. Returns L and dL/do (..., P).
    """
    rows = rows_that_count(weight) if rows is None else rows
    error = output - target
    weighted = error * weight
    loss = float((weighted * error).sum()) / rows
    weighted *= 2.0 / rows
    return loss, weighted


def huber(output: Array, target: Array, weight: Array, delta: float = 1.0) -> tuple[float, Array]:
    """Squared near the target, linear far from it (Huber 1964).

        L = sum w l(o - y) / R,   l(e) = e² / 2 where |e| <= δ, else δ (|e| - δ / 2)
        dL/do = w min(max(e, -δ), δ) / R

    output, target, weight (..., P). Returns L and dL/do (..., P).
    """
    xp, rows = array_module(output), rows_that_count(weight)
    error = output - target
    near = xp.clip(error, -delta, delta)
    loss = float((weight * near * (error - 0.5 * near)).sum()) / rows  # both cases of l in one
    return loss, near * weight / rows


def pinball(
    output: Array, target: Array, weight: Array, quantiles: Sequence[float] = QUANTILES
) -> tuple[float, Array]:
    """The loss whose minimum is a quantile, one for each output (Koenker and Bassett 1978).

        L = sum w max(q (y - o), (q - 1) (y - o)) / R,   dL/do = w ((1 - q) [y < o] - q [y > o]) / R

    output, target, weight (..., P), P the number of quantiles. Returns L and dL/do (..., P).
    """
    xp, rows = array_module(output), rows_that_count(weight)
    q = xp.asarray(quantiles, output.dtype)  # (P,)
    error = target - output
    loss = float((weight * xp.maximum(q * error, (q - 1.0) * error)).sum()) / rows
    return loss, weight * ((1.0 - q) * (error < 0) - q * (error > 0)) / rows


def cross_entropy(output: Array, target: Array, weight: Array) -> tuple[float, Array]:
    """Softmax with cross-entropy: minus the logarithm of the probability of what came.

        p = exp(o - max o) / sum exp(o - max o),   L = sum w (-ln p_c) / R,   dL/do = w (p - [class = c]) / R

    output (..., P) any finite numbers, target (...) whole numbers c in 0..P-1, weight (...).
    Returns L and dL/do (..., P).
    """
    xp, rows = array_module(output), max(1, int((weight > 0).sum()))
    z = output - output.max(-1, keepdims=True)  # so that exp cannot overflow
    p = xp.exp(z)
    total = p.sum(-1, keepdims=True)
    chosen = xp.arange(output.shape[-1]) == target[..., None]  # (..., P)
    surprise = xp.log(total[..., 0]) - (z * chosen).sum(-1)  # -ln p_c
    p /= total
    return float((weight * surprise).sum()) / rows, (p - chosen) * (weight / rows)[..., None]


def rows_that_count(weight: Array) -> int:
    """R, the number of rows of weights (..., P) with any above 0, at least 1."""
    return max(1, int((weight > 0).any(-1).sum()))


LOSSES: dict[str, Loss] = {
    "squared": squared_error,
    "huber": huber,
    "pinball": pinball,
    "cross_entropy": cross_entropy,
}
