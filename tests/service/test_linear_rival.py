"""The linear rival learns what is linear, and knows nothing of what is to come."""

import numpy as np
import pytest

from streamrnn.service.linear_rival import linear_forecasts
from streamrnn.service.score import held

NAN = float("nan")


def made(values: np.ndarray, horizons: tuple[int, ...] = (1,), season: int | None = None) -> np.ndarray:
    return linear_forecasts(values, held(values), horizons, season)


def test_it_learns_a_linear_process_almost_to_its_noise() -> None:
    random = np.random.default_rng(0)
    noise, y = random.normal(size=4000), np.zeros(4000)
    for t in range(2, 4000):
        y[t] = 1.6 * y[t - 1] - 0.8 * y[t - 2] + noise[t]
    error = made(y[:, None])[2000:-1, 0, 0] - y[2001:]
    assert np.mean(error**2) < 1.1 * np.mean(noise[2001:] ** 2)


def test_it_learns_a_season_that_no_lag_tells() -> None:
    hours = np.arange(24 * 60)
    y = np.where(hours % 24 == 7, 10.0, 0.0)[:, None] + 5 * np.cos(2 * np.pi * hours / 24)[:, None]
    error = made(y, (1, 24), season=24)[-240:-24] - np.stack([y[-239:-23, 0], y[-216:, 0]], axis=1)[:, None, :]
    assert np.abs(error).max() < 0.5


def test_no_forecast_knows_what_came_after_its_row() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(600, 2))
    values[random.random(values.shape) < 0.1] = NAN
    changed = values.copy()
    changed[400:] = 1e3
    for season in (None, 24):
        one, other = made(values, (1, 24), season), made(changed, (1, 24), season)
        np.testing.assert_array_equal(one[:400], other[:400])
        assert not np.array_equal(one[400:], other[400:])


def test_before_it_has_learnt_anything_it_holds_the_last_value() -> None:
    values = np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [4.0, 5.0]])
    np.testing.assert_array_equal(made(values, (1, 2))[:, :, 1], held(values))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values", [np.zeros((0, 2)), np.full((500, 2), NAN), np.full((500, 2), 7.0), np.zeros((1, 1))]
)
def test_where_there_is_nothing_to_learn_it_warns_of_nothing(values: np.ndarray) -> None:
    np.testing.assert_array_equal(made(values, (1, 24), 24)[:, :, 0], values)
