"""How forecasts are scored, against figures worked out by hand."""

import numpy as np
import pytest

from streamrnn.service.score import Score, held, season_of

HOUR = 3_600_000
NAN = float("nan")


def scored(
    values: list[list[float]],
    mean: list[list[float]],
    *,
    horizon: int = 1,
    season: int | None = None,
    half_width: float = 1.0,
) -> dict[str, float | int | None]:
    """The report on forecasts mean (R, C) of one horizon, with intervals of this half width."""
    score = Score(np.array(values, float), (horizon,), season)
    score.scale[:] = 1.0
    made = np.array(mean, float)[:, :, None]
    score.add(0, made, made - half_width, made + half_width)
    return score.report()[0]


def test_errors_are_those_of_the_value_that_came_horizon_rows_later() -> None:
    entry = scored([[0], [10], [20], [30]], [[21], [33], [99], [99]], horizon=2)
    assert (entry["horizon"], entry["forecasts"]) == (2, 2)
    assert (entry["mse"], entry["mae"]) == ((1 + 9) / 2, (1 + 3) / 2)


def test_persistence_says_that_nothing_changes() -> None:
    entry = scored([[0], [1], [4], [4]], [[0]] * 4)
    assert (entry["persistence_mse"], entry["persistence_mae"]) == ((1 + 9 + 0) / 3, (1 + 3 + 0) / 3)


def test_persistence_holds_the_last_value_over_missing_ones() -> None:
    entry = scored([[2], [NAN], [NAN], [5]], [[0]] * 4)
    assert (entry["forecasts"], entry["persistence_mae"]) == (1, 3.0)


def test_the_seasonal_naive_says_what_came_at_the_same_hour_last_time() -> None:
    values = [[1.0], [2.0], [3.0], [11.0], [22.0], [33.0]]
    entry = scored(values, [[0]] * 6, season=3)
    # rows 1 and 2 have no season before them, so that the last value stands there; then 1, 2 and 3 are repeated
    assert entry["seasonal_mae"] == ((2 - 1) + (3 - 2) + (11 - 1) + (22 - 2) + (33 - 3)) / 5


def test_beyond_a_season_the_seasonal_naive_goes_back_by_as_many_as_are_over() -> None:
    values = [[1.0], [2.0], [3.0], [4.0], [50.0], [60.0], [70.0], [80.0]]
    entry = scored(values, [[0]] * 8, season=2, horizon=3)
    # from row t the row t + 3 - 4 is the last of its phase that has come; from row 0 none has
    assert entry["seasonal_mae"] == ((4 - 1) + (50 - 1) + (60 - 2) + (70 - 3) + (80 - 4)) / 5


def test_the_seasonal_naive_takes_the_last_value_before_a_missing_one() -> None:
    entry = scored([[1], [NAN], [7], [9]], [[0]] * 4, season=2)
    # row 2 is told by row 0; row 3 by row 1, which is missing, so by what was held there
    assert entry["seasonal_mae"] == ((7 - 1) + (9 - 1)) / 2


def test_without_a_season_there_is_no_seasonal_naive() -> None:
    assert not [name for name in scored([[0], [1]], [[0]] * 2) if name.startswith("seasonal")]


def test_coverage_is_the_share_of_values_inside_their_interval_bounds_included() -> None:
    entry = scored([[0], [1.0], [2.1], [-1.0], [0.5]], [[0]] * 5)
    assert (entry["coverage"], entry["width"]) == (3 / 4, 2.0)


def test_a_missing_truth_is_not_scored() -> None:
    entry = scored([[0], [NAN], [2], [3]], [[9], [1], [3], [9]])
    assert (entry["forecasts"], entry["mae"], entry["coverage"]) == (2, (1 + 0) / 2, 1.0)


def test_a_missing_forecast_is_not_scored_and_neither_are_its_rivals() -> None:
    entry = scored([[0], [1], [2]], [[NAN], [3], [9]])
    assert (entry["forecasts"], entry["mae"], entry["persistence_mae"]) == (1, 1.0, 1.0)


def test_where_nothing_was_scored_there_are_no_figures() -> None:
    entry = scored([[NAN], [NAN], [NAN]], [[NAN]] * 3, season=2)
    assert entry.pop("horizon") == 1
    assert entry.pop("forecasts") == 0
    assert set(entry.values()) == {None}


def test_errors_are_in_standard_deviations_of_their_column() -> None:
    values = np.array([[0.0, 0.0], [2.0, 200.0], [0.0, 0.0], [2.0, 200.0]])  # standard deviations 1 and 100
    score = Score(values, (1,), None)
    made = np.array([[3.0, 300.0], [1.0, 100.0], [2.0, 200.0], [0.0, 0.0]])[:, :, None]
    width = np.array([[1.0], [100.0]])
    score.add(0, made, made - width, made + width)
    first, second = (score.report(np.array(column))[0] for column in ([True, False], [False, True]))
    assert first == second
    assert (first["mae"], first["width"]) == ((1 + 1 + 0) / 3, 2.0)
    assert score.report()[0]["forecasts"] == 6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.full((3, 2), NAN), np.full((3, 2), 7.0), np.zeros((1, 2))])
def test_a_column_without_spread_is_scored_in_its_own_units_and_warns_of_nothing(values: np.ndarray) -> None:
    score = Score(values, (1,), None)
    assert score.scale.tolist() == [1.0, 1.0]
    made = values[:, :, None]
    score.add(0, made, made, made)
    assert score.report()[0]["mae"] in (None, 0.0)


def test_scoring_in_chunks_is_scoring_at_once() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(40, 3))
    values[random.random(values.shape) < 0.2] = NAN
    mean = random.normal(size=(40, 3, 2))
    whole, cut = (Score(values, (1, 5), 6) for _ in range(2))
    whole.add(0, mean, mean - 1, mean + 1)
    for first, stop in ((0, 1), (1, 17), (17, 39), (39, 40)):
        cut.add(first, mean[first:stop], mean[first:stop] - 1, mean[first:stop] + 1)
    for one, other in zip(whole.report(), cut.report(), strict=True):
        assert one == pytest.approx(other)


def test_each_column_is_held_by_itself_and_nothing_stands_before_its_first_value() -> None:
    values = np.array([[NAN, 1.0], [2.0, NAN], [NAN, NAN], [3.0, 4.0]])
    np.testing.assert_array_equal(held(values), [[NAN, 1.0], [2.0, 1.0], [2.0, 1.0], [3.0, 4.0]])


@pytest.mark.parametrize(
    ("step", "season"), [(HOUR, 24), (HOUR // 4, 96), (HOUR // 60, 1440), (12 * HOUR, 2), (7 * HOUR, None)]
)
def test_the_season_is_a_day_where_the_steps_divide_one(step: int, season: int | None) -> None:
    assert season_of(np.arange(10) * step) == season


@pytest.mark.parametrize("times", [[], [5], [5, 5, 5], [9, 8, 7], [0, 24 * HOUR], [0, 1000]])
def test_times_without_steps_of_some_minutes_to_half_a_day_have_no_season(times: list[int]) -> None:
    assert season_of(np.array(times, np.int64)) is None
