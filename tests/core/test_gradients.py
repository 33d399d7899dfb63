"""Every gradient against central differences in float64, on shapes and values that hypothesis chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import Array, Parameters
from streamrnn.core.cells import CELLS, initial_cell
from streamrnn.core.truncated_bptt import forward_window, window_gradients


def world(
    cell: str, seed: int, T: int, B: int, D: int, H: int, P: int
) -> tuple[Parameters, Array, Array, Array, Array]:
    random = np.random.default_rng(seed)
    p = initial_cell(CELLS[cell], D, H, random)
    p = {name: value + 0.1 * random.standard_normal(value.shape) for name, value in p.items()}
    p |= {"V": random.standard_normal((H, P)), "d": random.standard_normal(P)}
    weight = random.choice([0.0, 0.5, 1.0], (T, B, P))
    return p, random.standard_normal((T, B, D)), random.standard_normal((B, H)), random.normal(size=(T, B, P)), weight


def numeric(f: object, array: Array, step: float = 1e-6) -> Array:
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + step
        above = f()  # type: ignore[operator]
        array[index] = kept - step
        below = f()  # type: ignore[operator]
        array[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


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
    made = window_gradients(CELLS[cell], p, inputs, state, target, weight)

    def loss() -> float:
        return window_gradients(CELLS[cell], p, inputs, state, target, weight).loss

    for name in p:
        expected = numeric(loss, p[name])
        error = np.abs(made.parameters[name] - expected).max() / (1e-3 + np.abs(expected).max())
        assert error < 1e-6, f"d loss / d {name} is off by {error:.1e}"
    expected = numeric(loss, inputs)
    assert np.abs(made.inputs - expected).max() / (1e-3 + np.abs(expected).max()) < 1e-6


@pytest.mark.parametrize("cell", CELLS)
@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_a_sequence_in_two_pieces_ends_in_the_state_of_the_whole(cell: str, seed: int, cut: int) -> None:
    p, inputs, state, _, _ = world(cell, seed, 8, 3, 2, 4, 1)
    whole, _ = forward_window(CELLS[cell], p, inputs, state)
    first, _ = forward_window(CELLS[cell], p, inputs[:cut], state)
    second, _ = forward_window(CELLS[cell], p, inputs[cut:], first[-1])
    np.testing.assert_allclose(second[-1], whole[-1], rtol=1e-12)


def test_the_gru_step_is_its_equations_written_row_by_row() -> None:
    p, inputs, state, _, _ = world("gru", 1, 1, 3, 2, 4, 1)
    hidden, _ = forward_window(CELLS["gru"], p, inputs, state)
    for x, h, made in zip(inputs[0], state, hidden[1], strict=True):
        Wr, Wz, Wn = np.split(p["W"], 3, axis=1)
        Ur, Uz, Un = np.split(p["U"], 3, axis=1)
        br, bz, bn = np.split(p["b"], 3)
        r = 1 / (1 + np.exp(-(x @ Wr + br + h @ Ur)))
        z = 1 / (1 + np.exp(-(x @ Wz + bz + h @ Uz)))
        n = np.tanh(x @ Wn + bn + r * (h @ Un + p["c"]))
        np.testing.assert_allclose(made, (1 - z) * n + z * h, rtol=1e-12)


def test_the_tanh_step_is_the_textbook_s() -> None:
    p, inputs, state, _, _ = world("tanh", 1, 1, 3, 2, 4, 1)
    hidden, _ = forward_window(CELLS["tanh"], p, inputs, state)
    np.testing.assert_allclose(hidden[1], np.tanh(inputs[0] @ p["W"] + state @ p["U"] + p["b"]), rtol=1e-12)
