"""Losses over batches of outputs: the value, and its gradient with respect to the outputs."""

from streamrnn.core.backend import Array


def squared_error(output: Array, target: Array, weight: Array) -> tuple[float, Array]:
    """Weighted squared error, divided by the number of rows that count.

        L = sum w (o - y)² / R,   dL/do = 2 w (o - y) / R,   R = number of rows with any w > 0

    output, target, weight (..., P); a weight of 0 leaves its element out. Returns L and dL/do (..., P).
    """
    rows = max(1, int((weight > 0).any(-1).sum()))
    error = output - target
    weighted = error * weight
    loss = float((weighted * error).sum()) / rows
    weighted *= 2.0 / rows
    return loss, weighted
