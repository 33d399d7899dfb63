"""The fused cells of a device make the steps of `cells.py`, and nothing that CuPy could not fuse."""

from collections.abc import Callable

import numpy as np
import pytest

from streamrnn.core.backend import Parameters, to_host
from streamrnn.core.cells import CELLS, initial_cell, one_step, room_for
from streamrnn.core.fused import cell_for
from tests.strict_arrays import ndarray, strict

B, H = 5, 4


def on_device(p: Parameters) -> Parameters:
    return {name: strict.asarray(value) for name, value in p.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("endless", [False, True])
def test_a_fused_cell_steps_forward_and_back_as_the_cell_does(name: str, dtype: str, endless: bool) -> None:
    random, cell, made = (
        np.random.default_rng(1),
        cell_for(name, np, endless=endless),
        cell_for(name, strict, endless=endless),
    )
    p = {key: value.astype(dtype) for key, value in initial_cell(cell, 3, H, random).items()}
    state_shape = (cell.states, B, H)
    shapes = (B, 3), (B, H), state_shape
    x, dh_next, d_state = (random.normal(size=shape).astype(dtype) for shape in shapes)
    state = (40.0 * random.normal(size=state_shape)).astype(dtype)  # some of it beyond the limits
    expected, tape = one_step(cell, p, x, state)
    found, fused_tape = one_step(made, on_device(p), strict.asarray(x), strict.asarray(state))
    bound = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(to_host(found), expected, rtol=bound, atol=bound)
    assert found.dtype == dtype

    names = [key for key in p if key in ("U", "c")]
    ours: Parameters = {key: np.zeros_like(p[key]) for key in names}
    ours |= {"xw": np.zeros((cell.gates, B, H), dtype), "state": d_state}
    theirs = on_device(ours)
    cell.backward(dh_next, ours["state"], state, expected, tape, ours["xw"], ours, room_for(p, B, slice(0)))
    given = strict.asarray(state), found, fused_tape, theirs["xw"], theirs, room_for(on_device(p), B, slice(0))
    made.backward(strict.asarray(dh_next), theirs["state"], *given)
    for key, value in theirs.items():
        np.testing.assert_allclose(to_host(value), ours[key], rtol=10 * bound, atol=100 * bound)
        assert value.dtype == dtype


@pytest.mark.parametrize(
    "function",
    [lambda x: x[:, 0], lambda x: x * x.shape[0], lambda x: x if x.sum() > 0 else -x, lambda x: float(x[...].sum())],
)
def test_what_cupy_cannot_fuse_is_refused(function: Callable[[ndarray], ndarray]) -> None:
    with pytest.raises((NotImplementedError, TypeError)):
        strict.fuse()(function)(strict.ones((2, 2)))
