"""Seasons that are there are found, those that are not are not."""

import numpy as np
import pytest

from streamrnn.core import season
from streamrnn.core.backend import Array
from streamrnn.core.season import Season

HOUR, DAY = 3_600_000.0, 86_400_000.0


def wave(seed: int, period: float, M: int = 4, n: int = 1200, noise: float = 0.5) -> Array:
    """M noisy waves of this period, each with a phase of its own: (M, n)."""
    random = np.random.default_rng(seed)
    turns = np.arange(n) / period + random.random((M, 1))
    made: Array = np.sin(2 * np.pi * turns) + noise * random.normal(size=(M, n))
    return made


def pattern(seed: int, period: int, M: int = 4, n: int = 1200) -> Array:
    """M series that each repeat a ragged pattern of their own, with as much noise: (M, n)."""
    random = np.random.default_rng(seed)
    made: Array = random.normal(size=(M, period))[:, np.arange(n) % period] + random.normal(size=(M, n))
    return made


def slow_gain(history: Array, period: int) -> float:
    """R² on the last two fifths, in loops; the better of changes over one step and over a quarter of the period."""
    gains = []
    for k in (1, max(1, period // 4)):
        errors = []
        for series in history.tolist():
            d = [b - a for a, b in zip(series, series[k:], strict=False)]
            size = (sum(x * x for x in d) / len(d)) ** 0.5
            d = [max(-5.0, min(5.0, x / size)) for x in d]
            learnt = int(0.6 * len(d))
            total = error = 0.0
            for t in range(learnt, len(d)):
                same = [d[s] for s in range(learnt) if s % period == t % period]
                error += (d[t] - sum(same) / (len(same) + 1)) ** 2
                total += d[t] ** 2
            errors.append(error / total)
        gains.append(1 - sum(errors) / len(errors))
    return max(gains)


@pytest.mark.parametrize("period", [1, 7, 12, 40])
def test_the_gain_is_its_formula_in_loops(period: int) -> None:
    history = wave(1, 12, M=3, n=200) * np.array([[1.0], [1e-4], [1e5]])
    history[0, 77] += 40.0  # a change that is clipped
    assert season.gain(history, period) == pytest.approx(slow_gain(history, period), rel=1e-9)


def test_the_gain_of_series_that_never_change_is_nothing() -> None:
    assert season.gain(np.full((2, 100), 3.0), 12) == 0.0


@pytest.mark.parametrize("n", [192, 400, 2048])
def test_a_noisy_daily_wave_is_found_from_the_timestamps(n: int) -> None:
    assert season.find(wave(2, 24, n=n), HOUR) == Season(24, DAY, 24)


def test_a_daily_profile_too_weak_for_the_autocorrelation_is_found_because_it_is_a_day() -> None:
    history = np.cumsum(wave(3, 24, M=8, n=2048, noise=2.5), axis=1)
    assert 24 not in season.candidates(history, 0.0)
    assert season.find(history, 0.0) is None
    assert season.find(history, HOUR) == Season(24, DAY, 24)


@pytest.mark.parametrize("interval", [0.0, HOUR])
def test_a_period_that_is_no_calendar_s_is_found_from_the_autocorrelation(interval: float) -> None:
    assert season.find(pattern(4, 37), interval) == Season(37, 37 * interval, 37)


@pytest.mark.parametrize("off", [-0.01, -0.001, 0.001, 0.015])
def test_a_day_lasts_a_day_however_the_usual_interval_jitters(off: float) -> None:
    found = season.find(pattern(13, 24), HOUR * (1 + off))
    assert found == Season(24, DAY, 24)


def test_a_period_near_a_day_but_a_step_away_is_not_a_day() -> None:
    assert season.find(pattern(14, 25), HOUR) == Season(25, 25 * HOUR, 25)


def test_a_season_with_many_steps_has_coarser_phases() -> None:
    found = season.find(wave(5, 600, n=2048, noise=0.01), DAY / 600)
    assert found is not None
    assert (found.steps, found.phases) == (600, season.PHASES)


def week(seed: int) -> Array:
    """Days with a wave, weekends nearly without: (4, 2048)."""
    random = np.random.default_rng(seed)
    days = np.arange(2048) // 24 % 7
    made: Array = wave(seed, 24, n=2048, noise=0.3) * np.where(days < 5, 3.0, 0.3) + 0.1 * random.normal(
        size=(4, 2048)
    )
    return made


def test_a_week_is_found_where_its_days_differ() -> None:
    assert season.find(week(6), HOUR) == Season(168, 7 * DAY, 168)


@pytest.mark.parametrize("kind", ["white noise", "random walks"])
def test_where_nothing_repeats_nothing_is_found(kind: str) -> None:
    found = []
    for seed in range(20):
        history = np.random.default_rng(seed).normal(size=(8, 2048))
        history = np.cumsum(history, axis=1) if kind == "random walks" else history
        found += [season.find(history[:, :n], interval) for n in (192, 768, 2048) for interval in (0.0, HOUR)]
    assert found == [None] * len(found)


def test_series_that_stand_still_have_no_season() -> None:
    assert season.find(np.zeros((3, 500)), HOUR) is None


def test_a_season_that_was_found_is_kept_where_the_history_no_longer_shows_it() -> None:
    present = Season(24, DAY, 24)
    noise = np.random.default_rng(7).normal(size=(8, 1000))
    assert season.find(noise, HOUR, present) == present


def test_a_season_that_was_found_is_kept_against_one_that_is_only_a_little_better() -> None:
    present = Season(24, DAY, 24)
    assert season.find(week(6), HOUR, present) == present


def test_a_season_gives_way_to_one_that_is_much_better() -> None:
    assert season.find(pattern(9, 37), HOUR, Season(24, DAY, 24)) == Season(37, 37 * HOUR, 37)


def test_the_autocorrelation_is_that_of_the_differences() -> None:
    history = wave(10, 12, M=2, n=100)
    made = season.autocorrelation(history)
    for lag in (0, 1, 6, 12):
        expected = []
        for series in history:
            d = np.diff(series) - np.diff(series).mean()
            expected.append((d[lag:] * d[: len(d) - lag]).sum() / (d * d).sum())
        assert made[lag] == pytest.approx(np.mean(expected))
