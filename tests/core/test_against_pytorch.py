"""Outputs, states and gradients against numbers that PyTorch computed; tests/reference/ has them and says how."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from streamrnn.core.backend import Array, Parameters
from streamrnn.core.cells import CELLS
from streamrnn.core.network import Network, State

FOLDER = Path(__file__).parent.parent / "reference"
CASES = [f"{layers} {way}" for layers in (1, 2, 3) for way in ("forward", "bidirectional")]
BOUND = {"float32": 1e-5, "float64": 1e-12}


class Reference:
    """One cell's file."""

    def __init__(self, cell: str) -> None:
        with safe_open(FOLDER / f"{cell}.safetensors", framework="numpy") as file:
            self.arrays: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            told = json.loads(file.metadata()["reference"])
        self.names, self.lengths = told["names"], told["lengths"]

    def tree(self, case: str, vector: Array) -> Parameters:
        """A vector of all parameters, or of their gradients, by name."""
        made, at = {}, 0
        for name, shape in self.names[case].items():
            size = int(np.prod(shape))
            made[name] = vector[at : at + size].reshape(shape)
            at += size
        assert at == len(vector)
        return made

    def state(self, key: str, dtype: str) -> State:
        """A state as ours: an array a pass, or a pair."""
        parts = [self.arrays[f"{key}_{part}"].astype(dtype) for part in "hc" if f"{key}_{part}" in self.arrays]
        return list(parts[0]) if len(parts) == 1 else list(zip(*parts, strict=True))


REFERENCES = {cell: Reference(cell) for cell in CELLS}


def alike(made: Array, expected: Array, precision: str) -> None:
    assert made.dtype == precision
    np.testing.assert_allclose(made, expected, rtol=BOUND[precision], atol=BOUND[precision])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", ["equal", "unequal"])
@pytest.mark.parametrize("precision", BOUND)
def test_outputs_states_and_all_gradients_are_those_of_pytorch(
    cell: str, case: str, lengths: str, precision: str
) -> None:
    reference, key = REFERENCES[cell], f"{case}/{precision}/{lengths}"
    expected = {name: reference.arrays[f"{key}/{name}"] for name in ("y", "loss", "d_x", "d_parameters")}
    x, target = (reference.arrays[f"{case}/{name}"].astype(precision) for name in ("x", "target"))
    parameters = reference.tree(case, reference.arrays[f"{case}/parameters"].astype(precision))
    network = Network.from_torch(parameters, cell=cell)

    there = np.array(reference.lengths[lengths])
    first = reference.state(f"{case}/first", precision)
    run = network.run(x, first, None if lengths == "equal" else there)
    loss, d_y = network.judge(run, target)
    made = network.back(run, d_y)

    alike(run.y, expected["y"], precision)
    assert loss == pytest.approx(float(expected["loss"][0]), rel=BOUND[precision])
    alike(made.inputs, expected["d_x"], precision)
    of_parameters = reference.tree(case, expected["d_parameters"])
    assert list(made.parameters) == list(of_parameters)
    for name, gradient in of_parameters.items():
        alike(made.parameters[name], gradient, precision)
    for ours, name in ((run.state, "last"), (made.state, "d_first")):
        theirs = reference.state(f"{key}/{name}", precision)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            alike(np.array(one), np.array(other), precision)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("case", CASES)
def test_weights_come_back_as_they_were_given(cell: str, case: str) -> None:
    given = REFERENCES[cell].tree(case, REFERENCES[cell].arrays[f"{case}/parameters"])
    back = Network.from_torch(given, cell=cell).to_torch()
    assert list(back) == list(given)
    for name, value in given.items():
        np.testing.assert_array_equal(back[name], value)
        assert back[name].dtype == value.dtype
