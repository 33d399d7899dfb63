"""One step of a recurrent cell for one row, as loops; equations and sources stand in `core/cells.py`.

A row's result does not depend on what else is stepped. The weights lie flat, the gates side by side, so that the
inner loops run over all units of all gates; `tanh` is a quotient of polynomials, which fills vector registers and is
within 4e-7 of the truth.
"""

from typing import NamedTuple

import numpy as np

from streamrnn.core.backend import Array, Parameters
from streamrnn.core.cells import LIMITS, Cell
from streamrnn.engine.compiled.compiler import compiled

TANH, RELU, GRU, LSTM = range(4)
KINDS = {"tanh": TANH, "relu": RELU, "gru": GRU, "lstm": LSTM}
F4 = np.float32
ONE, HALF, MOST_UNITS, MOST_MEMORY = F4(1.0), F4(0.5), F4(LIMITS["relu"]), F4(LIMITS["lstm"])
# tanh x = x P(x²) / Q(x²) for |x| <= 9: least squares of the relative error, weighted anew until that is level
REACH = F4(9.0)
ABOVE = 0.999999979, 10.8386325, 22.9345698, 10.952531, 0.574876334  # of (x / 9)²
BELOW = 1.0, 37.8386181, 169.778943, 174.612311, 33.4756188
P0, P1, P2, P3, P4 = (F4(c / 81.0**k) for k, c in enumerate(ABOVE))
_, Q1, Q2, Q3, Q4 = (F4(c / 81.0**k) for k, c in enumerate(BELOW))


class Net(NamedTuple):
    """The network's weights, and room for one row."""

    kind: int
    W: Array  # (I, G·H)
    U: Array  # (H, G·H)
    b: Array  # (G·H,)
    c: Array  # (H,), of a GRU
    V: Array  # (P, H)
    d: Array  # (P,)
    flat: Array  # (1, G·H) room for the gates
    gates: Array  # (G, H) the same
    flat_parts: Array  # (1, G·H) room for what comes of the state alone
    parts: Array  # (G, H) the same
    state: Array  # (S / H, H) the state before a step, then after it
    flat_state: Array  # (1, S) the same


def net_of(cell: Cell, p: Parameters) -> Net:
    """The parameters as they are now."""
    G, _, H = p["W"].shape
    W, U = (np.ascontiguousarray(p[name].transpose(1, 0, 2).reshape(-1, G * H)) for name in ("W", "U"))
    flat, parts, state = (np.empty((1, n), F4) for n in (G * H, G * H, cell.states * H))
    return Net(
        kind=KINDS[cell.name],
        W=W,
        U=U,
        b=p["b"].ravel(),
        c=p.get("c", np.zeros(0, F4)),
        V=np.ascontiguousarray(p["V"].T),
        d=p["d"],
        flat=flat,
        gates=flat.reshape(G, H),
        flat_parts=parts,
        parts=parts.reshape(G, H),
        state=state.reshape(-1, H),
        flat_state=state,
    )


@compiled
def step(net: Net, x: Array, row: int) -> None:
    """Turn net.state into the next, with inputs x[row]."""
    a, h = net.gates, net.state
    H = h.shape[1]
    for j in range(len(net.b)):
        net.flat[0, j] = net.b[j]
    add_product(x, row, net.W, net.flat, 0)
    if net.kind == GRU:
        _gru(net, H)
        return
    add_product(h, 0, net.U, net.flat, 0)
    if net.kind == TANH:
        tanh(a, 0)
        for j in range(H):
            h[0, j] = a[0, j]
    elif net.kind == RELU:
        for j in range(H):
            h[0, j] = min(max(a[0, j], F4(0.0)), MOST_UNITS)
    else:
        _lstm(net, H)


@compiled
def _gru(net: Net, H: int) -> None:
    a, u, h = net.gates, net.parts, net.state
    for j in range(H):
        u[0, j], u[1, j], u[2, j] = F4(0.0), F4(0.0), net.c[j]
    add_product(h, 0, net.U, net.flat_parts, 0)
    for j in range(H):
        a[0, j] += u[0, j]
        a[1, j] += u[1, j]
    sigmoid(a, 0)
    sigmoid(a, 1)
    for j in range(H):
        a[2, j] += a[0, j] * u[2, j]
    tanh(a, 2)
    for j in range(H):
        h[0, j] = a[2, j] + a[1, j] * (h[0, j] - a[2, j])


@compiled
def _lstm(net: Net, H: int) -> None:
    a, state, k = net.gates, net.state, net.parts
    sigmoid(a, 0)
    sigmoid(a, 1)
    tanh(a, 2)
    sigmoid(a, 3)
    for j in range(H):
        memory = a[1, j] * state[1, j] + a[0, j] * a[2, j]
        k[0, j] = state[1, j] = min(max(memory, -MOST_MEMORY), MOST_MEMORY)
    tanh(k, 0)
    for j in range(H):
        state[0, j] = a[3, j] * k[0, j]


@compiled
def add_product(rows: Array, row: int, matrix: Array, out: Array, to: int) -> None:
    """Let out[to] (m,) += x (n or more,) matrix (n, m), x being rows[row]; four rows of the matrix at a time."""
    n, m = matrix.shape
    whole = n - n % 4
    for k in range(0, whole, 4):
        p, q, r, s = rows[row, k], rows[row, k + 1], rows[row, k + 2], rows[row, k + 3]
        for j in range(m):
            out[to, j] += p * matrix[k, j] + q * matrix[k + 1, j] + (r * matrix[k + 2, j] + s * matrix[k + 3, j])
    for k in range(whole, n):
        p = rows[row, k]
        for j in range(m):
            out[to, j] += p * matrix[k, j]


@compiled
def sigmoid(x: Array, gate: int) -> None:
    """Of x[gate], in place: (1 + tanh(x / 2)) / 2."""
    for j in range(x.shape[1]):
        x[gate, j] *= HALF
    tanh(x, gate)
    for j in range(x.shape[1]):
        x[gate, j] = HALF + HALF * x[gate, j]


@compiled
def tanh(x: Array, gate: int) -> None:
    """Of x[gate], in place."""
    for j in range(x.shape[1]):
        u = min(max(x[gate, j], -REACH), REACH)
        z = u * u
        above = u * ((((P4 * z + P3) * z + P2) * z + P1) * z + P0)
        below = (((Q4 * z + Q3) * z + Q2) * z + Q1) * z + ONE
        x[gate, j] = min(max(above / below, -ONE), ONE)
