"""Forecasts beside what then happened, against figures worked out by hand."""

import math

import numpy as np
import pytest

from streamrnn.engine.forecast_line import ForecastLine
from streamrnn.service.comparison import OVERHEAD, Compared, Comparison, Record

NAN = float("nan")


def record(*values: float, stream: str = "a", time: int = 0) -> Record:
    """One record of so many steps of one feature, of which the last one's time is known."""
    k = len(values)
    return Record(stream, np.array(values)[:, None], np.full(k, time), np.arange(k, 0, -1), nested=k > 1)


def forecast(
    *mean: float, horizons: tuple[int, ...] = (1,), stream: str = "a", time: int = 0, anomaly: float = NAN
) -> ForecastLine:
    """What was forecast after a record's last step, a number a horizon, give or take 1."""
    means = np.array(mean, float)[None, :, None]
    at = np.array([time])
    return ForecastLine(stream, at, horizons, means, means - 1, means + 1, np.array([anomaly]), "t", 0, 0)


def told(found: list[Compared]) -> list[tuple[int | None, float, float, bool | None]]:
    """Horizon, mean, value, inside."""
    return [(each.horizon, each.mean, each.value, each.inside) for each in found]


def test_a_value_stands_beside_the_forecasts_of_it_the_shortest_horizon_first() -> None:
    comparison = Comparison()
    said = [
        told(comparison.take(record(x), forecast(10 * x, 10 * x + 5, horizons=(1, 3))))
        for x in (1.0, 10.5, 21.5, 14.0)
    ]
    assert said[0] == []
    assert said[1] == [(1, 10.0, 10.5, True)]
    assert said[2] == [(1, 105.0, 21.5, False)]
    assert said[3] == [(1, 215.0, 14.0, False), (3, 15.0, 14.0, True)]


def test_streams_have_steps_of_their_own() -> None:
    comparison = Comparison()
    comparison.take(record(1.0, stream="a"), forecast(5, stream="a"))
    comparison.take(record(2.0, stream="b"), forecast(6, stream="b"))
    assert told(comparison.take(record(3.0, stream="b"), None)) == [(1, 6.0, 3.0, False)]
    assert told(comparison.take(record(5.0, stream="a"), None)) == [(1, 5.0, 5.0, True)]


def test_a_record_that_got_no_forecast_is_a_step_and_nothing_was_forecast_after_it() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(7, 8, horizons=(1, 2)))
    assert told(comparison.take(record(7.0), None)) == [(1, 7.0, 7.0, True)]
    assert told(comparison.take(record(8.0), None)) == [(2, 8.0, 8.0, True)]
    assert told(comparison.take(record(9.0), None)) == []


def test_of_a_sequence_each_step_meets_its_forecasts() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(2, 3, 4, horizons=(1, 2, 3)))
    found = comparison.take(record(2.0, 3.0, 99.0), forecast(0, 0, 0, horizons=(1, 2, 3)))
    assert told(found) == [(1, 2.0, 2.0, True), (2, 3.0, 3.0, True), (3, 4.0, 99.0, False)]
    assert [each.feature for each in found] == [0, 0, 0]


def test_a_forecast_a_step_speaks_of_the_steps_of_its_own_record_too() -> None:
    comparison = Comparison()
    made = np.array([10.0, 20.0, 30.0])[:, None, None]
    line = ForecastLine("a", np.arange(3), (1,), made, made - 1, made + 1, np.full(3, NAN), "t", 0, 0)
    assert told(comparison.take(record(5.0, 10.0, 25.0), line)) == [(1, 10.0, 10.0, True), (1, 20.0, 25.0, False)]
    assert told(comparison.take(record(30.0), None)) == [(1, 30.0, 30.0, True)]


def test_steps_of_which_only_the_lasts_time_is_known_are_spread_evenly() -> None:
    comparison = Comparison()
    comparison.take(record(1.0, time=1000), forecast(2, 3, 4, horizons=(1, 2, 3), time=1000))
    assert [each.time for each in comparison.take(record(2.0, 3.0, 4.0, time=4000), None)] == [2000, 3000, 4000]


def test_with_several_features_each_has_its_own_line() -> None:
    comparison = Comparison()
    made = np.array([[[1.0, 2.0]]])  # (1, 1, 2)
    line = ForecastLine("a", np.array([0]), (1,), made, made - 1, made + 1, np.array([NAN]), "t", 0, 0)
    values = Record("a", np.array([[1.5, 9.0]]), np.array([0]), np.array([1]), nested=True)
    assert comparison.take(values, line) == []
    found = comparison.take(values, None)
    assert [(each.feature, each.mean, each.value, each.inside) for each in found] == [
        (0, 1.0, 1.5, True),
        (1, 2.0, 9.0, False),
    ]


def test_the_anomaly_is_that_of_the_record_that_came() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(1, anomaly=0.25))
    (found,) = comparison.take(record(50.0), forecast(1, anomaly=0.9995))
    assert found.anomaly == 0.9995


def test_a_score_without_a_forecast_of_the_record_is_told_once() -> None:
    found = Comparison().take(record(50.0), forecast(1, 2, horizons=(1, 2), anomaly=0.9995))
    assert [(each.horizon, each.value, each.anomaly, each.inside) for each in found] == [(None, 50.0, 0.9995, None)]


def test_a_value_or_a_forecast_that_is_missing_is_neither_inside_nor_outside() -> None:
    comparison = Comparison()
    comparison.take(record(NAN), forecast(NAN))
    assert [each.inside for each in comparison.take(record(3.0), forecast(3))] == [None]
    (found,) = comparison.take(record(NAN), None)
    assert found.inside is None and math.isnan(found.value) and found.mean == 3.0


def test_a_tombstone_forgets_what_was_forecast() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(1))
    gone = Record("a", np.zeros((0, 0)), np.zeros(0, int), np.zeros(0, int), nested=False, forget=True)
    assert comparison.take(gone, None) == []
    assert comparison.take(record(1.0), None) == []


def test_a_forecast_whose_record_is_gone_counts_from_itself() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(1, 2, horizons=(1, 2)))
    comparison.lost(forecast(8, 9, horizons=(1, 2)))
    assert told(comparison.take(record(8.0), None)) == [(1, 8.0, 8.0, True)]


def test_other_horizons_than_before_begin_anew() -> None:
    comparison = Comparison()
    comparison.take(record(1.0), forecast(1, 2, horizons=(1, 2)))
    assert told(comparison.take(record(1.0), forecast(5, horizons=(3,)))) == [(1, 1.0, 1.0, True)]
    assert told(comparison.take(record(2.0), None)) == []


@pytest.mark.parametrize("streams", [1, 50])
def test_what_waits_is_bounded_and_what_there_is_no_room_for_is_counted(streams: int) -> None:
    comparison = Comparison(most=10 * (2 * OVERHEAD + 3))  # ten streams with a forecast each, no more
    for _ in range(3):
        for i in range(streams):
            comparison.take(record(1.0, stream=str(i)), forecast(1, stream=str(i)))
    followed = [i for i in range(streams) if comparison.take(record(1.0, stream=str(i)), None)]
    assert followed == list(range(min(streams, 10)))
    assert comparison.left_out == 3 * max(0, streams - 10)


def test_room_that_was_taken_is_given_back() -> None:
    comparison = Comparison(most=2 * OVERHEAD + 3)
    for i in range(5):
        stream = str(i)
        comparison.take(record(1.0, stream=stream), forecast(1, stream=stream))
        assert told(comparison.take(record(1.0, stream=stream), forecast(2, stream=stream))) == [(1, 1.0, 1.0, True)]
        gone = Record(stream, np.zeros((0, 0)), np.zeros(0, int), np.zeros(0, int), nested=False, forget=True)
        comparison.take(gone, None)
    assert comparison.left_out == 0
