"""What makes series comparable, number by number and at its edges."""

import numpy as np
import pytest

from streamrnn.core import scaling
from streamrnn.core.backend import Array

NO_LIMIT = np.array([np.inf])


def scales(differences: Array) -> Array:
    """The scale S after each of these differences of one series."""
    square, moves = np.zeros(1), np.zeros(1)
    made = []
    for difference in differences:
        scaling.update_scale(square, moves, np.array([difference]))
        made.append(float(np.sqrt(square[0])))
    return np.array(made)


def test_the_scale_is_the_root_mean_square_of_the_differences_that_are_not_zero() -> None:
    differences = np.random.default_rng(0).uniform(0.5, 2.0, 1000) * np.tile([1, -1, 0, 0], 250)
    moved = differences[differences != 0]
    assert scales(differences)[-1] == pytest.approx(np.sqrt(np.mean(moved**2)), rel=1e-9)


def test_a_series_that_has_not_moved_has_no_scale() -> None:
    assert not scales(np.zeros(50)).any()
    assert not scales(np.full(50, 1e-160)).any()


def test_the_first_move_is_the_scale_whatever_its_size() -> None:
    for size in (1e-140, 1e-6, 1.0, 1e6, 1e140):
        assert scales(np.array([0.0, -size]))[-1] == pytest.approx(size)


def test_after_a_jitter_a_real_move_neither_explodes_the_scale_nor_stays_unseen() -> None:
    made = scales(np.concatenate([np.full(100, 1e-6), np.full(200, 1.0)]))
    growth = made[101:] / made[100:-1]
    assert growth.max() <= np.sqrt(1.0 + scaling.SCALE_CLIP)
    assert made[100] < 2e-6  # one move alone is not believed
    assert made[-1] > 0.5


def test_one_wild_value_counts_at_most_a_hundred_times_the_mean_square() -> None:
    before, after = scales(np.append(np.ones(1000), 1e9))[-2:]
    assert after == pytest.approx(before * np.sqrt(1.0 + (scaling.SCALE_CLIP - 1.0) / 1001), rel=1e-9)


def test_the_scale_forgets_what_lies_far_behind_its_window() -> None:
    window = scaling.SCALE_WINDOW
    made = scales(np.concatenate([np.full(window, 10.0), np.full(3 * window, 1.0)]))
    expected = 1.0 + 99.0 * (1.0 - 1.0 / window) ** (3 * window)
    assert made[-1] == pytest.approx(np.sqrt(expected), rel=1e-9)


def test_the_scale_of_a_series_in_other_units_is_its_scale_in_those_units() -> None:
    differences = np.random.default_rng(1).standard_t(2, 500)
    for a in (1e-6, 1e-3, 1e6):
        np.testing.assert_allclose(scales(a * differences), a * scales(differences), rtol=1e-9)


def test_a_level_is_the_plain_mean_at_first_and_an_exponential_average_then() -> None:
    values = np.random.default_rng(2).normal(size=300)
    levels = np.zeros((1, 4))
    slow = [0.0] * 4
    for n, x in enumerate(values):
        scaling.update_levels(levels, np.array([x]), NO_LIMIT, np.array([float(n)]), np.array([True]))
        for i, window in enumerate((16, 64, 256, 1024)):
            slow[i] += max(1 / window, 1 / (n + 1)) * (float(x) - slow[i])
        np.testing.assert_allclose(levels[0], slow, rtol=1e-9, atol=1e-12)
        if n < 16:
            np.testing.assert_allclose(levels[0], values[: n + 1].mean(), rtol=1e-9, atol=1e-12)


def test_a_value_that_was_not_observed_moves_no_level() -> None:
    levels = np.arange(8.0).reshape(2, 4)
    before = levels.copy()
    scaling.update_levels(levels, np.array([100.0, 100.0]), NO_LIMIT, np.array([5.0, 5.0]), np.array([False, True]))
    np.testing.assert_array_equal(levels[0], before[0])
    assert (levels[1] != before[1]).all()


def test_an_input_is_divided_by_the_root_of_its_running_mean_square() -> None:
    inputs = (np.random.default_rng(3).normal(size=(500, 1, 2)) * [1.0, 1e-2]).astype("float32")
    mean_square = np.zeros((1, 2), "float32")
    for n, x in enumerate(inputs):
        made = scaling.normalise(x, mean_square, np.array([n]), 4.0)
        expected = x / np.sqrt(np.mean(inputs[: n + 1].astype(float) ** 2, axis=0))
        np.testing.assert_allclose(made, np.clip(expected, -4, 4), rtol=1e-4)


def test_an_input_forgets_what_lies_far_behind_its_window() -> None:
    mean_square = np.full((1, 1), 100.0, "float32")
    for n in range(scaling.INPUT_WINDOW, 6 * scaling.INPUT_WINDOW):
        scaling.normalise(np.ones((1, 1), "float32"), mean_square, np.array([n]), 4.0)
    assert mean_square[0, 0] == pytest.approx(1.0 + 99.0 * np.exp(-5.0), rel=1e-2)


def test_an_input_is_clipped_and_one_that_was_always_zero_stays_zero() -> None:
    mean_square = np.array([[1e-8, 0.0]], "float32")
    inputs = np.array([[-5.0, 0.0]], "float32")
    made = scaling.normalise(inputs, mean_square, np.array([5000]), 4.0)
    assert made.tolist() == [[-4.0, 0.0]]
