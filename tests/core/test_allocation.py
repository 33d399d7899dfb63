"""Steps make no arrays: not a stepper's, and not those of back-propagation through time between its ends."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamrnn.core.cells import CELLS, initial_cell, room_for, stepping, with_ones
from streamrnn.core.fused import cell_for
from streamrnn.core.network import Network
from streamrnn.core.stepper import Stepper
from streamrnn.core.truncated_bptt import NO_INPUT, forward_window, step_backward, step_forward

pytestmark = pytest.mark.usefixtures("on_the_host")  # tracemalloc knows NumPy's memory alone

T, B, D, H = 30, 64, 5, 128
TEMPORARY = B * H * 4  # bytes of the smallest that a step could make
FEW = TEMPORARY // 8  # bytes: views and numbers on the way, none of which stays


def most(work: Callable[[], object]) -> int:
    """The bytes that the work has taken at once, at most, once it is warm."""
    work()
    tracemalloc.start()
    try:
        work()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [{}, {"layers": 3, "outputs": 2}], ids=["one layer", "three layers and outputs"])
def test_a_stepper_s_steps_make_no_array(cell: str, shape: dict[str, Any]) -> None:
    stepper, x = Stepper(Network(cell, D, H, **shape), B), np.ones((T, B, D), "float32")

    def work() -> None:
        for each in x:
            stepper.step(each)

    assert most(work) < FEW


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("endless", [False, True])
def test_the_steps_of_a_window_make_no_array_forward_or_back(cell: str, endless: bool) -> None:
    random, made = np.random.default_rng(0), cell_for(cell, np, endless=endless)
    p = {name: value.astype("float32") for name, value in initial_cell(made, D, H, random).items()}
    x = with_ones(random.standard_normal((T, B, D), "float32"))
    states, tapes = forward_window(made, p, x, np.zeros((made.states, B, H), "float32"))
    q, xw = stepping(made, p, B), np.empty((made.gates, B, H), "float32")
    assert most(lambda: step_forward(made, q, x, xw, states, tapes)) < FEW

    grads = {name: np.zeros_like(p[name]) for name in ("U", "c") if name in p} | {"Wb": np.zeros_like(q["Wb"])}
    room, d_hidden, ds = room_for(p, B, NO_INPUT), np.ones((T, B, H), "float32"), np.zeros_like(states[0])
    d_x = np.empty((T, B, 0), "float32")
    assert most(lambda: step_backward(made, x, states, tapes, d_hidden, ds, d_x, grads, room)) < FEW


def test_one_temporary_array_in_one_step_would_be_seen() -> None:
    stepper, x = Stepper(Network("gru", D, H), B), np.ones((B, D), "float32")

    def work() -> None:
        y = stepper.step(x)
        y += y * 0.5

    assert most(work) >= TEMPORARY > FEW
