"""The fused cells of a device make the steps of `cells.py`, and nothing that CuPy could not fuse."""

from collections.abc import Callable

import numpy as np
import pytest

from streamrnn.core.backend import Parameters, to_host
from streamrnn.core.cells import CELLS, bounded, initial_cell
from streamrnn.core.fused import fused
from tests.strict_arrays import ndarray, strict

B, H = 5, 4


def on_device(p: Parameters) -> Parameters:
    return {name: strict.asarray(value) for name, value in p.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CELLS)
def test_a_fused_cell_steps_forward_and_back_as_the_cell_does(name: str, dtype: str) -> None:
    random, cell, made = np.random.default_rng(1), bounded(CELLS[name]), fused(name, strict)
    p = {key: value.astype(dtype) for key, value in initial_cell(cell, 3, H, random).items()}
    S = cell.states * H
    xw, d_next = (random.normal(size=shape).astype(dtype) for shape in ((cell.gates, B, H), (B, S)))
    state = (40.0 * random.normal(size=(B, S))).astype(dtype)  # some of it beyond the limits
    expected, tape = cell.forward(p, xw, state)
    found, fused_tape = made.forward(on_device(p), strict.asarray(xw), strict.asarray(state))
    bound = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(to_host(found), expected, rtol=bound, atol=bound)
    assert found.dtype == dtype

    grads, fused_grads = ({key: np.zeros_like(p[key]) for key in p if key in ("U", "c")} for _ in range(2))
    theirs = cell.backward(p, d_next, state, tape, grads)
    there = on_device(fused_grads)
    ours = made.backward(on_device(p), strict.asarray(d_next), strict.asarray(state), fused_tape, there)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_host(one), other, rtol=10 * bound, atol=10 * bound)
        assert one.dtype == dtype
    for key, value in there.items():
        np.testing.assert_allclose(to_host(value), grads[key], rtol=10 * bound, atol=100 * bound)


@pytest.mark.parametrize(
    "function",
    [lambda x: x[:, 0], lambda x: x * x.shape[0], lambda x: x if x.sum() > 0 else -x, lambda x: float(x[...].sum())],
)
def test_what_cupy_cannot_fuse_is_refused(function: Callable[[ndarray], ndarray]) -> None:
    with pytest.raises((NotImplementedError, TypeError)):
        strict.fuse()(function)(strict.ones((2, 2)))
