"""Every gradient of a network against central differences in float64: cells, layers, directions, losses, masks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import Array
from streamrnn.core.cells import CELLS
from streamrnn.core.encoder_decoder import EncoderDecoder
from streamrnn.core.feedback import generated_gradients
from streamrnn.core.losses import LOSSES
from streamrnn.core.network import Network, Run, State, Steps, mean_loss
from tests.core.finite_differences import numeric, relative_error

SEEDS = st.integers(0, 2**32 - 1)
ELEMENTS = 5  # of each array that are tried


@dataclass
class World:
    """A network and what it is given."""

    network: Network
    x: Array
    target: Array
    state: State
    lengths: Array | None
    loss: str
    steps: Steps

    def run(self) -> Run:
        return self.network.run(self.x, self.state, self.lengths, self.steps)

    def value(self) -> float:
        return self.network.judge(self.run(), self.target, self.loss)[0]


def shaken(network: Network, random: np.random.Generator) -> Network:
    for array in network.parameters.values():
        array += 0.2 * random.standard_normal(array.shape)
    return network


def parts(state: State) -> list[Array]:
    """All arrays of a state."""
    return [array for one in state for array in (one if isinstance(one, tuple) else (one,))]


def smooth(network: Network, run: Run) -> bool:
    """No rectified unit is so near to zero that a difference would reach across."""
    if network.shape.cell != "relu":
        return True
    pairs = zip((p for layer in run.layers for p in layer), run.passes, strict=True)
    return all(
        np.abs(at.inputs[:, :, :-1] @ p["W"][0] + p["b"] + at.states[:-1, 0] @ p["U"][0]).min() > 1e-4
        for p, at in pairs
    )


def far_from_corners(y: Array, target: Array, loss: str) -> bool:
    """No difference would reach across a corner of the loss itself."""
    if loss not in ("huber", "pinball"):
        return True
    error = np.abs(y - target)
    return bool(error.min() > 1e-4 and np.abs(error - 1.0).min() > 1e-4)


@st.composite
def worlds(draw: st.DrawFn, cell: str) -> World:
    random = np.random.default_rng(draw(SEEDS))
    B, T, D, H = (draw(st.integers(1, high)) for high in (3, 4, 2, 3))
    O = 3
    loss = draw(st.sampled_from(list(LOSSES)))
    steps: Steps = draw(st.sampled_from(["all", "last"]))
    layers, bidirectional = draw(st.integers(1, 3)), draw(st.booleans())
    network = shaken(Network(cell, D, H, layers, bidirectional, O, dtype="float64"), random)
    shape = (B, T) if steps == "all" else (B,)
    target = random.integers(0, O, shape) if loss == "cross_entropy" else 1.5 * random.normal(size=(*shape, O))
    state: Any = [random.normal(size=(B, H)) for _ in network.shape.suffixes]
    if cell == "lstm":
        state = [(h, random.normal(size=(B, H))) for h in state]
    lengths = random.integers(0, T + 1, B) if draw(st.booleans()) else None
    made = World(network, random.normal(size=(B, T, D)), target, state, lengths, loss, steps)
    run = made.run()
    assume(smooth(network, run))
    assume(far_from_corners(run.y, target, loss))
    return made


@pytest.mark.parametrize("cell", CELLS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_every_gradient_of_a_network_equals_its_finite_difference(cell: str, data: st.DataObject) -> None:
    world = data.draw(worlds(cell))
    run = world.run()
    made = world.network.back(run, world.network.judge(run, world.target, world.loss)[1])
    for name, array in world.network.parameters.items():
        error = relative_error(made.parameters[name], numeric(world.value, array, ELEMENTS))
        assert error < 1e-6, f"dL/d {name} is off by {error:.1e}"
    assert relative_error(made.inputs, numeric(world.value, world.x, ELEMENTS)) < 1e-6
    for one, gradient in zip(parts(world.state), parts(made.state), strict=True):
        assert relative_error(gradient, numeric(world.value, one, ELEMENTS)) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_gradient_of_a_last_state_reaches_all_that_led_to_it(cell: str, bidirectional: bool) -> None:
    random = np.random.default_rng(3)
    network = shaken(Network(cell, 2, 3, 2, bidirectional, dtype="float64"), random)  # no output layer
    x, lengths = random.normal(size=(3, 4, 2)), np.array([4, 2, 3])
    run = network.run(x, lengths=lengths)
    direction: Any = [random.normal(size=(3, 3)) for _ in network.shape.suffixes]
    if cell == "lstm":
        direction = [(h, random.normal(size=h.shape)) for h in direction]
    made = network.back(run, d_state=direction)

    def value() -> float:
        after = network.forward(x, lengths=lengths)[1]
        return float(sum((a * d).sum() for a, d in zip(parts(after), parts(direction), strict=True)))

    for name, array in network.parameters.items():
        assert relative_error(made.parameters[name], numeric(value, array, ELEMENTS)) < 1e-6
    assert relative_error(made.inputs, numeric(value, x)) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@given(
    seed=SEEDS,
    k1=st.integers(1, 4),
    more=st.integers(0, 4),
    layers=st.integers(1, 3),
    masked=st.booleans(),
    loss=st.sampled_from(list(LOSSES)),
)
@settings(max_examples=12, deadline=None)
def test_a_truncated_gradient_is_the_finite_difference_of_its_window_from_where_it_starts(
    cell: str, seed: int, k1: int, more: int, layers: int, masked: bool, loss: str
) -> None:
    random, T, k2, O = np.random.default_rng(seed), 7, k1 + more, 3
    network = shaken(Network(cell, 2, 3, layers, outputs=O, dtype="float64"), random)
    x = random.normal(size=(2, T, 2))
    target: Array = random.integers(0, O, (2, T)) if loss == "cross_entropy" else 1.5 * random.normal(size=(2, T, O))
    lengths = np.array([T, random.integers(0, T + 1)]) if masked else None
    there = np.full(2, T) if lengths is None else lengths
    whole = network.run(x)
    assume(smooth(network, whole) and far_from_corners(whole.y, target, loss))
    for number, (told, grads, _) in enumerate(network.truncated(x, target, k1, k2, loss, lengths=lengths)):
        first, end = number * k1, min(number * k1 + k1, T)
        start = max(0, end - k2)
        state = network.forward(x[:, :start], lengths=np.minimum(there, start))[1] if start else None

        def value(start: int = start, first: int = first, end: int = end, state: Any = state) -> float:
            y, _ = network.forward(x[:, start:end], state, np.clip(there - start, 0, end - start))
            counts = (np.arange(first, end) < there[:, None]).astype(float)
            return mean_loss(y[:, first - start :], target[:, first:end], loss, counts)[0]

        assert told == pytest.approx(value(), rel=1e-12)
        for name, array in network.parameters.items():
            assert relative_error(grads[name], numeric(value, array, ELEMENTS)) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_the_gradient_of_what_was_generated_goes_back_through_the_feedback(cell: str, loss: str) -> None:
    random = np.random.default_rng(5)
    network = shaken(Network(cell, 2, 3, 2, outputs=2, dtype="float64"), random)
    x, target = random.normal(size=(3, 2)), random.normal(size=(3, 4, 2))
    _, made = generated_gradients(network, x, target, loss)

    def value() -> float:
        return generated_gradients(network, x, target, loss)[0]

    for name, array in network.parameters.items():
        assert relative_error(made.parameters[name], numeric(value, array, ELEMENTS)) < 1e-6
    assert relative_error(made.inputs, numeric(value, x)) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_gradients_of_an_encoder_and_a_decoder_are_those_of_the_whole(cell: str, bidirectional: bool) -> None:
    random = np.random.default_rng(6)
    encoder = shaken(Network(cell, 2, 3, 2, bidirectional, dtype="float64"), random)
    decoder = shaken(Network(cell, 4, 3, 2, bidirectional, outputs=4, dtype="float64"), random)
    both = EncoderDecoder(encoder, decoder)
    x, given_, target = random.normal(size=(3, 5, 2)), random.normal(size=(3, 3, 4)), random.integers(0, 4, (3, 3))
    lengths, given_lengths = np.array([5, 2, 4]), np.array([1, 3, 2])

    def value() -> float:
        return both.loss_and_gradients(x, given_, target, "cross_entropy", lengths, given_lengths)[0]

    _, *made = both.loss_and_gradients(x, given_, target, "cross_entropy", lengths, given_lengths)
    for network, grads in zip((encoder, decoder), made, strict=True):
        for name, array in network.parameters.items():
            assert relative_error(grads[name], numeric(value, array, ELEMENTS)) < 1e-6
