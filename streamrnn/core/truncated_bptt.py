"""Back-propagation through time over one window: the state comes in, the gradient stops at its start.

Truncated BPTT learns a long sequence window by window. The state is carried from one to the next, so the forecast
may depend on all the past, but the gradient goes back k2 steps at most, from the labels of the last k1 steps
(Williams and Peng 1990). With k1 = k2 = T it is BPTT in full.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import Cell, Room, by_part, by_row, room_for, stepping, tapes_for, with_ones
from streamrnn.core.losses import rows_that_count, squared_error

OUTPUT = ("V", "d")  # o = h V + d
NO_INPUT = slice(0)
BLOCK, LEAST_ROWS = 32_768, 32  # a step's hidden states that are computed together: numbers, and rows at least


@dataclass(slots=True)
class WindowGradients:
    """What one window taught."""

    loss: float
    parameters: Parameters  # dL/dθ, the same names as the parameters, in their order
    inputs: Array  # dL/dx (T, B, ..) of those inputs for which it was asked
    state: Array  # the state after the window (B, S)


def windows(T: int, k1: int, k2: int) -> Iterator[tuple[int, int, int]]:
    """Cut T steps: an update every k1 steps, each from a window of the last k2.

    Yields start, first, end: the window is start..end, the labels of first..end are learnt. Requires 0 < k1 <= k2.
    """
    for first in range(0, T, k1):
        end = min(first + k1, T)
        yield max(0, end - k2), first, end


def forward_window(
    cell: Cell, p: Parameters, inputs: Array, state: Array, present: Array | None = None
) -> tuple[Array, list[Array]]:
    """Run the cell over a window.

    inputs (T, B, D + 1) as with_ones makes them, state (C, B, H) -> states (T + 1, C, B, H), the first being `state`,
    and a tape (K, B, H) a step. Where present (T, B, 1) is false a row has no step: its state stays as it is.
    """
    xp, T, B = array_module(inputs), *inputs.shape[:2]
    states, tapes = xp.empty((T + 1, *state.shape), inputs.dtype), tapes_for(cell, T, state)
    states[0] = state
    xw = xp.empty((cell.gates, *state.shape[1:]), inputs.dtype)
    step_forward(cell, stepping(cell, p, B), inputs, xw, states, tapes, present)
    return states, tapes


def step_forward(
    cell: Cell,
    q: Parameters,
    inputs: Array,
    xw: Array,
    states: Array,
    tapes: list[Array],
    present: Array | None = None,
) -> None:
    """All steps of a window, one after the other: fills states but the first, and tapes.

    q: parameters as `stepping` makes them; xw (G, B, H) is room, the rest as in forward_window. Nothing is allocated
    on the way.
    """
    xp = array_module(inputs)
    for t, tape in enumerate(tapes):
        xp.matmul(inputs[t], q["Wb"], out=xw)
        cell.forward(q, xw, states[t], states[t + 1], tape)
        if present is not None:
            xp.copyto(states[t + 1], states[t], where=~present[t])


def backward_window(
    cell: Cell,
    p: Parameters,
    inputs: Array,
    states: Array,
    tapes: list[Array],
    d_hidden: Array,
    d_last: Array | None = None,
    present: Array | None = None,
    columns: slice = NO_INPUT,
) -> tuple[Parameters, Array, Array]:
    """The gradient of forward_window: that of the cell's parameters, dL/dx (T, B, ..) of these inputs, dL/ds_0.

        dL/ds_t = ∂L/∂s_t + dL/ds_{t+1} ds_{t+1}/ds_t,   dL/dθ = sum over t

    d_hidden (T, B, H) holds ∂L/∂h after each step, what the loss says of it directly, and is turned into dL/dh in
    place; d_last (C, B, H) is what it says of the last state besides.
    """
    xp, (T, B, with_one) = array_module(inputs), inputs.shape
    grads = {name: xp.zeros_like(value) for name, value in p.items() if name not in ("W", "b", *OUTPUT)}
    grads["Wb"] = xp.zeros((cell.gates, with_one, p["b"].shape[1]), inputs.dtype)
    ds = xp.zeros(states.shape[1:], inputs.dtype) if d_last is None else d_last.copy()
    room = room_for(p, B, columns)
    d_inputs = xp.empty((T, B, room.d_x.shape[2]), inputs.dtype)
    step_backward(cell, inputs, states, tapes, d_hidden, ds, d_inputs, grads, room, present)
    Wb = grads.pop("Wb")
    return grads | {"W": Wb[:, :-1], "b": Wb[:, -1]}, d_inputs, ds


def step_backward(
    cell: Cell,
    inputs: Array,
    states: Array,
    tapes: list[Array],
    d_hidden: Array,
    ds: Array,
    d_inputs: Array,
    grads: Parameters,
    room: Room,
    present: Array | None = None,
) -> None:
    """All steps of a window from the last to the first: turns d_hidden and ds, fills d_inputs, adds to grads.

    Arrays as in backward_window; ds (C, B, H) comes as that of the last state and goes as that of the first. Nothing
    is allocated on the way.
    """
    xp = array_module(inputs)
    after, masked = (ds, ds[0]) if present is None else (xp.empty_like(ds), xp.empty_like(ds[0]))
    for t in reversed(range(len(tapes))):
        dh_next = d_hidden[t]
        dh_next += ds[0]
        if present is not None:
            absent = ~present[t]
            after[0], after[1:] = dh_next, ds[1:]
            masked[...] = dh_next
            for each in (masked, ds[1:]):
                xp.copyto(each, 0.0, where=absent)
            dh_next = masked
        cell.backward(dh_next, ds, states[t], states[t + 1], tapes[t], room.d_xw, grads, room)
        if present is not None:
            xp.copyto(ds, after, where=absent)  # s' = s
        grads["Wb"] += xp.matmul(inputs[t].T, room.d_xw, out=room.Wb_step)  # xw = [x, 1] Wb
        if d_inputs.shape[2]:
            xp.matmul(room.d_xw, room.W_T, out=room.d_x).sum(0, out=d_inputs[t])


def output_backward(p: Parameters, hidden: Array, d_output: Array) -> tuple[Parameters, Array]:
    """The gradient of o = h V + d: that of V and d, and dL/dh (N, H). hidden (N, H), d_output (N, P)."""
    V = p["V"].T
    d_hidden = d_output * V if len(V) == 1 else d_output @ V  # products of one column are slow
    return {"V": hidden.T @ d_output, "d": d_output.sum(0)}, d_hidden


def window_gradients(
    cell: Cell,
    p: Parameters,
    inputs: Array,
    state: Array,
    target: Array,
    weight: Array,
    columns: slice = NO_INPUT,
) -> WindowGradients:
    """Loss of the outputs o_t = h_t V + d over a window, and its gradients.

    inputs (T, B, D), state (B, S), target and weight (T, B, P). Errors with weight 0 do not count. columns: those of
    the D inputs whose gradient is wanted. Rows are taken in blocks whose arrays stay in the cache.
    """
    T, H = len(inputs), p["U"].shape[2]
    counted, blocks = rows_that_count(weight), []
    for rows in blocks_of_rows(state, H):
        x, first = with_ones(inputs[:, rows]), by_part(state[rows], H)
        states, tapes = forward_window(cell, p, x, first)
        after = states[1:, 0].reshape(-1, H)
        output = after @ p["V"] + p["d"]
        y, w = (array[:, rows].reshape(output.shape) for array in (target, weight))
        loss, d_output = squared_error(output, y, w, counted)
        grads, d_hidden = output_backward(p, after, d_output)
        d_hidden = d_hidden.reshape(states[1:, 0].shape)
        of_cell, d_inputs, _ = backward_window(cell, p, x, states, tapes, d_hidden, columns=columns)
        grads |= of_cell
        blocks.append(WindowGradients(loss, {name: grads[name] for name in p}, d_inputs, by_row(states[T])))
    return blocks[0] if len(blocks) == 1 else _joined(blocks)


def blocks_of_rows(rows: Array, H: int) -> list[slice]:
    """Rows (B, ..) of H hidden units in blocks of equal size whose arrays stay in the cache; on a device all in one.

    A block is a single row, which would round differently, only where there is no other.
    """
    B = len(rows)
    n = -(-B // max(LEAST_ROWS, BLOCK // H)) if array_module(rows) is np else 1
    return [slice(i * B // n, (i + 1) * B // n) for i in range(n)]


def _joined(blocks: list[WindowGradients]) -> WindowGradients:
    """What blocks of rows taught together."""
    xp, first = array_module(blocks[0].state), blocks[0]
    return WindowGradients(
        sum(each.loss for each in blocks),
        {
            name: sum((each.parameters[name] for each in blocks[1:]), value)
            for name, value in first.parameters.items()
        },
        xp.concatenate([each.inputs for each in blocks], axis=1),
        xp.concatenate([each.state for each in blocks]),
    )
