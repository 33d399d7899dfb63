"""Adam and clipping against the published equations, written out number by number."""

import numpy as np
import pytest

from streamrnn.core.backend import Parameters
from streamrnn.core.optimisers import AdamState, adam_init, adam_update, clip_by_global_norm, global_norm

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
