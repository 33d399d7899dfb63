"""A stepper gives what `forward` gives, and makes no array on the way; nor does back-propagation between its steps."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamrnn.core.backend import Array
from streamrnn.core.cells import CELLS, by_part, initial_cell, room_for, stepping, tapes_for, with_ones
from streamrnn.core.fused import cell_for
from streamrnn.core.network import Network, State
from streamrnn.core.stepper import Stepper
from streamrnn.core.truncated_bptt import NO_INPUT, forward_window, step_backward, step_forward
from streamrnn.errors import StreamRNNError

B, D, H, T = 64, 5, 128, 8
ROW = B * H * 4  # bytes of the smallest temporary that a step could make: 32 KiB
FEW = 4096  # bytes: views and numbers, none of which stays


def peak(work: Callable[[], object]) -> int:
    """Bytes that the work has taken at once, at most, once it is warm."""
    for _ in range(3):
        work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def on_numpy(request: pytest.FixtureRequest) -> None:
    ...


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("shape", [{"layers": 1}, {"layers": 3, "outputs": 2}])
def test_steps_make_no_array(cell: str, shape: dict[str, Any]) -> None:
    stepper, x = Stepper(Network(cell, D, H, **shape), B), np.ones((T, B, D), "float32")

    def work() -> None:
        for each in x:
            stepper.step(each)

    assert peak(work) < FEW


def window(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """All steps of a window forward, and back, in arrays that are there."""
    random, cell = np.random.default_rng(0), cell_for(name, np, endless=True)
    p = {key: value.astype("float32") for key, value in initial_cell(cell, D, H, random).items()}
    x = with_ones(random.standard_normal((T, B, D), "float32"))
    state = random.standard_normal((cell.states, B, H), "float32")
    states, tapes = forward_window(cell, p, x, state)
    q, room, xw = stepping(cell, p, B), room_for(p, B, NO_INPUT), np.empty((cell.gates, B, H), "float32")
    grads = {key: np.zeros_like(p[key]) for key in ("U", "c") if key in p} | {"Wb": np.zeros_like(q["Wb"])}
    d_hidden, ds, d_x = np.ones((T, B, H), "float32"), np.ones_like(state), np.empty((T, B, 0), "float32")
    return (
        lambda: step_forward(cell, q, x, xw, states, tapes),
        lambda: step_backward(cell, x, states, tapes, d_hidden, ds, d_x, grads, room),
    )
