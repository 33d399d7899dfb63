"""The parameters of a network under PyTorch's names, and what they are to our cells.

    weight_ih_l0   (G·H, D)    W = weight_ihᵀ of each gate
    weight_hh_l0   (G·H, H)    U = weight_hhᵀ of each gate
    bias_ih_l0     (G·H)       b = bias_ih + bias_hh; of a GRU's candidate c = bias_hh, for r multiplies it
    bias_hh_l0     (G·H)
    ..._reverse                the pass that reads from the end
    ..._l1                     the layer above
    output.weight  (O, n·H)    V = output.weightᵀ, n directions
    output.bias    (O)         d

Gates stand in the same order in both (GRU: r, z, n; LSTM: i, f, g, o), so that nothing is ever rearranged.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import CELLS
from streamrnn.errors import StreamRNNError

PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
OUTPUT_NAMES = ("output.weight", "output.bias")
WHERE = "Network.from_torch"
_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d{1,4})(_reverse)?")


@dataclass(frozen=True, slots=True)
class Shape:
    """All that tells one network from another, its numbers apart."""

    cell: str
    inputs: int  # D
    hidden: int  # H
    layers: int = 1
    bidirectional: bool = False
    outputs: int | None = None  # None: no output layer, the hidden states are shown

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 2 if self.bidirectional else 1

    @property
    def suffixes(self) -> list[str]:
        """What the names of each pass end in, in the order of the passes."""
        ends = ("", "_reverse")[: self.directions]
        return [f"_l{layer}{end}" for layer in range(self.layers) for end in ends]

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in PyTorch's order."""
        rows, H, n = CELLS[self.cell].gates * self.hidden, self.hidden, self.directions
        made: dict[str, tuple[int, ...]] = {}
        for number, suffix in enumerate(self.suffixes):
            width = self.inputs if number < n else n * H
            shapes = ((rows, width), (rows, H), (rows,), (rows,))
            made |= {f"{part}{suffix}": shape for part, shape in zip(PARTS, shapes, strict=True)}
        if self.outputs is not None:
            made |= dict(zip(OUTPUT_NAMES, ((self.outputs, n * H), (self.outputs,)), strict=True))
        return made

    def to_json(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def shape_of(tree: Parameters, cell: str) -> Shape:
    """Read a network's shape from its parameters' names and shapes. Raises StreamRNNError where they disagree."""
    passes = {name: match for name in tree if (match := _NAME.fullmatch(name))}
    odd = sorted(set(tree) - set(passes) - set(OUTPUT_NAMES))
    if odd:
        expected = "weight_ih, weight_hh, bias_ih or bias_hh with _l0, _l0_reverse, _l1, ..., or output.weight, .bias"
        raise StreamRNNError(f"{WHERE}: {odd[0]!r} is not a name of a recurrent network. Expected {expected}")
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if name not in tree:
            raise StreamRNNError(f"{WHERE}: {name!r} is missing. Give the whole state_dict of the network")
    _check_arrays(tree)
    gates, (rows, H) = CELLS[cell].gates, tree["weight_hh_l0"].shape
    if rows != gates * H:
        fits = [name for name, other in CELLS.items() if rows == other.gates * H]
        hint = f"Give cell={' or '.join(map(repr, fits))}" if fits else "Is it transposed?"
        found = f"weight_hh_l0 has shape ({rows}, {H}), {cell!r} expects ({gates * H}, {H})"
        raise StreamRNNError(f"{WHERE}: {found}. {hint}")
    output = [name for name in OUTPUT_NAMES if name in tree]
    shape = Shape(
        cell,
        inputs=tree["weight_ih_l0"].shape[1],
        hidden=H,
        layers=1 + max(int(match[2]) for match in passes.values()),
        bidirectional=any(match[3] for match in passes.values()),
        outputs=len(tree[output[0]]) if output else None,
    )
    for name, expected_shape in shape.arrays().items():
        if name not in tree:
            raise StreamRNNError(f"{WHERE}: {name!r} is missing beside the others. Give it, zeros if there was none")
        if tree[name].shape != expected_shape:
            found = f"{name} has shape {tree[name].shape}, beside the others it would be {expected_shape}"
            raise StreamRNNError(f"{WHERE}: {found}. Is it another network's?")
    return shape


def _check_arrays(tree: Parameters) -> None:
    first = tree["weight_ih_l0"]
    for name, value in tree.items():
        kind = type(value)
        if not hasattr(value, "dtype") or not hasattr(value, "flags"):
            raise StreamRNNError(f"{WHERE}: {name} is a {kind.__name__}, expected an array. Give tensor.numpy()")
        if value.dtype.kind != "f":
            raise StreamRNNError(f"{WHERE}: {name} is of {value.dtype}, expected floating point. Convert it")
        if value.dtype != first.dtype or kind is not type(first):
            found = (
                f"{name} is {kind.__module__}'s {value.dtype}, weight_ih_l0 {type(first).__module__}'s {first.dtype}"
            )
            raise StreamRNNError(f"{WHERE}: {found}. Give all of one kind")
    for name in ("weight_ih_l0", "weight_hh_l0"):
        if tree[name].ndim != 2:
            raise StreamRNNError(f"{WHERE}: {name} has {tree[name].ndim} axes, expected 2. Is it another network's?")


def cell_parameters(tree: Parameters, cell: str, suffix: str) -> Parameters:
    """The parameters W, U, b (and c) of one pass; matrices are views."""
    G = CELLS[cell].gates
    weight_ih, weight_hh, bias_ih, bias_hh = (
        value.reshape(G, -1, *value.shape[1:]) for value in (tree[f"{part}{suffix}"] for part in PARTS)
    )
    p = {"W": weight_ih.transpose(0, 2, 1), "U": weight_hh.transpose(0, 2, 1), "b": bias_ih + bias_hh}
    if cell == "gru":
        p["b"][2] = bias_ih[2]
        p["c"] = bias_hh[2]
    return p


def torch_gradients(grads: Parameters, cell: str, suffix: str) -> Parameters:
    """The gradients of one pass's parameters under PyTorch's names; both biases of a sum have that of the sum."""
    bias_hh = grads["b"].copy()
    if cell == "gru":
        bias_hh[2] = grads["c"]
    return _named(grads, bias_hh, suffix)


def torch_parameters(p: Parameters, cell: str, suffix: str) -> Parameters:
    """A cell's parameters under PyTorch's names: b is bias_ih, and bias_hh zero but for a GRU's c."""
    bias_hh = array_module(p["b"]).zeros_like(p["b"])
    if cell == "gru":
        bias_hh[2] = p["c"]
    return _named(p, bias_hh, suffix)


def _named(p: Parameters, bias_hh: Array, suffix: str) -> Parameters:
    xp = array_module(bias_hh)
    matrices = [xp.ascontiguousarray(p[name].transpose(0, 2, 1)) for name in ("W", "U")]
    arrays = (value.reshape(-1, *value.shape[2:]) for value in (*matrices, p["b"], bias_hh))
    return dict(zip((f"{part}{suffix}" for part in PARTS), arrays, strict=True))


def output_parameters(tree: Parameters) -> Parameters:
    """V and d of the output layer o = h V + d; the matrix is a view."""
    return {"V": tree["output.weight"].T, "d": tree["output.bias"]}
