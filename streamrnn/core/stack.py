"""Layers upon layers, each in one direction or in two: passes over a whole sequence, forward and back.

A layer is a list of the parameters of its directions: one, or two of which the second reads the sequence from its
end. What the directions show at a step is joined and is the input of the layer above. A pass is one layer in one
direction; passes are numbered layer by layer, forward before backward.

Axes as everywhere: T steps, B rows, D inputs, H hidden units of a pass, C parts of its state.
"""

from dataclasses import dataclass
from typing import TypeAlias

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import Cell, with_ones
from streamrnn.core.truncated_bptt import backward_window, forward_window

Layers: TypeAlias = list[list[Parameters]]

WAYS = (slice(None), slice(None, None, -1))  # of a layer's first direction through the steps, and of its second


@dataclass(slots=True)
class Pass:
    """What one pass remembers for the way back, in the order in which it read the steps."""

    inputs: Array  # (T, B, D + 1) with ones
    states: Array  # (T + 1, C, B, H)
    tapes: list[Array]  # (K, B, H) a step
    present: Array | None  # (T, B, 1)


@dataclass(slots=True)
class StackGradients:
    """What the loss says of everything below it; lists have an entry a pass."""

    parameters: list[Parameters]
    inputs: Array  # dL/dx (T, B, D)
    states: list[Array]  # dL/ds of the first state (C, B, H)
    hidden: list[Array]  # dL/dh after each step (T, B, H), as time goes


def forward_stack(
    cell: Cell, layers: Layers, inputs: Array, states: list[Array], present: Array | None = None
) -> tuple[Array, list[Pass]]:
    """Run all layers over a sequence.

    inputs (T, B, D), a first state (C, B, H) a pass -> what the top layer shows (T, B, directions x H), the passes.
    Where present (T, B, 1) is false a row has no step: its states stay, for a backward pass until its own last step.
    """
    xp = array_module(inputs)
    passes: list[Pass] = []
    for layer in layers:
        shown: list[Array] = []
        for p, way in zip(layer, WAYS, strict=False):
            x, there = with_ones(inputs[way]), None if present is None else present[way]
            made, tapes = forward_window(cell, p, x, states[len(passes)], there)
            passes.append(Pass(x, made, tapes, there))
            shown.append(made[1:, 0][way])
        inputs = shown[0] if len(shown) == 1 else xp.concatenate(shown, axis=2)
    return inputs, passes


def backward_stack(
    cell: Cell, layers: Layers, passes: list[Pass], d_shown: Array, d_after: list[Array]
) -> StackGradients:
    """The gradient of forward_stack, from the top layer down.

    d_shown (T, B, directions x H): that of what the top layer shows; d_after, a (C, B, H) a pass: of its last state.
    """
    xp, number = array_module(d_shown), len(passes)
    made = StackGradients([], d_shown, [], [])
    for layer in reversed(layers):
        T, B, with_one = passes[number - 1].inputs.shape
        d_inputs = xp.zeros((T, B, with_one - 1), d_shown.dtype)
        for direction, p in reversed(list(enumerate(layer))):  # the lists of `made` are filled from their ends
            number -= 1
            one, way, H = passes[number], WAYS[direction], p["U"].shape[2]
            d_hidden = d_shown[:, :, direction * H : (direction + 1) * H][way].copy()
            given = one.inputs, one.states, one.tapes, d_hidden, d_after[number], one.present
            grads, d_x, d_first = backward_window(cell, p, *given, columns=slice(None))
            d_inputs += d_x[way]
            made.parameters.insert(0, grads)
            made.states.insert(0, d_first)
            made.hidden.insert(0, d_hidden[way])
        d_shown = made.inputs = d_inputs
    return made
