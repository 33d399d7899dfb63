"""The losses and their gradients, element by element."""

import numpy as np
import pytest

from streamrnn.core.backend import Array
from streamrnn.core.losses import LOSSES, cross_entropy, huber, pinball, squared_error


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


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_huber_s_loss_is_squared_near_the_target_and_linear_far_from_it(delta: float) -> None:
    output, target, weight = world(12)
    total = 0.0
    for e, w in zip((output - target).ravel().tolist(), weight.ravel().tolist(), strict=True):
        total += w * (e * e / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2))
    rows = (weight > 0).any(1).sum()
    assert huber(output, target, weight, delta)[0] == pytest.approx(total / rows, rel=1e-12)


def test_the_pinball_loss_of_a_quantile_weighs_what_is_above_by_q_and_what_is_below_by_one_minus_q() -> None:
    one = np.ones((1, 3))
    above, _ = pinball(0 * one, 2 * one, one, [0.1, 0.5, 0.9])
    below, _ = pinball(0 * one, -2 * one, one, [0.1, 0.5, 0.9])
    assert above == pytest.approx(2 * (0.1 + 0.5 + 0.9))
    assert below == pytest.approx(2 * (0.9 + 0.5 + 0.1))
    assert pinball(0 * one, 2 * one, one * [0, 0, 1])[0] == pytest.approx(2 * 0.9)


def test_the_pinball_loss_is_least_at_the_quantiles() -> None:
    drawn = np.random.default_rng(0).normal(size=(20_001, 1)) * np.ones(3)
    quantiles = np.quantile(drawn[:, 0], [0.1, 0.5, 0.9])
    _, gradient = pinball(np.broadcast_to(quantiles, drawn.shape), drawn, np.ones(drawn.shape))
    assert np.abs(gradient.sum(0)).max() < 1e-4


def test_the_cross_entropy_of_a_class_held_for_nineteen_in_twenty_is_minus_ln_of_it() -> None:
    loss, _ = cross_entropy(np.log([[0.95, 0.03, 0.02]]), np.array([0]), np.ones(1))
    assert loss == pytest.approx(-np.log(0.95), rel=1e-12)
    assert round(loss, 3) == 0.051


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_cross_entropy_of_logits_of_ten_thousand_is_finite_and_exact(dtype: str) -> None:
    logits = np.array([[1e4, -1e4], [1e4, -1e4], [-1e4, -1e4]], dtype)
    loss, gradient = cross_entropy(logits, np.array([0, 1, 1]), np.ones(3, dtype))
    assert loss == pytest.approx((0 + 2e4 + np.log(2)) / 3, rel=1e-6)
    np.testing.assert_allclose(gradient, np.array([[0, 0], [1, -1], [0.5, -0.5]]) / 3, rtol=1e-6, atol=1e-12)
    assert gradient.dtype == dtype


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["huber", "pinball", "cross_entropy"])
def test_every_loss_s_gradient_is_its_finite_difference(name: str, seed: int) -> None:
    loss, (output, target, weight) = LOSSES[name], world(seed)
    if name == "cross_entropy":
        target, weight = np.random.default_rng(seed).integers(0, 3, 7), weight[:, 0]
    _, gradient = loss(output, target, weight)
    for index in np.ndindex(output.shape):
        above, below = output.copy(), output.copy()
        above[index] += 1e-6
        below[index] -= 1e-6
        expected = (loss(above, target, weight)[0] - loss(below, target, weight)[0]) / 2e-6
        assert gradient[index] == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_keeps_single_precision(name: str) -> None:
    output, target, weight = (array.astype("float32") for array in world(13))
    if name == "cross_entropy":
        target, weight = np.zeros(7, int), weight[:, 0]
    value, gradient = LOSSES[name](output, target, weight)
    assert isinstance(value, float)
    assert gradient.dtype == "float32"
