"""A stepper gives what `forward` gives for sequences of one step."""

from typing import Any

import numpy as np
import pytest

from streamrnn.core.backend import Array, to_host
from streamrnn.core.cells import CELLS
from streamrnn.core.network import Network, State
from streamrnn.core.stepper import Stepper
from streamrnn.core.truncated_bptt import BLOCK
from streamrnn.errors import StreamRNNError
from tests.strict_arrays import strict

T, D = 6, 2
SHAPES = [{}, {"layers": 2}, {"outputs": 3}, {"layers": 3, "outputs": 1}]


def sequences(B: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(B, T, D))


def flat(state: State) -> Array:
    return np.concatenate([np.concatenate(one, 1) if isinstance(one, tuple) else one for one in state], 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("B", [1, 4])
def test_steps_one_by_one_give_what_the_sequence_gives(cell: str, shape: dict[str, Any], B: int) -> None:
    network, x = Network(cell, D, 3, dtype="float64", **shape), sequences(B)
    expected, last = network.forward(x)
    stepper = Stepper(network, B)
    made = [stepper.step(x[:, t]).copy() for t in range(T)]
    np.testing.assert_allclose(np.stack(made, axis=1), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(flat(stepper.state), flat(last), rtol=1e-10, atol=1e-12)


def test_rows_that_are_stepped_in_blocks_come_out_in_their_order() -> None:
    network, x = Network("lstm", D, 256, outputs=2, dtype="float64"), sequences(2 * BLOCK // 256 + 5)
    _, half = network.forward(x[:, :3])
    expected, last = network.forward(x[:, 3:4], half)
    stepper = Stepper(network, len(x))
    stepper.state = half
    np.testing.assert_allclose(stepper.step(x[:, 3]), expected[:, 0], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(flat(stepper.state), flat(last), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_stepper_goes_on_from_the_state_that_it_is_given(cell: str) -> None:
    network, x = Network(cell, D, 3, layers=2, outputs=1, dtype="float64"), sequences(4)
    _, half = network.forward(x[:, :3])
    expected, _ = network.forward(x[:, 3:4], half)
    stepper = Stepper(network, 4)
    stepper.step(sequences(4, seed=1)[:, 0])  # what it was in is forgotten
    stepper.state = half
    np.testing.assert_array_equal(flat(stepper.state), flat(half))
    np.testing.assert_allclose(stepper.step(x[:, 3]), expected[:, 0], rtol=1e-12)


def test_a_state_that_was_asked_for_stays_as_it_was() -> None:
    stepper, x = Stepper(Network("lstm", D, 3), 4), sequences(4).astype("float32")
    stepper.step(x[:, 0])
    state = stepper.state
    before = flat(state).copy()
    for t in range(1, 4):
        stepper.step(x[:, t])
    np.testing.assert_array_equal(flat(state), before)


@pytest.mark.parametrize("cell", CELLS)
def test_a_stepper_steps_on_a_device(cell: str) -> None:
    network, x = Network(cell, D, 3, layers=2, outputs=1), sequences(4).astype("float32")
    there = Network.from_torch({name: strict.asarray(value) for name, value in network.to_torch().items()}, cell)
    here, stepper = Stepper(network, 4), Stepper(there, 4)
    for t in range(T):
        made = to_host(stepper.step(strict.asarray(x[:, t])))
        np.testing.assert_allclose(made, here.step(x[:, t]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("misuse", "said"),
    [
        (lambda: Stepper(Network(bidirectional=True), 1), "Stepper: the network reads in two directions"),
        (lambda: Stepper(Network(), 0), "rows is 0, expected a whole number of at least 1"),
        (lambda: Stepper(Network(), 2).step(np.ones((2, 3))), r"x has shape \(2, 3\), expected \(2, 1\)"),
    ],
)
def test_misuse_of_a_stepper_is_said(misuse: Any, said: str) -> None:
    with pytest.raises(StreamRNNError, match=said):
        misuse()
