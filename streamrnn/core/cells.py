"""Recurrent cells: one step forward, and the same step backward, line by line in reverse.

A cell splits its step so that the input side of all steps of a sequence can be one product:

    xw = x W + b            for all steps at once, by the caller
    s' = forward(p, xw, s)  step after step

The state s (B, S) is one array whose first H columns are the hidden state h, which is what the cell shows. For most
cells that is all of it, S = H; the LSTM's memory c is the other half, S = 2H.

Axes: B rows, D inputs, H hidden units, G gates. Parameters of every cell: W (G, D, H), U (G, H, H), b (G, H). With
gates first, the numbers of each lie together, and what is done to them runs over one block.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module

Tape = tuple[Array, ...]  # what backward needs of forward's intermediate values


@dataclass(frozen=True, slots=True)
class Cell:
    """The functions of one kind of cell.

    forward(p, xw (G, B, H), s (B, S)) -> s' (B, S), tape
    backward(p, ds' (B, S), s (B, S), tape, grads) -> dxw (G, B, H), ds (B, S); adds dU (and other recurrent
    parameters' gradients) to grads. W and b get theirs from dxw, again for all steps at once, by the caller.
    """

    name: str
    gates: int
    states: int  # S / H
    forward: Callable[[Parameters, Array, Array], tuple[Array, Tape]]
    backward: Callable[[Parameters, Array, Array, Tape, Parameters], tuple[Array, Array]]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) as (1 + tanh(x / 2)) / 2, in place: never overflows, and tanh is vectorised."""
    x *= 0.5
    array_module(x).tanh(x, out=x)
    x *= 0.5
    x += 0.5
    return x


def tanh_forward(p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    """One step of the textbook's cell (Elman 1990).

        h' = tanh(x W + b + h U)

    xw = x W + b (1, B, H), h (B, H) -> h' (B, H) and the tape.
    """
    a = h @ p["U"][0]
    a += xw[0]
    h_next = array_module(a).tanh(a, out=a)
    return h_next, (h_next,)


def tanh_backward(p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters) -> tuple[Array, Array]:
    """The gradient of tanh_forward: dh' (B, H) -> dxw (1, B, H), dh (B, H)."""
    (h_next,) = tape
    da = dh_next * (1.0 - h_next * h_next)  # h' = tanh(a)
    grads["U"][0] += h.T @ da  # a = xw + h U
    return da[None], da @ p["U"][0].T


def relu_forward(p: Parameters, xw: Array, h: Array, limit: float = math.inf) -> tuple[Array, Tape]:
    """One step of rectified units (Nair and Hinton 2010), clipped where there is a limit (Hannun et al. 2014).

        h' = min(max(0, x W + b + h U), limit)

    xw = x W + b (1, B, H), h (B, H) -> h' (B, H) and the tape.
    """
    a = h @ p["U"][0]
    a += xw[0]
    h_next = array_module(a).clip(a, 0.0, limit, out=a)
    return h_next, (h_next,)


def relu_backward(
    p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters, limit: float = math.inf
) -> tuple[Array, Array]:
    """The gradient of relu_forward: dh' (B, H) -> dxw (1, B, H), dh (B, H)."""
    (h_next,) = tape
    da = dh_next * ((h_next > 0.0) & (h_next < limit))  # h' = min(max(0, a), limit)
    grads["U"][0] += h.T @ da  # a = xw + h U
    return da[None], da @ p["U"][0].T


def gru_forward(p: Parameters, xw: Array, h: Array) -> tuple[Array, Tape]:
    """One step of a gated recurrent unit (Cho et al. 2014; reset gate after the product, as in cuDNN).

        r = sigmoid(x Wr + br + h Ur)
        z = sigmoid(x Wz + bz + h Uz)
        n = tanh(x Wn + bn + r * (h Un + c))
        h' = (1 - z) * n + z * h

    xw = x W + b (3, B, H) in the order r, z, n; h (B, H) -> h' (B, H) and the tape.
    """
    hu = h @ p["U"]  # (3, B, H)
    hu[:2] += xw[:2]
    r, z = sigmoid(hu[:2])
    m = hu[2]
    m += p["c"]  # h Un + c
    n = r * m
    n += xw[2]
    array_module(n).tanh(n, out=n)
    h_next = h - n
    h_next *= z
    h_next += n  # n + z (h - n)
    return h_next, (r, z, n, m)


def gru_backward(p: Parameters, dh_next: Array, h: Array, tape: Tape, grads: Parameters) -> tuple[Array, Array]:
    """The gradient of gru_forward: dh' (B, H) -> dxw (3, B, H), dh (B, H)."""
    r, z, n, m = tape
    xp = array_module(h)
    dxw = xp.empty((3, *h.shape), h.dtype)
    dn = dh_next * (1.0 - z)  # h' = (1 - z) n + z h
    dn *= 1.0 - n * n  # n = tanh(...)
    dxw[2] = dn  # ... + xw_n
    dxw[1] = dh_next * (h - n) * z * (1.0 - z)  # z = sigmoid(...)
    dxw[0] = dn * m * r * (1.0 - r)  # r = sigmoid(...)
    dhu = dxw.copy()
    dhu[2] *= r  # ... + r m
    grads["U"] += h.T @ dhu  # hu = h U
    grads["c"] += dhu[2].sum(0)  # m = h Un + c
    dh = (dhu @ p["U"].transpose(0, 2, 1)).sum(0)
    dh += dh_next * z
    return dxw, dh


def lstm_forward(p: Parameters, xw: Array, state: Array, limit: float = math.inf) -> tuple[Array, Tape]:
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

        i = sigmoid(x Wi + bi + h Ui)
        f = sigmoid(x Wf + bf + h Uf)
        g = tanh(x Wg + bg + h Ug)
        o = sigmoid(x Wo + bo + h Uo)
        c' = f * c + i * g          within ±limit where there is one (Sak et al. 2014)
        h' = o * tanh(c')

    xw = x W + b (4, B, H) in the order i, f, g, o; state (B, 2H) is h, c -> the next state (B, 2H) and the tape.
    """
    xp, H = array_module(state), state.shape[1] // 2
    a = state[:, :H] @ p["U"]  # (4, B, H)
    a += xw
    i, f = sigmoid(a[:2])
    g, o = xp.tanh(a[2]), sigmoid(a[3])
    state_next = xp.empty_like(state)
    c_next = f * state[:, H:]
    c_next += i * g
    if limit < math.inf:
        xp.clip(c_next, -limit, limit, out=c_next)
    k = xp.tanh(c_next)
    state_next[:, :H] = o * k
    state_next[:, H:] = c_next
    return state_next, (i, f, g, o, k, c_next)


def lstm_backward(
    p: Parameters, d_next: Array, state: Array, tape: Tape, grads: Parameters, limit: float = math.inf
) -> tuple[Array, Array]:
    """The gradient of lstm_forward: that of the next state (B, 2H) -> dxw (4, B, H), that of the state (B, 2H)."""
    i, f, g, o, k, c_next = tape
    xp, H = array_module(state), state.shape[1] // 2
    h, c, dh_next = state[:, :H], state[:, H:], d_next[:, :H]
    dxw = xp.empty((4, *h.shape), state.dtype)
    dc = dh_next * o  # h' = o k
    dc *= 1.0 - k * k  # k = tanh(c')
    dc += d_next[:, H:]
    if limit < math.inf:
        dc *= xp.abs(c_next) < limit  # c' within the limit
    dxw[3] = dh_next * k * o * (1.0 - o)  # o = sigmoid(...)
    dxw[2] = dc * i * (1.0 - g * g)  # g = tanh(...)
    dxw[1] = dc * c * f * (1.0 - f)  # f = sigmoid(...)
    dxw[0] = dc * g * i * (1.0 - i)  # i = sigmoid(...)
    grads["U"] += h.T @ dxw  # a = xw + h U
    d_state = xp.empty_like(state)
    d_state[:, :H] = (dxw @ p["U"].transpose(0, 2, 1)).sum(0)
    d_state[:, H:] = dc * f  # c' = f c + i g
    return dxw, d_state


CELLS = {
    "tanh": Cell("tanh", 1, 1, tanh_forward, tanh_backward),
    "relu": Cell("relu", 1, 1, relu_forward, relu_backward),
    "gru": Cell("gru", 3, 1, gru_forward, gru_backward),
    "lstm": Cell("lstm", 4, 2, lstm_forward, lstm_backward),
}

# What is carried for ever must stay bounded, small enough for half precision and for a readout's features. The limits
# are those of the literature: 20 for rectified units (Hannun et al. 2014), 50 for memories (Sak et al. 2014).
LIMITS = {"relu": 20.0, "lstm": 50.0}


_LIMITED = {
    "relu": (partial(relu_forward, limit=LIMITS["relu"]), partial(relu_backward, limit=LIMITS["relu"])),
    "lstm": (partial(lstm_forward, limit=LIMITS["lstm"]), partial(lstm_backward, limit=LIMITS["lstm"])),
}


def bounded(cell: Cell) -> Cell:
    """The cell with a state that stays within its limit, however long the sequence; tanh and GRU are so by nature."""
    if cell.name not in _LIMITED:
        return cell
    forward, backward = _LIMITED[cell.name]
    return replace(cell, forward=forward, backward=backward)


def initial_cell(cell: Cell, inputs: int, hidden: int, random: np.random.Generator) -> Parameters:
    """Initial weights in float64: inputs scaled by 1/sqrt(D), each gate's recurrent matrix orthogonal.

    An orthogonal U keeps the norm of what passes through it, so that the gradient over many steps neither
    vanishes nor explodes at the start (Saxe et al. 2014). The LSTM's forget gate begins with a bias of 1: with 0 it
    halves the memory, and the gradient through it, at every step (Gers et al. 2000; Jozefowicz et al. 2015).
    """
    G, H = cell.gates, hidden
    W = random.standard_normal((inputs, G, H)).transpose(1, 0, 2) / np.sqrt(inputs)
    U = np.stack([np.linalg.qr(random.standard_normal((H, H)))[0] for _ in range(G)])
    p = {"W": np.ascontiguousarray(W), "U": U, "b": np.zeros((G, H))}
    if cell.name == "gru":
        p["c"] = np.zeros(H)
    elif cell.name == "lstm":
        p["b"][1] = 1.0
    return p
