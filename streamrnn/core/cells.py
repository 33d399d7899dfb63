"""Recurrent cells: one step forward, and the same step backward, line by line in reverse.

A cell splits its step so that the input side of all steps of a sequence can be one product:

    xw = x W + b            for all steps at once, by the caller
    h' = forward(p, xw, h)  step after step

Axes: B rows, D inputs, H hidden units, G gates. Parameters of every cell: W (D, G·H), U (H, G·H), b (G·H).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module

Tape = tuple[Array, ...]  # what backward needs of forward's intermediate values


@dataclass(frozen=True, slots=True)
class Cell:
    """The functions of one kind of cell.

    forward(p, xw (B, G·H), h (B, H)) -> h' (B, H), tape
    backward(p, dh' (B, H), h (B, H), tape, grads) -> dxw (B, G·H), dh (B, H); adds dU (and other recurrent
    parameters' gradients) to grads. W and b get theirs from dxw, again for all steps at once, by the caller.
    """

    name: str
    gates: int
    forward: Callable[[Parameters, Array, Array], tuple[Array, Tape]]
    backward: Callable[[Parameters, Array, Array, Tape, Parameters], tuple[Array, Array]]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2: never overflows, and tanh is vectorised."""
    y = array_module(x).tanh(0.5 * x)
    y *= 0.5
    y += 0.5
    return y


def tanh_forward(p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    """One step of the textbook's cell (Elman 1990).

        h' = tanh(x W + b + h U)

    xw = x W + b (B, H), h (B, H) -> h' (B, H) and the tape.
    """
    a = h @ p["U"]
    a += xw
    h_next = array_module(a).tanh(a)
    return h_next, (h_next,)


def tanh_backward(p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters) -> tuple[Array, Array]:
    """The gradient of tanh_forward: dh' (B, H) -> dxw (B, H), dh (B, H)."""
    (h_next,) = tape
    da = dh_next * (1.0 - h_next * h_next)  # h' = tanh(a)
    grads["U"] += h.T @ da  # a = xw + h U
    return da, da @ p["U"].T


def gru_forward(p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    """One step of a gated recurrent unit (Cho et al. 2014; reset gate after the product, as in cuDNN).

        r = sigmoid(x Wr + br + h Ur)
        z = sigmoid(x Wz + bz + h Uz)
        n = tanh(x Wn + bn + r * (h Un + c))
        h' = (1 - z) * n + z * h

    xw = x W + b (B, 3H) in the order r, z, n; h (B, H) -> h' (B, H) and the tape.
    """
    H = h.shape[1]
    hu = h @ p["U"]  # (B, 3H)
    gates = sigmoid(xw[:, : 2 * H] + hu[:, : 2 * H])  # (B, 2H)
    r, z = gates[:, :H], gates[:, H:]
    m = hu[:, 2 * H :]
    m += p["c"]  # h Un + c
    n = r * m
    n += xw[:, 2 * H :]
    array_module(n).tanh(n, out=n)
    h_next = h - n
    h_next *= z
    h_next += n  # n + z (h - n)
    return h_next, (r, z, n, m)


def gru_backward(p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters) -> tuple[Array, Array]:
    """The gradient of gru_forward: dh' (B, H) -> dxw (B, 3H), dh (B, H)."""
    r, z, n, m = tape
    xp, H = array_module(h), h.shape[1]
    dxw = xp.empty((h.shape[0], 3 * H), h.dtype)
    dhu = xp.empty_like(dxw)
    dn = dh_next * (1.0 - z)  # h' = (1 - z) n + z h
    dn *= 1.0 - n * n  # n = tanh(...)
    dxw[:, 2 * H :] = dn  # ... + xw_n
    dhu[:, 2 * H :] = dn * r  # ... + r m
    dxw[:, :H] = dn * m * r * (1.0 - r)  # r = sigmoid(...)
    dxw[:, H : 2 * H] = dh_next * (h - n) * z * (1.0 - z)  # z = sigmoid(...)
    dhu[:, : 2 * H] = dxw[:, : 2 * H]
    grads["U"] += h.T @ dhu  # hu = h U
    grads["c"] += dhu[:, 2 * H :].sum(0)  # m = h Un + c
    dh = dhu @ p["U"].T
    dh += dh_next * z
    return dxw, dh


CELLS = {
    "tanh": Cell("tanh", 1, tanh_forward, tanh_backward),
    "gru": Cell("gru", 3, gru_forward, gru_backward),
}


def initial_cell(cell: Cell, inputs: int, hidden: int, random: np.random.Generator) -> Parameters:
    """Initial weights in float64: inputs scaled by 1/sqrt(D), each gate's recurrent matrix orthogonal.

    An orthogonal U keeps the norm of what passes through it, so that the gradient over many steps neither
    vanishes nor explodes at the start (Saxe et al. 2014).
    """
    G, H = cell.gates, hidden
    W = random.standard_normal((inputs, G * H)) / np.sqrt(inputs)
    U = np.hstack([np.linalg.qr(random.standard_normal((H, H)))[0] for _ in range(G)])
    p = {"W": W, "U": np.ascontiguousarray(U), "b": np.zeros(G * H)}
    if cell.name == "gru":
        p["c"] = np.zeros(H)
    return p
