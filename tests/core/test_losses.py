"""The squared error and its gradient, element by element."""

import numpy as np
import pytest

from streamrnn.core.backend import Array
from streamrnn.core.losses import squared_error


def world(seed: int) -> tuple[Array, Array, Array]:
    random = np.random.default_rng(seed)
    shape = (7, 3)
    return random.normal(size=shape), random.normal(size=shape), random.choice([0.0, 0.5, 1.0], shape)


def slow_loss(output: Array, target: Array, weight: Array) -> float:
    rows = sum(1 for row in weight.tolist() if any(w > 0 for w in row))
    total = 0.0
    for o, y, w in zip(output.ravel().tolist(), target.ravel().tolist(), weight.ravel().tolist(), strict=True):
        total += w * (o - y) ** 2
    return total / rows


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_the_weighted_squared_error_a_row_that_counts(seed: int) -> None:
    output, target, weight = world(seed)
    weight[2] = 0.0
    assert squared_error(output, target, weight)[0] == pytest.approx(slow_loss(output, target, weight), rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_the_loss_s_finite_difference(seed: int) -> None:
    output, target, weight = world(seed)
    _, gradient = squared_error(output, target, weight)
    for index in np.ndindex(output.shape):
        above, below = output.copy(), output.copy()
        above[index] += 1e-6
        below[index] -= 1e-6
        expected = (slow_loss(above, target, weight) - slow_loss(below, target, weight)) / 2e-6
        assert gradient[index] == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_what_has_no_weight_changes_neither_the_loss_nor_a_gradient() -> None:
    output, target, weight = world(9)
    loss, gradient = squared_error(output, target, weight)
    other, other_gradient = squared_error(output, np.where(weight > 0, target, 1e6), weight)
    assert other == loss
    np.testing.assert_array_equal(other_gradient, gradient)
    assert (gradient[weight == 0] == 0).all()


def test_where_nothing_counts_the_loss_and_its_gradient_are_zero() -> None:
    output, target, weight = world(10)
    loss, gradient = squared_error(output, target, 0 * weight)
    assert loss == 0.0
    assert not gradient.any()


def test_a_loss_leaves_the_outputs_and_targets_as_they_were() -> None:
    arrays = world(11)
    kept = [array.copy() for array in arrays]
    squared_error(*arrays)
    for array, before in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(array, before)
