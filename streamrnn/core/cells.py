"""Recurrent cells: one step forward, and the same step backward, line by line in reverse.

The input's side of a step is the same for all cells, and not theirs:

    q = stepping(cell, p, B)            once for many steps
    xw = [x, 1] Wb                      x W + b, by the caller
    forward(q, xw, s, s', tape)

The state s (C, B, H) begins with the hidden state h, which is what the cell shows. For most cells that is all of it,
C = 1; the LSTM's memory c is its second part.

A step makes no arrays: it fills those that its caller has. Its tape holds what backward needs of forward's
intermediate values, K arrays (B, H) one behind the other, in which they are also computed.

Axes: B rows, D inputs, H hidden units, G gates. Parameters of every cell: W (G, D, H), U (G, H, H), b (G, H). Gates
and parts come first, so that the numbers of each lie together, and what is done to them runs over one block; for the
same reason forward has the gates that are sigmoids before the others.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module


@dataclass(frozen=True, slots=True)
class Room:
    """Where backward computes what nobody reads after its step; `room_for` makes it."""

    U_T: Array  # (G, H, H) each gate's U transposed: the product with a view of U takes half as long again
    W_T: Array  # (G, H, ..) the same of W, for those of the inputs whose gradient is wanted
    d_xw: Array  # (G, B, H)
    d_hu: Array  # (G, B, H)
    d_h: Array  # (G, B, H) by gate
    d_x: Array  # (G, B, ..) by gate
    U_step: Array  # (G, H, H) dL/dU of the step
    Wb_step: Array  # (G, D + 1, H)
    spare: Array  # (G, B, H)
    met: Array  # (B, H) bool: where a limit is
    ones: Array  # (B,) the product with them is the sum over rows


@dataclass(frozen=True, slots=True)
class Cell:
    """The functions of one kind of cell.

    forward(q, xw (G, B, H), s (C, B, H), s' (C, B, H), tape (K, B, H)) fills s' and the tape.
    backward(dh' (B, H), ds (C, B, H), s, s', tape, dxw (G, B, H), grads, room) fills dxw and adds dU (and other
    recurrent parameters' gradients) to grads. ds comes with what the loss says of s' behind h', and goes as dL/ds.
    W and b get their gradients from dxw, by the caller.
    """

    name: str
    gates: int  # G
    states: int  # C
    kept: int  # K
    sigmoids: tuple[int, ...]  # which gates are
    forward: Callable[[Parameters, Array, Array, Array, Array], None]
    backward: Callable[[Array, Array, Array, Array, Array, Array, Parameters, Room], None]


def by_part(rows: Array, H: int) -> Array:
    """States as they are stored, (B, S) with S = C·H, as the cells have them, (C, B, H)."""
    B, S = rows.shape
    return array_module(rows).ascontiguousarray(rows.reshape(B, S // H, H).transpose(1, 0, 2))


def by_row(parts: Array) -> Array:
    """The inverse of by_part."""
    C, B, H = parts.shape
    return parts.transpose(1, 0, 2).reshape(B, C * H)


def stepping(cell: Cell, p: Parameters, B: int) -> Parameters:
    """Parameters as forward takes them for steps of so many rows: done once, what each step would have to do.

    W and b are one matrix Wb (G, D + 1, H), for inputs that end in a 1. In Wb and U gates that are sigmoids come
    first, and halved, which is exact: see sigmoid_of_double. A vector c is written out for each row.
    """
    xp = array_module(p["U"])

    def ordered(matrices: Array) -> Array:
        others = (gate for gate in range(cell.gates) if gate not in cell.sigmoids)
        halved = [0.5 * matrices[gate] for gate in cell.sigmoids]
        return xp.stack([*halved, *(matrices[gate] for gate in others)])

    made = {"Wb": ordered(xp.concatenate([p["W"], p["b"][:, None]], axis=1)), "U": ordered(p["U"])}
    return made if "c" not in p else made | {"c": xp.tile(p["c"], (B, 1))}


def tapes_for(cell: Cell, T: int, like: Array) -> list[Array]:
    """A tape (K, B, H) for each of so many steps of states like this one (C, B, H), still empty."""
    xp, shape = array_module(like), (cell.kept, *like.shape[1:])
    return [xp.empty(shape, like.dtype) for _ in range(T)]


def room_for(p: Parameters, B: int, columns: slice) -> Room:
    """Room for backward steps of so many rows with these parameters; columns: the inputs whose gradient is wanted."""
    U, W = p["U"], p["W"][:, columns]
    xp, (G, H, _), D = array_module(U), U.shape, p["W"].shape[1]

    def empty(*shape: int) -> Array:
        return xp.empty(shape, U.dtype)

    return Room(
        U_T=xp.ascontiguousarray(U.transpose(0, 2, 1)),
        W_T=xp.ascontiguousarray(W.transpose(0, 2, 1)),
        d_xw=empty(G, B, H),
        d_hu=empty(G, B, H),
        d_h=empty(G, B, H),
        d_x=empty(G, B, W.shape[1]),
        U_step=empty(G, H, H),
        Wb_step=empty(G, D + 1, H),
        spare=empty(G, B, H),
        met=xp.empty((B, H), bool),
        ones=xp.ones(B, U.dtype),
    )


def with_ones(x: Array) -> Array:
    """Inputs (..., D) with a 1 behind the last, so that one product gives x W + b: (..., D + 1)."""
    *shape, D = x.shape
    made = array_module(x).ones((*shape, D + 1), x.dtype)
    made[..., :D] = x
    return made


def one_step(cell: Cell, p: Parameters, x: Array, state: Array) -> tuple[Array, Array]:
    """A step into arrays of its own: x (B, D), s (C, B, H) -> s' (C, B, H) and the tape (K, B, H)."""
    q, (tape,) = stepping(cell, p, len(x)), tapes_for(cell, 1, state)
    after = array_module(state).empty_like(state)
    cell.forward(q, with_ones(x) @ q["Wb"], state, after, tape)
    return after, tape


def sigmoid_of_double(x: Array) -> None:
    """1 / (1 + exp(-2x)) as (1 + tanh(x)) / 2, in place: never overflows, and tanh is vectorised."""
    array_module(x).tanh(x, out=x)
    x *= 0.5
    x += 0.5


def slope_of_tanh(t: Array, out: Array) -> Array:
    """dt/da = 1 - t² of t = tanh(a)."""
    xp = array_module(t)
    xp.multiply(t, t, out=out)
    return xp.subtract(1.0, out, out=out)


def product_backward(d_hu: Array, h: Array, dh: Array, grads: Parameters, room: Room) -> None:
    """The gradient of hu = h U: of d_hu (G, B, H) that of U, added to grads, and dh (B, H)."""
    xp = array_module(h)
    grads["U"] += xp.matmul(h.T, d_hu, out=room.U_step)
    xp.matmul(d_hu, room.U_T, out=room.d_h).sum(0, out=dh)


def tanh_forward(q: Parameters, xw: Array, state: Array, state_next: Array, _tape: Array) -> None:
    """One step of the textbook's cell (Elman 1990).

        h' = tanh(x W + b + h U)

    xw = x W + b (1, B, H), h (1, B, H) -> h' (1, B, H). The tape is empty: h' is enough.
    """
    xp = array_module(state)
    a = xp.matmul(state, q["U"], out=state_next)
    a += xw
    xp.tanh(a, out=state_next)


def tanh_backward(
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    _tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
) -> None:
    """The gradient of tanh_forward: dh' (B, H) -> dxw (1, B, H), ds (1, B, H)."""
    slope_of_tanh(state_next, out=dxw)
    dxw *= dh_next  # h' = tanh(a)
    product_backward(dxw, state[0], ds[0], grads, room)  # a = xw + h U


def relu_forward(
    q: Parameters, xw: Array, state: Array, state_next: Array, _tape: Array, limit: float = math.inf
) -> None:
    """One step of rectified units (Nair and Hinton 2010), clipped where there is a limit (Hannun et al. 2014).

        h' = min(max(0, x W + b + h U), limit)

    xw = x W + b (1, B, H), h (1, B, H) -> h' (1, B, H). The tape is empty: h' is enough.
    """
    xp = array_module(state)
    a = xp.matmul(state, q["U"], out=state_next)
    a += xw
    xp.clip(a, 0.0, limit, out=state_next)


def relu_backward(
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    _tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
    limit: float = math.inf,
) -> None:
    """The gradient of relu_forward: dh' (B, H) -> dxw (1, B, H), ds (1, B, H)."""
    xp, da, h_next = array_module(state), dxw[0], state_next[0]
    da[...] = dh_next  # h' = min(max(0, a), limit)
    xp.copyto(da, 0.0, where=xp.less_equal(h_next, 0.0, out=room.met))
    xp.copyto(da, 0.0, where=xp.greater_equal(h_next, limit, out=room.met))
    product_backward(dxw, state[0], ds[0], grads, room)  # a = xw + h U


def gru_forward(q: Parameters, xw: Array, state: Array, state_next: Array, tape: Array) -> None:
    """One step of a gated recurrent unit (Cho et al. 2014; reset gate after the product, as in cuDNN).

        r = sigmoid(x Wr + br + h Ur)
        z = sigmoid(x Wz + bz + h Uz)
        n = tanh(x Wn + bn + r * (h Un + c))
        h' = (1 - z) * n + z * h

    xw = x W + b (3, B, H) in the order r, z, n; h (1, B, H) -> h' (1, B, H) and the tape r, z, m = h Un + c, n.
    """
    xp, h, h_next = array_module(state), state[0], state_next[0]
    rz, (r, z, m, n) = tape[:2], tape
    xp.matmul(h, q["U"], out=tape[:3])  # h U
    rz += xw[:2]
    sigmoid_of_double(rz)
    m += q["c"]
    xp.multiply(r, m, out=n)
    n += xw[2]
    xp.tanh(n, out=n)
    xp.subtract(h, n, out=h_next)
    h_next *= z
    h_next += n  # n + z (h - n)


def gru_backward(
    dh_next: Array, ds: Array, state: Array, state_next: Array, tape: Array, dxw: Array, grads: Parameters, room: Room
) -> None:
    """The gradient of gru_forward: dh' (B, H) -> dxw (3, B, H), ds (1, B, H)."""
    xp, h, h_next, dh = array_module(state), state[0], state_next[0], ds[0]
    (r, z, m, n), (dr, dz, dm), dn, spare = tape, room.d_hu, dxw[2], room.spare[0]
    xp.subtract(1.0, z, out=dn)
    dn *= dh_next
    xp.subtract(h_next, n, out=dz)
    dz *= dn  # h' = n + z (h - n), z = sigmoid(...): dh' (h - n) z (1 - z)
    dn *= slope_of_tanh(n, out=spare)  # n = tanh(...)
    xp.multiply(dn, r, out=dm)  # ... + r m
    xp.multiply(dm, m, out=dr)
    dr *= xp.subtract(1.0, r, out=spare)  # r = sigmoid(...): dn m r (1 - r)
    dxw[:2] = room.d_hu[:2]
    grads["c"] += room.ones @ dm  # m = h Un + c
    product_backward(room.d_hu, h, dh, grads, room)  # h U
    dh += xp.multiply(dh_next, z, out=spare)  # h' = n + z (h - n)


def lstm_forward(
    q: Parameters, xw: Array, state: Array, state_next: Array, tape: Array, limit: float = math.inf
) -> None:
    """One step of long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

        i = sigmoid(x Wi + bi + h Ui)
        f = sigmoid(x Wf + bf + h Uf)
        g = tanh(x Wg + bg + h Ug)
        o = sigmoid(x Wo + bo + h Uo)
        c' = f * c + i * g          within ±limit where there is one (Sak et al. 2014)
        h' = o * tanh(c')

    xw = x W + b (4, B, H) in the order i, f, o, g; state h, c (2, B, H) -> the next one and the tape i, f, o, g,
    k = tanh(c').
    """
    xp, (h, c), (h_next, c_next) = array_module(state), state, state_next
    a, (i, f, o, g, k) = tape[:4], tape
    xp.matmul(h, q["U"], out=a)
    a += xw
    sigmoid_of_double(tape[:3])
    xp.tanh(g, out=g)
    xp.multiply(f, c, out=c_next)
    c_next += xp.multiply(i, g, out=k)
    if limit < math.inf:
        xp.clip(c_next, -limit, limit, out=c_next)
    xp.tanh(c_next, out=k)
    xp.multiply(o, k, out=h_next)


def lstm_backward(
    dh_next: Array,
    ds: Array,
    state: Array,
    state_next: Array,
    tape: Array,
    dxw: Array,
    grads: Parameters,
    room: Room,
    limit: float = math.inf,
) -> None:
    """The gradient of lstm_forward: dh' (B, H), and dc' in the place of dc -> dxw (4, B, H), ds (2, B, H)."""
    xp, (h, c), (dh, dc), (i, f, o, g, k) = array_module(state), state, ds, tape
    (di, df, dg, do), spare, rest = dxw, room.spare[3], room.spare[:3]
    xp.subtract(1.0, tape[:3], out=rest)  # ds/da = s (1 - s) of s = sigmoid(a): i, f, o
    dk = xp.multiply(dh_next, o, out=dh)  # h' = o k
    xp.multiply(dk, k, out=do)
    do *= rest[2]  # o = sigmoid(...): dh' k o (1 - o)
    dk *= slope_of_tanh(k, out=spare)  # k = tanh(c')
    dc += dk
    if limit < math.inf:  # c' within the limit
        xp.absolute(state_next[1], out=spare)
        xp.copyto(dc, 0.0, where=xp.greater_equal(spare, limit, out=room.met))
    xp.multiply(dc, i, out=dg)  # c' = f c + i g
    xp.multiply(dg, g, out=di)
    dg *= slope_of_tanh(g, out=spare)  # g = tanh(...)
    dc *= f
    xp.multiply(dc, c, out=df)
    dxw[:2] *= rest[:2]  # i, f = sigmoid(...): dc' g i (1 - i), dc' c f (1 - f)
    product_backward(dxw, h, dh, grads, room)  # a = xw + h U


CELLS = {
    "tanh": Cell("tanh", 1, 1, 0, (), tanh_forward, tanh_backward),
    "relu": Cell("relu", 1, 1, 0, (), relu_forward, relu_backward),
    "gru": Cell("gru", 3, 1, 4, (0, 1), gru_forward, gru_backward),
    "lstm": Cell("lstm", 4, 2, 5, (0, 1, 3), lstm_forward, lstm_backward),
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
