"""Profiles: which phase a step has, and what is learnt of it."""

import numpy as np
import pytest

from streamrnn.core import profiles
from streamrnn.core.season import Season
from streamrnn.engine.features import seasonal, take_in
from streamrnn.engine.forecaster import layout_of
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.stream_table import StreamTable

HOUR = 3_600_000.0
BY_TIME, BY_STEPS = Season(24, 24 * HOUR, 24), Season(24, 0.0, 24)
MONDAY = 1_704_067_200_000.0  # 2024-01-01, midnight

NO_LIMIT = np.array([np.inf])


def phase(season: Season, time: float, steps: int = 0, interval: float = HOUR, ahead: int = 0) -> int:
    at = profiles.phase_at(season, np.array([time]), np.array([steps]), np.array([interval]), np.array([ahead]))
    return int(at[0, 0])


def test_a_phase_goes_by_time_where_the_season_has_one() -> None:
    hours = np.arange(50)
    made = [phase(BY_TIME, MONDAY + h * HOUR, steps=7) for h in hours.tolist()]
    assert made == (hours % 24).tolist()


def test_a_phase_goes_by_steps_where_the_season_has_no_time() -> None:
    made = [phase(BY_STEPS, 123.0, steps=t) for t in range(50)]
    assert made == [t % 24 for t in range(50)]


@pytest.mark.parametrize("season", [BY_TIME, BY_STEPS])
def test_the_phase_some_steps_ahead_is_the_one_that_the_step_will_have(season: Season) -> None:
    for ahead in (-30, -3, 0, 1, 23, 24, 100):
        then = phase(season, MONDAY + (5 + ahead) * HOUR, steps=35 + ahead)
        if season is BY_STEPS:
            then = phase(season, 0.0, steps=35 + ahead)
        assert phase(season, MONDAY + 5 * HOUR, steps=35, ahead=ahead) == then


def test_jitter_of_less_than_half_a_phase_changes_no_phase() -> None:
    random = np.random.default_rng(0)
    for h in range(48):
        jitter = random.uniform(-0.45, 0.45) * HOUR
        assert phase(BY_TIME, MONDAY + h * HOUR + jitter) == h % 24


def test_after_a_gap_of_time_a_phase_is_that_of_the_clock() -> None:
    times = np.concatenate([np.arange(10), np.arange(47, 60)])  # 36 steps never came
    made = [phase(BY_TIME, MONDAY + h * HOUR, steps=t) for t, h in enumerate(times.tolist())]
    assert made == (times % 24).tolist()


def test_coarser_phases_hold_several_steps_each() -> None:
    minutes = Season(1440, 24 * HOUR, 288)
    made = [phase(minutes, MONDAY + t * HOUR / 60, interval=HOUR / 60) for t in range(1440)]
    assert set(np.bincount(made).tolist()) == {5}
    assert made[0] == made[2] == 0
    assert phase(minutes, MONDAY, interval=HOUR / 60, ahead=60) == made[60]


def test_a_profile_is_a_mean_at_first_and_an_exponential_average_later() -> None:
    values = np.random.default_rng(1).normal(size=300)
    now, visits = np.zeros((1, 2)), np.zeros(1, "uint8")
    expected = [0.0, 0.0]
    for seen, x in enumerate(values.tolist()):
        now, visits = profiles.update(now, visits, np.array([x]), NO_LIMIT, np.array([True]))
        expected = [p + max(alpha, 1 / (seen + 1)) * (x - p) for p, alpha in zip(expected, (0.02, 0.1), strict=True)]
        np.testing.assert_allclose(now[0], expected, rtol=1e-12)
        if seen < 10:
            assert now[0, 0] == pytest.approx(values[: seen + 1].mean())
    assert (visits[0], visits.dtype) == (255, np.dtype("uint8"))  # a count that does not overflow


def test_a_value_that_was_not_observed_changes_no_profile() -> None:
    now, visits = np.array([[1.0, 2.0]]), np.array([3], "uint8")
    after, visited = profiles.update(now, visits, np.array([9.0]), NO_LIMIT, np.array([False]))
    assert (after.tolist(), visited.tolist()) == ([[1.0, 2.0]], [3])


def test_turns_are_those_of_one_season_and_of_seven() -> None:
    time = np.array([MONDAY + 30 * HOUR])
    np.testing.assert_allclose(profiles.turn(BY_STEPS, time, np.array([30]))[0], [0.25, 30 / 168])
    by_time = profiles.turn(BY_TIME, time, np.array([0]))[0]
    week = (MONDAY + 30 * HOUR) / (168 * HOUR) % 1.0
    np.testing.assert_allclose(by_time, [0.25, week], atol=1e-9)


def test_a_phase_that_was_never_visited_counts_as_the_level() -> None:
    table = StreamTable(layout_of(ForecastSettings(hidden=4, horizons=(1, 23))))
    table.set_season(BY_STEPS)
    rows = table.rows(table.slots([b"a"]))
    values = [10.0, 20.0, 40.0]
    for t, x in enumerate(values):
        g = table.gather(("steps", "moments", "levels", "differences"), rows)
        value, missing, time = np.array([x]), np.array([False]), np.array([t * HOUR])
        _, limit, _ = take_in(g, value, missing, time)
        view = seasonal(table, g, rows, value, limit, missing, time)
        g["steps"] += 1
        table.scatter(g, rows)
    level = g["levels"][0, 0]  # (10 + 20 + 40) / 3
    assert level == pytest.approx(70 / 3)
    np.testing.assert_allclose(view.change[0], [level - 40.0, 20.0 - 40.0])
