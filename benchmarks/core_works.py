"""What benchmarks.core asks of streamrnn: a step, an update, and the products of matrices in each by themselves."""

from collections.abc import Callable

import numpy as np

from benchmarks.core import INPUTS, OUTPUTS, RATE, T
from benchmarks.stopwatch import Case, Works, answer
from streamrnn.core.backend import Array
from streamrnn.core.cells import CELLS, initial_cell
from streamrnn.core.fused import cell_for
from streamrnn.core.network import Network
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm
from streamrnn.core.stepper import Stepper
from streamrnn.core.truncated_bptt import window_gradients


def works_of(case: Case) -> Works:
    """A step and an update, and their products."""
    name, H, B = case
    random, cell = np.random.default_rng(0), CELLS[name]
    stepper, x = Stepper(Network(name, INPUTS, H), B), normal(random, T, B, INPUTS)
    return {
        "step": lambda: stepper.step(x[0]),
        "update": update(case, x, random),
        "step's products": products(step_shapes(cell.gates, H, B), random),
        "update's products": products(T * update_shapes(cell.gates, H, B), random),
    }


def update(case: Case, x: Array, random: np.random.Generator) -> Callable[[], None]:
    """Loss and gradients of a window, clipping and Adam, as the daemon's recurrent expert learns."""
    name, H, B = case
    cell = cell_for(name, np, endless=True)
    p = initial_cell(cell, INPUTS, H, random) | {"V": np.zeros((H, OUTPUTS)), "d": np.zeros(OUTPUTS)}
    learnt = {key: value.astype("float32") for key, value in p.items()}
    adam, state = adam_init(learnt), normal(random, B, cell.states * H)
    target, weight = normal(random, T, B, OUTPUTS), np.ones((T, B, OUTPUTS), "float32")

    def work() -> None:
        nonlocal learnt, adam
        made = window_gradients(cell, learnt, x, state, target, weight)
        gradients, _ = clip_by_global_norm(made.parameters, 1.0)
        learnt, adam = adam_update(learnt, gradients, adam, RATE)

    return work


def step_shapes(G: int, H: int, B: int) -> list[tuple[int, int, int]]:
    """(n, k, m) of each product (n, k) (k, m) in a step: x W, h U."""
    return [(B, INPUTS, G * H), (B, H, G * H)]


def update_shapes(G: int, H: int, B: int) -> list[tuple[int, int, int]]:
    """The same of a step's share of an update: forward, and back dh, dU, dW."""
    return [*step_shapes(G, H, B), (B, G * H, H), (H, B, G * H), (INPUTS, B, G * H)]


def products(shapes: list[tuple[int, int, int]], random: np.random.Generator) -> Callable[[], None]:
    """All of them, one after the other."""
    made = {
        (n, k, m): (normal(random, n, k), normal(random, k, m), np.empty((n, m), "float32")) for n, k, m in shapes
    }

    def work() -> None:
        for shape in shapes:
            a, b, out = made[shape]
            np.matmul(a, b, out=out)

    return work


def normal(random: np.random.Generator, *shape: int) -> Array:
    """Numbers of about 1."""
    return random.standard_normal(shape, "float32")


if __name__ == "__main__":
    answer(works_of)
