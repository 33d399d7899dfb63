"""Intervals that cover what they promise, whatever the errors do."""

import numpy as np
import pytest

from streamrnn.core import intervals
from streamrnn.core.backend import Array

ONE = np.array([1])  # step ahead


def covered(errors: Array, coverage: float) -> Array:
    """Whether each error (T, B) was within the interval forecast before it."""
    T, B = errors.shape
    quantiles = np.full((B, 1, 2), intervals.initial_quantile(coverage), "float32")
    size = np.zeros((B, 1), "float32")
    inside = np.zeros((T, B), bool)
    for t in range(T):
        below, above = intervals.bounds(quantiles, size)
        error = errors[t, :, None].astype("float32")
        inside[t] = ((-error <= below) & (error <= above))[:, 0]
        intervals.learn(
            quantiles, size, error, below, above, np.ones((B, 1), bool), np.full((B, 1), t), ONE, coverage
        )
    return inside


def heavy_tailed(random: np.random.Generator, T: int, B: int) -> Array:
    made: Array = random.standard_t(2.0, (T, B))
    return made


def growing(random: np.random.Generator, T: int, B: int) -> Array:
    """Errors whose size drifts by a hundredfold, and whose mean drifts by half their deviation to either side."""
    phase = np.linspace(0, 6 * np.pi, T)[:, None]
    made: Array = np.exp(2.3 * np.sin(phase)) * (random.normal(size=(T, B)) + 0.5 * np.cos(phase))
    return made


def skewed(random: np.random.Generator, T: int, B: int) -> Array:
    made: Array = random.exponential(1.0, (T, B)) - 0.5
    return made


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("errors", [heavy_tailed, growing, skewed])
def test_in_the_long_run_the_nominal_part_of_the_errors_is_inside(errors: object, coverage: float) -> None:
    inside = covered(errors(np.random.default_rng(0), 12_000, 4), coverage)  # type: ignore[operator]
    assert inside[500:].mean(0) == pytest.approx(coverage, abs=0.02)


def test_skewed_errors_miss_on_either_side_equally_often() -> None:
    errors = skewed(np.random.default_rng(1), 6000, 4)
    missed = ~covered(errors, 0.8)[500:]
    above = (missed & (errors[500:] > 0)).mean()
    assert above == pytest.approx(0.1, abs=0.02)
    assert missed.mean() - above == pytest.approx(0.1, abs=0.02)


def test_an_interval_starts_as_that_of_normal_errors() -> None:
    random = np.random.default_rng(2)
    errors = random.normal(size=200_000)
    reach = intervals.initial_quantile(0.9) * np.abs(errors).mean()
    assert np.mean(np.abs(errors) <= reach) == pytest.approx(0.9, abs=0.003)


def test_an_interval_reaches_no_way_but_outward() -> None:
    quantiles, size = np.array([[[-1.0, 2.0]]], "float32"), np.array([[3.0]], "float32")
    below, above = intervals.bounds(quantiles, size)
    assert (below.tolist(), above.tolist()) == ([[0.0]], [[6.0]])


def test_an_error_that_is_not_valid_changes_nothing() -> None:
    quantiles, size = np.ones((2, 1, 2), "float32"), np.ones((2, 1), "float32")
    valid = np.array([[True], [False]])
    below, above = intervals.bounds(quantiles, size)
    error = np.full((2, 1), 9.0, "float32")
    intervals.learn(quantiles, size, error, below, above, valid, np.full((2, 1), 50), ONE, 0.9)
    assert quantiles[1].tolist() == [[1.0, 1.0]]
    assert size[1].tolist() == [1.0]
    assert quantiles[0].tolist() != [[1.0, 1.0]]
    assert size[0].tolist() != [1.0]


def test_a_quantile_moves_by_what_was_missed_less_what_should_be() -> None:
    quantiles, size = np.full((1, 1, 2), 2.0, "float32"), np.full((1, 1), 0.5, "float32")
    below, above = intervals.bounds(quantiles, size)
    error, valid = np.full((1, 1), 4.0, "float32"), np.ones((1, 1), bool)
    intervals.learn(quantiles, size, error, below, above, valid, np.full((1, 1), 990), ONE, 0.9)
    np.testing.assert_allclose(quantiles[0, 0], [2.0 - 0.02 * 0.05, 2.0 + 0.02 * 0.95], rtol=1e-6)
    assert size[0, 0] == pytest.approx(0.5 + 3.5 / 100)


def test_what_was_missed_goes_by_the_reach_that_the_forecast_was_given() -> None:
    quantiles, size = np.full((1, 1, 2), 2.0, "float32"), np.full((1, 1), 0.5, "float32")
    below, above = np.array([[3.0]], "float32"), np.array([[3.0]], "float32")  # of now it would be 1 on either side
    error, valid = np.full((1, 1), -2.0, "float32"), np.ones((1, 1), bool)
    intervals.learn(quantiles, size, error, below, above, valid, np.full((1, 1), 990), ONE, 0.9)
    np.testing.assert_allclose(quantiles[0, 0], [2.0 - 0.02 * 0.05, 2.0 - 0.02 * 0.05], rtol=1e-6)


def test_the_quantiles_of_a_longer_horizon_move_less() -> None:
    quantiles, size = np.full((1, 2, 2), 2.0, "float32"), np.full((1, 2), 0.5, "float32")
    below, above = intervals.bounds(quantiles, size)
    valid, counted = np.ones((1, 2), bool), np.full((1, 2), 990)
    intervals.learn(quantiles, size, np.full((1, 2), 9.0), below, above, valid, counted, np.array([1, 27]), 0.9)
    moved = quantiles[0] - 2.0
    np.testing.assert_allclose(moved[1], moved[0] / 3.0, atol=1e-6)
