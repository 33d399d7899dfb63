"""What a network is given is checked here, once; errors say where, what was found, what is expected, what to do."""

import difflib
from collections.abc import Iterable
from typing import Any

from streamrnn.core.backend import Array, Parameters, array_module
from streamrnn.core.cells import CELLS
from streamrnn.core.losses import LOSSES
from streamrnn.core.torch_names import Shape
from streamrnn.errors import StreamRNNError


def checked_cell(cell: str, where: str) -> str:
    """The name of a cell."""
    return _one_of(cell, CELLS, f"{where}: cell", "a cell")


def checked_loss(loss: str) -> str:
    """The name of a loss."""
    return _one_of(loss, LOSSES, "loss", "a loss")


def checked_shape(shape: Shape, dtype: str) -> Shape:
    """A shape of whole numbers of at least 1, for weights of a type of floating point."""
    if dtype not in ("float32", "float64"):
        raise StreamRNNError(f"Network: dtype is {dtype!r}, expected 'float32' or 'float64'")
    given = {"inputs": shape.inputs, "hidden": shape.hidden, "layers": shape.layers, "outputs": shape.outputs}
    for name, value in given.items():
        if value is None and name == "outputs":
            continue
        if not isinstance(value, int) or value < 1:
            raise StreamRNNError(f"Network: {name} is {value!r}, expected a whole number of at least 1")
    return shape


def checked_input(shape: Shape, parameters: Parameters, x: Any) -> Array:
    """The sequences (B, T, D) in the type of the weights."""
    like = parameters["weight_ih_l0"]
    xp = _same_module(x, like, "x")
    x = xp.asarray(x, like.dtype)
    if x.ndim != 3 or x.shape[2] != shape.inputs or 0 in x.shape:
        expected = f"(B, T, {shape.inputs}): sequences, steps, inputs, at least one of each"
        raise StreamRNNError(f"Network: x has shape {x.shape}, expected {expected}. Add the axes that it lacks")
    return x


def checked_lengths(x: Array, lengths: Any) -> Array | None:
    """The steps (B,) that each sequence of x (B, T, D) has."""
    if lengths is None:
        return None
    xp, (B, T, _) = _same_module(lengths, x, "lengths"), x.shape
    lengths = xp.asarray(lengths)
    if lengths.shape != (B,) or lengths.dtype.kind not in "iu":
        found = f"lengths has shape {lengths.shape} of {lengths.dtype}"
        raise StreamRNNError(f"Network: {found}, expected {B} whole numbers, one a sequence")
    if bool(((lengths < 0) | (lengths > T)).any()):
        found = f"lengths go from {int(lengths.min())} to {int(lengths.max())}"
        raise StreamRNNError(f"Network: {found}, x has {T} steps. Expected 0 to {T}")
    return lengths


def checked_states(shape: Shape, state: Any, like: Array) -> list[tuple[Array, ...]]:
    """The parts (B, H) of each pass's state, one or two, in the type of like (B, ...)."""
    B, H, parts = len(like), shape.hidden, CELLS[shape.cell].states
    passes, xp = len(shape.suffixes), array_module(like)
    kind = "pairs (h, c)" if parts == 2 else "arrays"
    expected = f"expected a list of {passes} {kind} of shape ({B}, {H}), as forward returns it"
    if not isinstance(state, list) or len(state) != passes:
        found = f"{len(state)} entries" if isinstance(state, list | tuple) else type(state).__name__
        raise StreamRNNError(f"Network: state has {found}, {expected}")
    made = []
    for number, one in enumerate(state):
        given = one if isinstance(one, tuple) else (one,)
        if len(given) != parts:
            raise StreamRNNError(f"Network: state[{number}] has {len(given)} arrays, {expected}")
        for each in given:
            _same_module(each, like, f"state[{number}]")
        arrays = tuple(xp.asarray(each, like.dtype) for each in given)
        for each in arrays:
            if each.shape != (B, H):
                raise StreamRNNError(f"Network: state[{number}] has shape {each.shape}, {expected}")
        made.append(arrays)
    return made


def checked_target(y: Array, target: Any, counted: Array, classes: bool) -> Array:
    """The target of outputs y, 0 where it is not counted: of their shape, or whole numbers of classes without O.

    counted is of the shape of y without O. What fills up a short sequence may be anything, NaN too.
    """
    xp = _same_module(target, y, "target")
    if not classes:
        target = xp.asarray(target, y.dtype)
        if target.shape != y.shape:
            raise StreamRNNError(f"Network: target has shape {target.shape}, expected {y.shape} as the outputs")
        return xp.where(counted[..., None], target, 0)
    target, O = xp.asarray(target), y.shape[-1]
    if target.shape != y.shape[:-1] or target.dtype.kind not in "iu":
        found = f"target has shape {target.shape} of {target.dtype}"
        raise StreamRNNError(f"Network: {found}, expected numbers of classes (whole) of shape {y.shape[:-1]}")
    target = xp.where(counted, target, 0)
    if bool(((target < 0) | (target >= O)).any()):
        found = f"target holds classes {int(target.min())} to {int(target.max())}"
        raise StreamRNNError(f"Network: {found}, there are {O} outputs. Expected classes 0 to {O - 1}")
    return target


def checked_weight(y: Array, weight: Any) -> Array:
    """The weight of each step's loss: the shape of outputs y without O."""
    xp = _same_module(weight, y, "weight")
    weight = xp.asarray(weight, y.dtype)
    if weight.shape != y.shape[:-1]:
        raise StreamRNNError(f"Network: weight has shape {weight.shape}, expected {y.shape[:-1]}, one a step")
    return weight


def checked_windows(shape: Shape, k1: int, k2: int, x: Array, target: Array) -> None:
    """Windows that truncated BPTT can use, and a target for each step of x (B, T, D)."""
    if shape.bidirectional:
        raise StreamRNNError(
            "Network.truncated: the network reads in two directions, and the second begins at the end of the whole "
            "sequence. Use loss_and_gradients"
        )
    if not 1 <= k1 <= k2:
        raise StreamRNNError(f"Network.truncated: k1 is {k1}, k2 is {k2}, expected 1 <= k1 <= k2")
    if target.shape[:2] != x.shape[:2]:
        found = f"target has shape {target.shape}, x {x.shape}"
        raise StreamRNNError(f"Network.truncated: {found}. Expected a target for each step of x")


def _one_of(name: str, known: Iterable[str], where: str, what: str) -> str:
    if name in known:
        return name
    near = difflib.get_close_matches(str(name), list(known), 1)
    hint = f". Did you mean {near[0]!r}?" if near else ""
    raise StreamRNNError(f"{where}: {name!r} is not {what}. Choose one of {', '.join(known)}{hint}")


def _same_module(given: Any, like: Array, name: str) -> Any:
    """The array module of both; host and device arrays are never mixed, for each mixing is a hidden copy."""
    xp = array_module(like)
    if isinstance(given, list | tuple | int | float):
        return xp
    theirs = array_module(given)
    if theirs is not xp:
        found = f"{name} is {theirs.__name__}'s, the network's arrays are {xp.__name__}'s"
        raise StreamRNNError(f"Network: {found}. Move one to the other's device")
    return xp
