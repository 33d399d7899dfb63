"""One to many: a network's output is its next input, for a number of steps or until a stop symbol.

y_1 = net(x),   y_{t+1} = net(feedback(y_t))
"""

from collections.abc import Callable
from typing import TypeAlias

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.losses import Loss
from streamrnn.core.network import Gradients, Network, State, mean_loss
from streamrnn.errors import StreamRNNError

Feedback: TypeAlias = Callable[[Array], Array]  # outputs (B, O) -> the next inputs (B, D)


def likeliest_symbol(y: Array) -> Array:
    """The largest of each row's outputs (B, O) as 1, the others as 0: the symbol that it names, as an input."""
    xp = array_module(y)
    return (xp.arange(y.shape[1]) == y.argmax(1)[:, None]).astype(y.dtype)


def generate(
    network: Network,
    x: Array,
    steps: int,
    state: State | None = None,
    feedback: Feedback | None = None,
    stop: int | None = None,
) -> tuple[Array, Array, State]:
    """Run on from one step's inputs x (B, D), each output being the next input, or what feedback makes of it.

    With a stop symbol a sequence ends with the output that feedback turns into it (feedback is then
    `likeliest_symbol` where none is given). Returns y (B, n, O), n <= steps, 0 behind a sequence's end; lengths (B,);
    and the state after the last input of each. Raises StreamRNNError where outputs do not fit as inputs.
    """
    if steps < 1:
        raise StreamRNNError(f"generate: steps is {steps}, expected at least 1")
    if feedback is None:
        feedback = likeliest_symbol if stop is not None else _as_it_is(network)
    xp = array_module(network.parameters["weight_ih_l0"])
    going = xp.ones(len(x), bool)
    made, lengths = [], xp.zeros(len(x), "int64")
    for _ in range(steps):
        run = network.run(x[:, None], state, lengths=going.astype("int64"))
        y, state = run.y[:, 0], run.state  # of sequences that have ended y is 0, the state stays
        made.append(y)
        lengths += going
        x = feedback(y)
        if stop is not None:
            going = going & (x.argmax(1) != stop)
            if not bool(going.any()):
                break
    assert state is not None
    return xp.stack(made, axis=1), lengths, state


def generated_gradients(
    network: Network, x: Array, target: Array, loss: str | Loss = "squared", state: State | None = None
) -> tuple[float, Gradients]:
    """The mean loss of what is generated from x (B, D) against target (B, n, O), and its gradients through all steps.

        dL/dy_t = ∂L/∂y_t + dL/dx_{t+1},   for x_{t+1} = y_t

    The gradients of inputs and state are those of x and of the first state.
    """
    _as_it_is(network)
    xp, runs = array_module(network.parameters["weight_ih_l0"]), []
    for _ in range(target.shape[1]):
        runs.append(network.run(x[:, None], state))
        x, state = runs[-1].y[:, 0], runs[-1].state
    y = xp.concatenate([run.y for run in runs], axis=1)  # (B, n, O)
    value, d_y = mean_loss(y, target, loss, xp.ones(y.shape[:2], y.dtype))
    total: Parameters = {}
    made = network.back(runs[-1], d_y[:, -1:])
    for t in reversed(range(len(runs))):
        total = {name: g + total[name] if total else g for name, g in made.parameters.items()}
        if t:
            made = network.back(runs[t - 1], d_y[:, t - 1 : t] + made.inputs, made.state)
    made.parameters = total
    return value, made


def _as_it_is(network: Network) -> Feedback:
    shape = network.shape
    shown = shape.outputs or shape.directions * shape.hidden
    if shown != shape.inputs:
        found = f"the network has {shown} outputs and {shape.inputs} inputs"
        raise StreamRNNError(f"generate: {found}: no output can be the next input. Make them equal, or give feedback")
    return lambda y: y
