"""Back-propagation through time over one window: the state comes in, the gradient stops at its start.

Truncated BPTT learns a long sequence window by window. The hidden state is carried from one to the next, so the
forecast may depend on all the past, but the gradient goes back T steps at most (Williams and Peng 1990).
"""

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
    inputs: Array  # dL/dx (T, B, D)
    state: Array  # the hidden state after the window (B, H)


def forward_window(cell: Cell, p: Parameters, inputs: Array, state: Array) -> tuple[Array, list[Tape]]:
    """Run the cell over a window.

    inputs (T, B, D), state (B, H) -> hidden states (T + 1, B, H), the first being `state`, and a tape a step.
    """
    T, B, D = inputs.shape
    H = state.shape[1]
    xw = (inputs.reshape(T * B, D) @ p["W"] + p["b"]).reshape(T, B, -1)  # input side of all steps at once
    hidden = array_module(inputs).empty((T + 1, B, H), inputs.dtype)
    hidden[0] = state
    tapes = []
    for t in range(T):
        hidden[t + 1], tape = cell.forward(p, xw[t], hidden[t])
        tapes.append(tape)
    return hidden, tapes


def window_gradients(
    cell: Cell, p: Parameters, inputs: Array, state: Array, target: Array, weight: Array
) -> WindowGradients:
    """Loss of the outputs o_t = h_t V + d over a window, and its gradients.

        dL/dh_t = dL/do_t Vᵀ + dL/dh_{t+1} dh_{t+1}/dh_t,   dL/dθ = sum over t

    inputs (T, B, D), state (B, H), target and weight (T, B, P). Errors with weight 0 do not count.
    """
    xp = array_module(inputs)
    T, B, D = inputs.shape
    H = state.shape[1]
    hidden, tapes = forward_window(cell, p, inputs, state)
    after = hidden[1:].reshape(T * B, H)
    output = after @ p["V"] + p["d"]
    loss, d_output = squared_error(output, target.reshape(T * B, -1), weight.reshape(T * B, -1))

    grads = {name: xp.zeros_like(value) for name, value in p.items() if name not in ("W", "b", *OUTPUT)}
    grads["V"] = after.T @ d_output  # o = h V + d
    grads["d"] = d_output.sum(0)
    d_hidden = (d_output @ p["V"].T).reshape(T, B, H)
    d_xw = xp.empty((T, B, p["W"].shape[1]), inputs.dtype)
    carried = xp.zeros((B, H), inputs.dtype)
    for t in reversed(range(T)):
        carried += d_hidden[t]
        d_xw[t], carried = cell.backward(p, carried, hidden[t], tapes[t], grads)
    flat = d_xw.reshape(T * B, -1)
    grads["W"] = inputs.reshape(T * B, D).T @ flat  # xw = x W + b, all steps at once
    grads["b"] = flat.sum(0)
    d_inputs = (flat @ p["W"].T).reshape(T, B, D)
    return WindowGradients(loss, {name: grads[name] for name in p}, d_inputs, hidden[T])
