"""A recurrent network of any number of layers, in one direction or in two, over sequences of any length.

Two functions are behind all that it does, `run` forward and `back` with the gradient. The architectures:

    one to one          forward over sequences of one step
    one to many         generate: what comes out is the next input           (core/feedback.py)
    many to one         forward with steps="last"
    many to many        forward
    of unequal lengths  one network encodes, another decodes                 (core/encoder_decoder.py)

Axes: B sequences, T steps, D inputs, O outputs, H hidden units; L layers in n directions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import CELLS, initial_cell
from streamrnn.core.fused import cell_for
from streamrnn.core.losses import LOSSES, Loss
from streamrnn.core.network_checks import (
    checked_cell,
    checked_input,
    checked_lengths,
    checked_loss,
    checked_shape,
    checked_states,
    checked_target,
    checked_weight,
    checked_windows,
)
from streamrnn.core.stack import Layers, Pass, backward_stack, forward_stack
from streamrnn.core.torch_names import (
    OUTPUT_NAMES,
    Shape,
    cell_parameters,
    output_parameters,
    shape_of,
    torch_gradients,
    torch_parameters,
)
from streamrnn.core.truncated_bptt import output_backward, windows

State: TypeAlias = list[Array] | list[tuple[Array, Array]]  # an (B, H) a pass, as PyTorch's h_n; an LSTM's are (h, c)
Lengths: TypeAlias = Array | Sequence[int]  # (B,)
Steps: TypeAlias = Literal["all", "last"]


@dataclass(slots=True)
class Run:
    """One way through the network, with all that the way back needs."""

    y: Array  # (B, T, O), or (B, O) with steps="last"; (.., n·H) without an output layer
    state: State  # after the last step of each sequence
    steps: Steps
    layers: Layers
    passes: list[Pass]
    output: Parameters | None
    top: Array  # what the output layer saw, (T, B, n·H) or (B, n·H)
    present: Array | None  # (T, B, 1): which steps there are


@dataclass(slots=True)
class Gradients:
    """What a loss says of everything that went in."""

    parameters: Parameters  # under the names of to_torch
    inputs: Array  # (B, T, D)
    state: State  # of the first state
    hidden: list[Array]  # dL/dh after each step, a (T, B, H) a pass


def mean_loss(y: Array, target: Array, loss: str | Loss, weight: Array) -> tuple[float, Array]:
    """The mean over all elements of y (..., O) that have a weight (...) above 0, and its gradient."""
    function = LOSSES[checked_loss(loss)] if isinstance(loss, str) else loss
    of_classes, O = function is LOSSES["cross_entropy"], y.shape[-1]
    target = checked_target(y, target, weight > 0, of_classes)
    if of_classes:
        target, weight = target.ravel(), weight.ravel()
    else:  # losses are divided by the number of rows: 1/O for each element makes it that of elements
        target = target.reshape(-1, O)
        weight = array_module(y).repeat(weight.reshape(-1, 1) / O, O, axis=1)
    value, d_y = function(y.reshape(-1, O), target, weight)
    return value, d_y.reshape(y.shape)


class Network:
    """Weights and their shape; calls change nothing. To learn, replace `parameters` by an optimiser's."""

    def __init__(
        self,
        cell: str = "gru",
        inputs: int = 1,
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        outputs: int | None = None,
        seed: int = 0,
        dtype: str = "float32",
    ) -> None:
        """A network with initial weights; they depend on the seed alone. outputs=None: it shows its hidden states."""
        shape = Shape(checked_cell(cell, "Network"), inputs, hidden, layers, bidirectional, outputs)
        self.shape = checked_shape(shape, dtype)
        random, n = np.random.default_rng(seed), self.shape.directions
        made: Parameters = {}
        for number, suffix in enumerate(self.shape.suffixes):
            p = initial_cell(CELLS[cell], inputs if number < n else n * hidden, hidden, random)
            made |= torch_parameters(p, cell, suffix)
        if outputs is not None:
            weight = random.standard_normal((outputs, n * hidden)) / np.sqrt(n * hidden)
            made |= dict(zip(OUTPUT_NAMES, (weight, np.zeros(outputs)), strict=True))
        self.parameters: Parameters = {name: value.astype(dtype) for name, value in made.items()}

    @classmethod
    def from_torch(cls, state_dict: Parameters, cell: str) -> "Network":
        """The network with these weights, under PyTorch's names; its arrays' type and device are theirs.

        Raises StreamRNNError where names or shapes are not those of such a network.
        """
        network = cls.__new__(cls)
        network.shape = shape_of(state_dict, checked_cell(cell, "Network.from_torch"))
        network.parameters = {name: state_dict[name].copy() for name in network.shape.arrays()}
        return network

    def to_torch(self) -> Parameters:
        """A copy of all weights under PyTorch's names and in its order."""
        return {name: value.copy() for name, value in self.parameters.items()}

    def forward(
        self, x: Array, state: State | None = None, lengths: Lengths | None = None, steps: Steps = "all"
    ) -> tuple[Array, State]:
        """The outputs and the state after the last step.

        x (B, T, D); state: that of an earlier call, None for zeros; lengths (B,): the steps that each sequence has,
        None for T. Returns y (B, T, O), 0 where a sequence has no step, or with steps="last" the output (B, O) of the
        last states. Without an output layer O is directions x H.
        """
        run = self.run(x, state, lengths, steps)
        return run.y, run.state

    def loss_and_gradients(
        self,
        x: Array,
        target: Array,
        loss: str | Loss = "squared",
        state: State | None = None,
        lengths: Lengths | None = None,
        steps: Steps = "all",
        weight: Array | None = None,
    ) -> tuple[float, Parameters, State]:
        """The mean loss over all elements of the steps that count, its gradients by name, and the state after.

        target (B, T, O), or (B, T) numbers of classes for cross-entropy; without the axis T with steps="last".
        weight (B, T), or (B,): what a step's loss is multiplied by; those of weight 0 are no part of the mean.
        """
        run = self.run(x, state, lengths, steps)
        value, d_y = self.judge(run, target, loss, weight)
        return value, self.back(run, d_y).parameters, run.state

    def gradient_flow(
        self,
        x: Array,
        target: Array,
        loss: str | Loss = "squared",
        state: State | None = None,
        lengths: Lengths | None = None,
        steps: Steps = "all",
    ) -> Array:
        """The norm of dL/dh_t after each step t, a row a pass (L x n, T): where it fades, nothing is learnt."""
        run = self.run(x, state, lengths, steps)
        hidden = self.back(run, self.judge(run, target, loss)[1]).hidden
        xp = array_module(hidden[0])
        return xp.stack([xp.sqrt((d * d).sum((1, 2))) for d in hidden])

    def truncated(
        self,
        x: Array,
        target: Array,
        k1: int,
        k2: int,
        loss: str | Loss = "squared",
        state: State | None = None,
        lengths: Lengths | None = None,
    ) -> Iterator[tuple[float, Parameters, State]]:
        """Truncated BPTT: loss, gradients and state of every k1 steps, learnt from k2 steps back.

        The state is carried across windows, the gradient is not. `parameters` may be replaced between windows: each
        is run with those of its time, from the state that earlier ones led to. With k1 = k2 = T it is BPTT in full.
        Raises StreamRNNError for a network of two directions, which needs the whole sequence.
        """
        x = checked_input(self.shape, self.parameters, x)
        checked_windows(self.shape, k1, k2, x, target)
        return self._truncated(x, target, k1, k2, loss, state, checked_lengths(x, lengths))

    def _truncated(
        self, x: Array, target: Array, k1: int, k2: int, loss: str | Loss, state: State | None, lengths: Array | None
    ) -> Iterator[tuple[float, Parameters, State]]:
        xp, B = array_module(x), len(x)
        cuts = list(windows(x.shape[1], k1, k2))
        for (start, first, end), (following, *_) in zip(cuts, [*cuts[1:], cuts[-1]], strict=True):
            there = None if lengths is None else xp.clip(lengths - start, 0, end - start)
            weight = xp.zeros((B, end - start), x.dtype)
            weight[:, first - start :] = 1.0
            run = self.run(x[:, start:end], state, there)
            value, d_y = self.judge(run, target[:, start:end], loss, weight)
            yield value, self.back(run, d_y).parameters, run.state
            state = self._shown([one.states[following - start] for one in run.passes])

    def run(self, x: Array, state: State | None = None, lengths: Lengths | None = None, steps: Steps = "all") -> Run:
        """Forward, as `forward` describes it, remembering the way."""
        x = checked_input(self.shape, self.parameters, x)
        lengths = checked_lengths(x, lengths)
        xp, T = array_module(x), x.shape[1]
        inputs, present = x.transpose(1, 0, 2), None
        if lengths is not None:
            present = (xp.arange(T)[:, None] < lengths)[:, :, None]  # (T, B, 1)
            inputs = xp.where(present, inputs, 0)  # whatever fills up a short sequence, NaN too
        layers, cell = self._layers(), cell_for(self.shape.cell, xp, endless=False)
        shown, passes = forward_stack(cell, layers, inputs, self._joined(state, x), present)
        last = [one.states[T] for one in passes]
        n = self.shape.directions
        top = shown if steps == "all" else xp.concatenate([each[0] for each in last[-n:]], axis=1)
        output = output_parameters(self.parameters) if self.shape.outputs else None
        y = top if output is None else top @ output["V"] + output["d"]
        if steps == "all":
            if present is not None:
                y = xp.where(present, y, 0)
            y = y.transpose(1, 0, 2)
        return Run(y, self._shown(last), steps, layers, passes, output, top, present)

    def judge(
        self, run: Run, target: Array, loss: str | Loss = "squared", weight: Array | None = None
    ) -> tuple[float, Array]:
        """The loss of a run's outputs, and its gradient dL/dy; arguments as of `loss_and_gradients`."""
        xp, y = array_module(run.y), run.y
        counts = xp.ones(y.shape[:-1], y.dtype) if weight is None else checked_weight(y, weight)
        if run.present is not None and run.steps == "all":
            counts = counts * run.present[:, :, 0].T
        return mean_loss(y, target, loss, counts)

    def back(self, run: Run, d_y: Array | None = None, d_state: State | None = None) -> Gradients:
        """The gradients of a run: d_y that of its outputs, d_state that of the state after it; None for zero."""
        shape, xp = self.shape, array_module(run.top)
        cell, H, n = cell_for(shape.cell, xp, endless=False), shape.hidden, shape.directions
        d_y = xp.zeros_like(run.y) if d_y is None else d_y
        if run.steps == "all":
            d_y = d_y.transpose(1, 0, 2)  # (T, B, O)
            if run.present is not None:
                d_y = d_y * run.present
        d_top, of_output = d_y, {}
        if run.output is not None:
            flat = d_y.reshape(-1, d_y.shape[-1])
            grads, d_top = output_backward(run.output, run.top.reshape(-1, n * H), flat)
            d_top = d_top.reshape(run.top.shape)
            of_output = dict(zip(OUTPUT_NAMES, (grads["V"].T.copy(), grads["d"]), strict=True))
        d_after = self._joined(d_state, run.passes[0].inputs[0])
        if run.steps == "last":  # the top layer's last states are all that was seen
            for direction in range(n):
                d_after[direction - n][0] += d_top[:, direction * H : (direction + 1) * H]
            d_top = xp.zeros((len(run.passes[0].inputs), *d_top.shape), d_top.dtype)
        made = backward_stack(cell, run.layers, run.passes, d_top, d_after)
        parameters: Parameters = {}
        for grads, suffix in zip(made.parameters, shape.suffixes, strict=True):
            parameters |= torch_gradients(grads, shape.cell, suffix)
        d_x = made.inputs.transpose(1, 0, 2)
        return Gradients(parameters | of_output, d_x, self._shown(made.states), made.hidden)

    def _layers(self) -> Layers:
        """The parameters of each pass, by layer and direction."""
        passes = [cell_parameters(self.parameters, self.shape.cell, suffix) for suffix in self.shape.suffixes]
        n = self.shape.directions
        return [passes[first : first + n] for first in range(0, len(passes), n)]

    def _joined(self, state: State | None, like: Array) -> list[Array]:
        """A state as the cells have it, a (C, B, H) a pass; zeros for None. like (B, ...)."""
        xp, shape = array_module(like), (CELLS[self.shape.cell].states, len(like), self.shape.hidden)
        if state is None:
            return [xp.zeros(shape, like.dtype) for _ in self.shape.suffixes]
        return [xp.stack(parts) for parts in checked_states(self.shape, state, like)]

    def _shown(self, states: list[Array]) -> State:
        """States as the caller has them: copies (B, H), of an LSTM pairs of them."""
        if CELLS[self.shape.cell].states == 1:
            return [each[0].copy() for each in states]
        return [(each[0].copy(), each[1].copy()) for each in states]
