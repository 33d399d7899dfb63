"""Every gradient against central differences in float64, on shapes and values that hypothesis chooses."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import Array, Parameters
from streamrnn.core.cells import (
    CELLS,
    LIMITS,
    Cell,
    bounded,
    by_part,
    initial_cell,
    lstm_backward,
    lstm_forward,
    relu_backward,
    relu_forward,
    with_ones,
)
from streamrnn.core.truncated_bptt import BLOCK, forward_window, window_gradients
from tests.core.finite_differences import numeric, relative_error


def world(
    cell: str, seed: int, T: int, B: int, D: int, H: int, P: int
) -> tuple[Parameters, Array, Array, Array, Array]:
    random = np.random.default_rng(seed)
    p = initial_cell(CELLS[cell], D, H, random)
    p = {name: value + 0.1 * random.standard_normal(value.shape) for name, value in p.items()}
    p |= {"V": random.standard_normal((H, P)), "d": random.standard_normal(P)}
    weight = random.choice([0.0, 0.5, 1.0], (T, B, P))
    state = random.standard_normal((B, CELLS[cell].states * H))
    return p, random.standard_normal((T, B, D)), state, random.normal(size=(T, B, P)), weight


def states_of(cell: Cell, p: Parameters, inputs: Array, state: Array) -> Array:
    """All states (T + 1, B, S), from the first (B, S) on."""
    states, _ = forward_window(cell, p, with_ones(inputs), by_part(state, p["U"].shape[2]))
    return states.transpose(0, 2, 1, 3).reshape(len(states), *state.shape)


def far_from_corners(cell: str, p: Parameters, inputs: Array, state: Array) -> bool:
    """A rectified unit has no derivative at zero, and a difference across it is no derivative either."""
    if cell != "relu":
        return True
    states = states_of(CELLS[cell], p, inputs, state)
    return bool(np.abs(inputs @ p["W"][0] + p["b"] + states[:-1] @ p["U"][0]).min() > 1e-4)


@pytest.mark.parametrize("cell", CELLS)
@given(
    seed=st.integers(0, 2**32 - 1),
    T=st.integers(1, 5),
    B=st.integers(1, 3),
    D=st.integers(1, 3),
    H=st.integers(1, 4),
    P=st.integers(1, 3),
)
@settings(max_examples=15, deadline=None)
def test_every_gradient_of_a_window_equals_its_finite_difference(
    cell: str, seed: int, T: int, B: int, D: int, H: int, P: int
) -> None:
    p, inputs, state, target, weight = world(cell, seed, T, B, D, H, P)
    assume(far_from_corners(cell, p, inputs, state))
    made = window_gradients(CELLS[cell], p, inputs, state, target, weight, slice(None))

    def loss() -> float:
        return window_gradients(CELLS[cell], p, inputs, state, target, weight).loss

    for name in p:
        error = relative_error(made.parameters[name], numeric(loss, p[name]))
        assert error < 1e-6, f"d loss / d {name} is off by {error:.1e}"
    assert relative_error(made.inputs, numeric(loss, inputs)) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_a_sequence_in_two_pieces_ends_in_the_state_of_the_whole(cell: str, seed: int, cut: int) -> None:
    p, inputs, state, _, _ = world(cell, seed, 8, 3, 2, 4, 1)
    whole = states_of(CELLS[cell], p, inputs, state)
    first = states_of(CELLS[cell], p, inputs[:cut], state)
    second = states_of(CELLS[cell], p, inputs[cut:], first[-1])
    np.testing.assert_allclose(second[-1], whole[-1], rtol=1e-12)


def test_the_gru_step_is_its_equations_written_row_by_row() -> None:
    p, inputs, state, _, _ = world("gru", 1, 1, 3, 2, 4, 1)
    hidden = states_of(CELLS["gru"], p, inputs, state)
    for x, h, made in zip(inputs[0], state, hidden[1], strict=True):
        (Wr, Wz, Wn), (Ur, Uz, Un), (br, bz, bn) = p["W"], p["U"], p["b"]
        r = 1 / (1 + np.exp(-(x @ Wr + br + h @ Ur)))
        z = 1 / (1 + np.exp(-(x @ Wz + bz + h @ Uz)))
        n = np.tanh(x @ Wn + bn + r * (h @ Un + p["c"]))
        np.testing.assert_allclose(made, (1 - z) * n + z * h, rtol=1e-12)


def test_the_tanh_step_is_the_textbook_s() -> None:
    p, inputs, state, _, _ = world("tanh", 1, 1, 3, 2, 4, 1)
    hidden = states_of(CELLS["tanh"], p, inputs, state)
    np.testing.assert_allclose(hidden[1], np.tanh(inputs[0] @ p["W"][0] + state @ p["U"][0] + p["b"]), rtol=1e-12)


def test_the_relu_step_is_the_textbook_s_with_the_negative_cut_off() -> None:
    p, inputs, state, _, _ = world("relu", 1, 1, 3, 2, 4, 1)
    hidden = states_of(CELLS["relu"], p, inputs, state)
    a = inputs[0] @ p["W"][0] + state @ p["U"][0] + p["b"]
    np.testing.assert_allclose(hidden[1], np.where(a > 0, a, 0), rtol=1e-12)


def test_the_lstm_step_is_its_equations_written_row_by_row() -> None:
    p, inputs, state, _, _ = world("lstm", 1, 1, 3, 2, 4, 1)
    states = states_of(CELLS["lstm"], p, inputs, state)
    for x, before, made in zip(inputs[0], state, states[1], strict=True):
        h, c = before[:4], before[4:]
        a = x @ p["W"] + p["b"] + h @ p["U"]
        i, f, o = (1 / (1 + np.exp(-a[gate])) for gate in (0, 1, 3))
        memory = f * c + i * np.tanh(a[2])
        np.testing.assert_allclose(made, np.concatenate([o * np.tanh(memory), memory]), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "forward", "backward"), [("relu", relu_forward, relu_backward), ("lstm", lstm_forward, lstm_backward)]
)
@pytest.mark.parametrize("seed", range(8))
def test_gradients_are_right_also_where_a_bounded_cell_meets_its_limit(
    name: str, forward: Any, backward: Any, seed: int
) -> None:
    limit = 0.5  # met often, and where tanh(c) still has a slope
    cell = replace(CELLS[name], forward=partial(forward, limit=limit), backward=partial(backward, limit=limit))
    p, inputs, state, target, weight = world(name, seed, 4, 3, 2, 4, 2)
    states = states_of(cell, p, inputs, state)
    assert (np.abs(states[1:]) == limit).any()
    made = window_gradients(cell, p, inputs, state, target, weight)

    def loss() -> float:
        return window_gradients(cell, p, inputs, state, target, weight).loss

    for key in p:
        assert relative_error(made.parameters[key], numeric(loss, p[key])) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_a_bounded_cell_s_state_stays_in_half_precision_for_ever(cell: str, size: float) -> None:
    random = np.random.default_rng(0)
    p = {name: size * value.astype("float32") for name, value in initial_cell(CELLS[cell], 3, 8, random).items()}
    p["b"] += np.float32(size)
    states = states_of(
        bounded(CELLS[cell]),
        p,
        random.normal(size=(3000, 2, 3)).astype("float32"),
        np.zeros((2, 8 * CELLS[cell].states), "float32"),
    )
    assert np.abs(states).max() <= LIMITS.get(cell, 1.0)
    assert np.isfinite(states.astype("float16")).all()


def test_a_limit_that_is_never_met_changes_nothing() -> None:
    for cell in LIMITS:
        p, inputs, state, _, _ = world(cell, 3, 5, 3, 2, 4, 1)
        p["U"] *= 0.1
        free = states_of(CELLS[cell], p, inputs, state)
        held = states_of(bounded(CELLS[cell]), p, inputs, state)
        np.testing.assert_array_equal(held, np.clip(free, -50, 50))


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_come_in_the_order_of_the_parameters(cell: str) -> None:
    """In which a snapshot has the weights that they made."""
    p, inputs, state, target, weight = world(cell, 1, 2, 3, 2, 4, 1)
    assert list(window_gradients(CELLS[cell], p, inputs, state, target, weight).parameters) == list(p)


@pytest.mark.parametrize("cell", CELLS)
def test_a_window_in_blocks_of_rows_teaches_what_its_rows_teach(cell: str) -> None:
    H, B = 128, 2 * BLOCK // 128 + 5
    p, inputs, state, target, weight = world(cell, 2, 3, B, 2, H, 1)
    weight[:, : B // 3] = 0.0  # blocks that count for more and for less
    made = window_gradients(CELLS[cell], p, inputs, state, target, weight, slice(None))
    counted, loss, total = (weight > 0).sum(), 0.0, {name: 0.0 * value for name, value in p.items()}
    for rows in np.array_split(np.arange(B), 7):
        w = weight[:, rows]
        part = window_gradients(CELLS[cell], p, inputs[:, rows], state[rows], target[:, rows], w, slice(None))
        share = (w > 0).sum() / counted
        loss += share * part.loss
        total = {name: total[name] + share * part.parameters[name] for name in p}
        np.testing.assert_allclose(made.state[rows], part.state, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(made.inputs[:, rows], share * part.inputs, rtol=1e-8, atol=1e-14)
    assert made.loss == pytest.approx(loss, rel=1e-10)
    for name in p:
        np.testing.assert_allclose(made.parameters[name], total[name], rtol=1e-8, atol=1e-12)
