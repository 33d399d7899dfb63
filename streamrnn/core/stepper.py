"""A network that is stepped again and again, as numbers come in: after it is made, no step makes an array."""

from streamrnn.core.backend import Array, array_module
from streamrnn.core.cells import stepping, tapes_for
from streamrnn.core.fused import cell_for
from streamrnn.core.network import Network, State
from streamrnn.core.network_checks import checked_states
from streamrnn.core.torch_names import cell_parameters, output_parameters
from streamrnn.core.truncated_bptt import blocks_of_rows
from streamrnn.errors import StreamRNNError


class Stepper:
    """A network's weights as they are now, and the states of so many rows, zeros at first.

    It gives what `Network.forward` gives for sequences of one step. Raises StreamRNNError for a network of two
    directions, which needs the whole sequence.
    """

    def __init__(self, network: Network, rows: int) -> None:
        shape, weights = network.shape, network.parameters["weight_ih_l0"]
        if shape.bidirectional:
            raise StreamRNNError(
                "Stepper: the network reads in two directions, and the second begins at the end of the whole "
                "sequence. Use forward"
            )
        if not isinstance(rows, int) or rows < 1:
            raise StreamRNNError(f"Stepper: rows is {rows!r}, expected a whole number of at least 1")
        self.shape = shape
        self._x = array_module(weights).empty((rows, shape.inputs), weights.dtype)
        self._y = array_module(weights).empty((rows, shape.outputs or shape.hidden), weights.dtype)
        self._blocks = [(part, _Block(network, self._x[part])) for part in blocks_of_rows(self._x, shape.hidden)]

    def step(self, x: Array) -> Array:
        """The outputs (B, O) for one step's inputs x (B, D); the next step writes over them.

        Without an output layer they are the hidden state (B, H).
        """
        if x.shape != self._x.shape:
            raise StreamRNNError(f"Stepper: x has shape {x.shape}, expected {self._x.shape}: rows, inputs")
        for part, block in self._blocks:
            block.step(x[part], self._y[part])
        return self._y

    @property
    def state(self) -> State:
        """The states now, as `forward` gives them: copies."""
        xp, made = array_module(self._x), []
        for number in range(self.shape.layers):
            parts = xp.concatenate([block.layers[number].state for _, block in self._blocks], axis=1)  # (C, B, H)
            made.append(parts[0] if len(parts) == 1 else (parts[0], parts[1]))
        return made

    @state.setter
    def state(self, state: State) -> None:
        for number, parts in enumerate(checked_states(self.shape, state, self._x)):
            for rows, block in self._blocks:
                for mine, given in zip(block.layers[number].state, parts, strict=True):
                    mine[...] = given[rows]


class _Block:
    """Rows that are stepped together through all layers."""

    def __init__(self, network: Network, like: Array) -> None:
        """For rows whose inputs are like these (B, D)."""
        xp, shape, B = array_module(like), network.shape, len(like)
        self.layers = [_Layer(network, number, like) for number in range(shape.layers)]
        self.Vd = None
        if shape.outputs is not None:
            output = output_parameters(network.parameters)
            self.Vd = xp.concatenate([output["V"], output["d"][None]])  # (H + 1, O)
            self.hidden = xp.ones((B, shape.hidden + 1), like.dtype)  # the last is 1

    def step(self, x: Array, y: Array) -> None:
        for layer in self.layers:
            x = layer.step(x)
        if self.Vd is None:
            y[...] = x
            return
        self.hidden[:, :-1] = x
        array_module(y).matmul(self.hidden, self.Vd, out=y)


class _Layer:
    """One layer of these rows, with all that its step fills."""

    def __init__(self, network: Network, number: int, like: Array) -> None:
        xp, shape, B = array_module(like), network.shape, len(like)
        self.cell = cell_for(shape.cell, xp, endless=False)
        p = cell_parameters(network.parameters, shape.cell, shape.suffixes[number])
        self.q = stepping(self.cell, p, B)
        self.state, self.after = xp.zeros((2, self.cell.states, B, shape.hidden), like.dtype)
        self.inputs = xp.ones((B, self.q["Wb"].shape[1]), like.dtype)  # (B, D + 1), the last is 1
        self.xw = xp.empty((self.cell.gates, B, shape.hidden), like.dtype)
        (self.tape,) = tapes_for(self.cell, 1, self.state)

    def step(self, x: Array) -> Array:
        """The hidden state (B, H) after inputs (B, D)."""
        self.inputs[:, :-1] = x
        array_module(x).matmul(self.inputs, self.q["Wb"], out=self.xw)
        self.cell.forward(self.q, self.xw, self.state, self.after, self.tape)
        self.state, self.after = self.after, self.state
        return self.state[0]
