"""Back-propagation through time over one window: the state comes in, the gradient stops at its start.

Truncated BPTT learns a long sequence window by window. The state is carried from one to the next, so the forecast
may depend on all the past, but the gradient goes back k2 steps at most, from the labels of the last k1 steps
(Williams and Peng 1990). With k1 = k2 = T it is BPTT in full.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import Cell, Tape
from streamrnn.core.losses import squared_error

OUTPUT = ("V", "d")  # o = h V + d


@dataclass(slots=True)
class WindowGradients:
    """What one window taught."""

    loss: float
    parameters: Parameters  # dL/dθ, the same names as the parameters
    input_side: Array  # dL/dxw (G, T, B, H), of xw = x W + b; see input_gradient
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
) -> tuple[Array, list[Tape]]:
    """Run the cell over a window.

    inputs (T, B, D), state (B, S) -> states (T + 1, B, S), the first being `state`, and a tape a step. Where present
    (T, B, 1) is false a row has no step: its state stays as it is.
    """
    T, B, D = inputs.shape
    xp = array_module(inputs)
    G, H = p["b"].shape
    flat = (inputs.reshape(T * B, D) @ p["W"]).reshape(G, T, B * H)  # input side of all steps at once
    flat += xp.tile(p["b"], B)[:, None]
    xw = flat.reshape(G, T, B, H)
    states = xp.empty((T + 1, *state.shape), inputs.dtype)
    states[0] = state
    tapes = []
    for t in range(T):
        states[t + 1], tape = cell.forward(p, xw[:, t], states[t])
        if present is not None:
            states[t + 1] = xp.where(present[t], states[t + 1], states[t])
        tapes.append(tape)
    return states, tapes


def backward_window(
    cell: Cell,
    p: Parameters,
    inputs: Array,
    states: Array,
    tapes: list[Tape],
    d_states: Array,
    present: Array | None = None,
) -> tuple[Parameters, Array, Array]:
    """The gradient of forward_window: that of the cell's parameters, dL/dxw (G, T, B, H), dL/ds of the first state.

        dL/ds_t = ∂L/∂s_t + dL/ds_{t+1} ds_{t+1}/ds_t,   dL/dθ = sum over t

    d_states (T, B, S) holds ∂L/∂s_t, what the loss says of the state after each step directly, and is turned into
    dL/ds_t in place.
    """
    xp = array_module(inputs)
    T, B, D = inputs.shape
    grads = {name: xp.zeros_like(value) for name, value in p.items() if name not in ("W", "b", *OUTPUT)}
    G, _, H = p["W"].shape
    d_xw = xp.empty((G, T, B, H), inputs.dtype)
    carried = xp.zeros(states.shape[1:], inputs.dtype)
    for t in reversed(range(T)):
        ds = d_states[t]
        ds += carried
        stepped = ds if present is None else ds * present[t]
        d_xw[:, t], carried = cell.backward(p, stepped, states[t], tapes[t], grads)
        if present is not None:
            carried += ds * ~present[t]  # s_{t+1} = s_t
    flat = d_xw.reshape(G, T * B, H)
    grads["W"] = inputs.reshape(T * B, D).T @ flat  # xw = x W + b, all steps at once
    grads["b"] = xp.ones(T * B, flat.dtype) @ flat  # the sum over steps and rows
    return grads, d_xw, carried


def input_gradient(p: Parameters, d_xw: Array, columns: slice = slice(None)) -> Array:
    """dL/dx (..., D) of xw = x W + b, for these of the inputs alone. d_xw (G, ..., H)."""
    G, *shape, H = d_xw.shape
    W = p["W"][:, columns]
    return (d_xw.reshape(G, -1, H) @ W.transpose(0, 2, 1)).sum(0).reshape(*shape, W.shape[1])


def output_backward(p: Parameters, hidden: Array, d_output: Array) -> tuple[Parameters, Array]:
    """The gradient of o = h V + d: that of V and d, and dL/dh (N, H). hidden (N, H), d_output (N, P)."""
    V = p["V"].T
    d_hidden = d_output * V if len(V) == 1 else d_output @ V  # products of one column are slow
    return {"V": hidden.T @ d_output, "d": d_output.sum(0)}, d_hidden


def from_hidden(d_hidden: Array, S: int) -> Array:
    """∂L/∂s (T, B, S) of a loss that sees only the hidden states: ∂L/∂h (T, B, H), itself where S = H."""
    *shape, H = d_hidden.shape
    if H == S:
        return d_hidden
    d_states = array_module(d_hidden).zeros((*shape, S), d_hidden.dtype)
    d_states[..., :H] = d_hidden
    return d_states


def window_gradients(
    cell: Cell, p: Parameters, inputs: Array, state: Array, target: Array, weight: Array
) -> WindowGradients:
    """Loss of the outputs o_t = h_t V + d over a window, and its gradients.

    inputs (T, B, D), state (B, S), target and weight (T, B, P). Errors with weight 0 do not count.
    """
    T, B, _ = inputs.shape
    H = p["U"].shape[2]
    states, tapes = forward_window(cell, p, inputs, state)
    after = states[1:, :, :H].reshape(T * B, H)
    output = after @ p["V"] + p["d"]
    loss, d_output = squared_error(output, target.reshape(T * B, -1), weight.reshape(T * B, -1))
    of_output, d_hidden = output_backward(p, after, d_output)
    d_states = from_hidden(d_hidden.reshape(T, B, H), states.shape[2])
    grads, d_xw, _ = backward_window(cell, p, inputs, states, tapes, d_states)
    grads |= of_output
    return WindowGradients(loss, {name: grads[name] for name in p}, d_xw, states[T])
