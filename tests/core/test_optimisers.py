"""The optimisers and clipping against the published equations, written out number by number."""

import numpy as np
import pytest

from streamrnn.core.backend import Parameters
from streamrnn.core.optimisers import (
    OPTIMISERS,
    AdamState,
    adam_init,
    adam_update,
    clip_by_global_norm,
    global_norm,
)

SHAPES = {"W": (3, 2), "b": (2,), "V": (2, 1)}


def tree(random: np.random.Generator, size: float = 1.0, dtype: str = "float64") -> Parameters:
    return {name: (size * random.standard_normal(shape)).astype(dtype) for name, shape in SHAPES.items()}


def copied(parameters: Parameters) -> Parameters:
    return {name: value.copy() for name, value in parameters.items()}


def adam_of_one_number(theta: float, gradients: list[float], rate: float) -> float:
    """Algorithm 1 of Kingma and Ba (2015), with its bias-corrected moments."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m = 0.9 * m + (1 - 0.9) * g
        v = 0.999 * v + (1 - 0.999) * g**2
        m_hat = m / (1 - 0.9**t)
        v_hat = v / (1 - 0.999**t)
        theta = theta - rate * m_hat / (v_hat**0.5 + 1e-8)
    return theta


def test_adam_makes_the_published_steps() -> None:
    random = np.random.default_rng(0)
    start, gradients = tree(random), [tree(random, 10.0**-i) for i in range(12)]
    parameters, state = start, adam_init(start)
    for g in gradients:
        parameters, state = adam_update(parameters, g, state, rate=0.003)
    assert state.count == 12
    for name, value in start.items():
        for index in np.ndindex(value.shape):
            expected = adam_of_one_number(float(value[index]), [float(g[name][index]) for g in gradients], 0.003)
            assert parameters[name][index] == pytest.approx(expected, rel=1e-12)


def slow(name: str, theta: float, gradients: list[float], rate: float) -> float:
    """The other optimisers, a number at a time, as their papers have them."""
    velocity = square = 0.0
    if name == "adamw":  # decay apart from Adam's moments, which see the gradients alone
        for n in range(1, len(gradients) + 1):
            step = adam_of_one_number(0.0, gradients[:n], rate) - adam_of_one_number(0.0, gradients[: n - 1], rate)
            theta = theta - rate * 0.01 * theta + step
        return theta
    for g in gradients:
        if name == "sgd":
            theta -= rate * g
        elif name == "momentum":
            velocity = 0.9 * velocity + g
            theta -= rate * velocity
        elif name == "rmsprop":
            square = 0.99 * square + 0.01 * g**2
            theta -= rate * g / (square**0.5 + 1e-8)
    return theta


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adamw"])
def test_every_optimiser_makes_its_published_steps(name: str) -> None:
    random = np.random.default_rng(7)
    start, gradients = tree(random), [tree(random, 10.0**-i) for i in range(8)]
    parameters, state = start, OPTIMISERS[name].init(start)
    for g in gradients:
        parameters, state = OPTIMISERS[name].update(parameters, g, state, 0.02)
    for key, value in start.items():
        for index in np.ndindex(value.shape):
            expected = slow(name, float(value[index]), [float(g[key][index]) for g in gradients], 0.02)
            assert parameters[key][index] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_leaves_what_it_was_given_and_keeps_single_precision(name: str) -> None:
    random = np.random.default_rng(8)
    parameters, gradients = tree(random, dtype="float32"), tree(random, dtype="float32")
    before = copied(parameters), copied(gradients)
    first, state = OPTIMISERS[name].update(parameters, gradients, OPTIMISERS[name].init(parameters), 0.1)
    again, _ = OPTIMISERS[name].update(parameters, gradients, OPTIMISERS[name].init(parameters), 0.1)
    OPTIMISERS[name].update(first, gradients, state, 0.1)
    for key in parameters:
        np.testing.assert_array_equal(parameters[key], before[0][key])
        np.testing.assert_array_equal(gradients[key], before[1][key])
        np.testing.assert_array_equal(first[key], again[key])
        assert first[key].dtype == "float32"


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_finds_the_bottom_of_a_bowl(name: str) -> None:
    parameters, state = {"a": np.array([3.0, -2.0])}, OPTIMISERS[name].init({"a": np.zeros(2)})
    for _ in range(600):
        parameters, state = OPTIMISERS[name].update(parameters, {"a": 2.0 * (parameters["a"] - 1.0)}, state, 0.02)
    np.testing.assert_allclose(parameters["a"], 1.0, atol=0.03)


def test_an_update_leaves_what_it_was_given_as_it_was() -> None:
    random = np.random.default_rng(1)
    parameters, gradients = tree(random), tree(random)
    _, state = adam_update(parameters, gradients, adam_init(parameters), rate=0.1)
    before = (copied(parameters), copied(gradients), AdamState(copied(state.mean), copied(state.square), state.count))
    adam_update(parameters, gradients, state, rate=0.1)
    for kept, now in zip(before[:2], (parameters, gradients), strict=True):
        for name in kept:
            np.testing.assert_array_equal(now[name], kept[name])
    for name in parameters:
        np.testing.assert_array_equal(state.mean[name], before[2].mean[name])
        np.testing.assert_array_equal(state.square[name], before[2].square[name])
    assert state.count == before[2].count


def test_weights_in_single_precision_stay_in_it() -> None:
    random = np.random.default_rng(2)
    parameters, gradients = tree(random, dtype="float32"), tree(random, dtype="float32")
    clipped, _ = clip_by_global_norm(gradients, 0.5)
    updated, state = adam_update(parameters, clipped, adam_init(parameters), rate=0.003)
    for arrays in (clipped, updated, state.mean, state.square):
        assert {value.dtype.name for value in arrays.values()} == {"float32"}


def test_the_global_norm_is_that_of_all_gradients_as_one_vector() -> None:
    gradients = tree(np.random.default_rng(3))
    assert global_norm(gradients) == pytest.approx(
        np.linalg.norm(np.concatenate([g.ravel() for g in gradients.values()]))
    )


def test_gradients_beyond_the_limit_are_shortened_together_to_the_limit() -> None:
    gradients = tree(np.random.default_rng(4), 100.0)
    kept = copied(gradients)
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert norm == pytest.approx(global_norm(kept))
    assert global_norm(clipped) == pytest.approx(1.0)
    for name in kept:
        np.testing.assert_allclose(clipped[name] * norm, kept[name], rtol=1e-12)  # the direction stays
        np.testing.assert_array_equal(gradients[name], kept[name])


def test_gradients_within_the_limit_stay_as_they_are() -> None:
    gradients = tree(np.random.default_rng(5), 1e-3)
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert norm < 1.0
    for name in gradients:
        np.testing.assert_array_equal(clipped[name], gradients[name])


def test_the_norm_of_a_gradient_that_is_no_number_is_none() -> None:
    gradients = tree(np.random.default_rng(6))
    gradients["b"][0] = np.nan
    _, norm = clip_by_global_norm(gradients, 1.0)
    assert np.isnan(norm)
