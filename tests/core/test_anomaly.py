"""The anomaly score against its equations in plain floats, and what it promises of clean and of spoilt series."""

import numpy as np
import pytest

from benchmarks.anomaly_calibration import CONTINUOUS, KINDS, rates, scored
from streamrnn.core import anomaly, tails
from streamrnn.core.backend import Array
from streamrnn.core.tails import Tails
from tests.core.slow_anomaly import SlowJudge


def newborns(B: int) -> tuple[Array, Tails, Array]:
    """The memory of B series, their tails and their rows."""
    channels = B, anomaly.CHANNELS
    slabs = Tails(
        np.zeros((*channels, tails.BINS), "float32"),
        np.zeros((*channels, tails.PENDING), "uint8"),
        np.tile(tails.newborn(), (*channels, 1)),
    )
    return np.tile(anomaly.newborn(), (B, 1)), slabs, np.arange(B)


def judged(value: Array, error: Array, known: Array) -> tuple[Array, Array]:
    """Surprise and anomaly of every step: arrays (T, B) in, two (T, B) out."""
    state = newborns(value.shape[1])
    made = [anomaly.judge(*state, *step) for step in zip(value, error, known, strict=True)]
    return np.array([each.surprise for each in made]), np.array([each.anomaly for each in made])


def spoilt(seed: int, T: int, B: int) -> tuple[Array, Array, Array]:
    """Random series with spikes, shifts and missing values: value, error and known (T, B)."""
    random = np.random.default_rng(seed)
    value = np.cumsum(0.1 * random.normal(size=(T, B)), axis=0) + random.standard_t(3, (T, B))
    error = random.standard_t(3, (T, B))
    spikes = random.random((T, B)) < 0.004
    size = 10.0 ** random.uniform(1, 3, (T, B)) * random.choice([-1, 1], (T, B))
    value, error = value + spikes * size, error + spikes * size
    value[T // 2 :, 0] += 30.0  # a stretch of values far from where the series has been
    error[T // 3 : T // 3 + 40, 1 % B] += 6.0  # a run of errors to one side
    value[:, -1], error[:, -1] = np.round(value[:, -1]), np.round(error[:, -1])  # few values
    known = random.random((T, B)) < 0.9
    return value, error, known


@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_its_equations_a_float_at_a_time(seed: int) -> None:
    T, B = 700, 4
    value, error, known = spoilt(seed, T, B)
    units = np.array([1.0, 1e-5, 1e7, 1.0])
    surprise, alarm = judged(value * units, error * units, known)
    slow = [SlowJudge() for _ in range(B)]
    for t in range(T):
        for b in range(B):
            given = float(value[t, b] * units[b]), float(error[t, b] * units[b]), bool(known[t, b])
            expected = pytest.approx(slow[b].judge(*given), rel=0, abs=1e-4, nan_ok=True)
            assert (surprise[t, b], alarm[t, b]) == expected, f"step {t} of series {b}"
    assert (alarm >= 0.999).any()  # the reference has met what it is a reference for


def test_nothing_is_said_of_the_first_hundred_records_that_are_known() -> None:
    value, error, known = spoilt(7, 400, 3)
    surprise, alarm = judged(value, error, known)
    silent = np.cumsum(known, axis=0) <= anomaly.WARM
    np.testing.assert_array_equal(np.isnan(surprise), silent)
    np.testing.assert_array_equal(np.isnan(alarm), silent)
    assert silent[:100].all()


def test_where_nothing_is_known_nothing_is_surprising_and_nothing_changes() -> None:
    value, error, known = spoilt(8, 300, 2)
    memory, slabs, rows = newborns(2)
    for t in range(300):
        anomaly.judge(memory, slabs, rows, value[t], error[t], known[t])
    before = memory.copy(), slabs.mass.copy(), slabs.fitted.copy()
    made = anomaly.judge(memory, slabs, rows, np.full(2, 1e9), np.full(2, 1e9), np.zeros(2, bool))
    np.testing.assert_array_equal(memory, before[0])
    np.testing.assert_array_equal(slabs.mass, before[1])
    np.testing.assert_array_equal(slabs.fitted, before[2])
    assert made.surprise.tolist() == made.anomaly.tolist() == [0.0, 0.0]


def test_an_incident_is_told_once_and_a_worse_one_is_told_in_its_quiet() -> None:
    T = 1500
    error = np.random.default_rng(9).normal(size=(T, 1))
    error[1000:1020] *= 30.0
    value = np.cumsum(error, axis=0)
    _, alarm = judged(value, error, np.ones((T, 1), bool))
    incidents = np.flatnonzero(alarm[:, 0] >= 0.999)
    during = incidents[(incidents >= 1000) & (incidents < 1100)]
    assert 1000 <= during[0] < 1010
    assert (np.diff(alarm[during, 0]) > 0).all()  # within the quiet only what is ten times worse than the last
    assert len(during) <= 3


def test_an_alarm_makes_the_next_one_of_its_kind_harder() -> None:
    T = 3000
    error = np.random.default_rng(10).normal(size=(T, 1))
    spikes = np.arange(1000, T, 150)
    error[spikes] = 25.0
    value = np.random.default_rng(11).normal(size=(T, 1))
    surprise, alarm = judged(value, error, np.ones((T, 1), bool))
    told = alarm[spikes, 0] >= 0.999
    assert told[0]
    assert told[-8:].mean() < 0.3
    assert (surprise[spikes[:3], 0] > 0.98).all()  # the record by itself goes on being surprising


def test_a_jump_across_all_that_a_number_can_be_overflows_nowhere() -> None:
    T = 300
    value = 1e-320 * np.random.default_rng(13).integers(-9, 9, (T, 2)).astype(float)
    value[200], value[250:] = [1e150, 1.0], 1e150
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        surprise, alarm = judged(value, value, np.ones((T, 2), bool))
    assert np.isfinite(surprise[100:]).all()
    assert np.isfinite(alarm[100:]).all()


def test_a_row_is_scored_alike_alone_and_in_company() -> None:
    value, error, known = spoilt(12, 300, 3)
    together = judged(value, error, known)
    for b in range(3):
        alone = judged(value[:, b : b + 1], error[:, b : b + 1], known[:, b : b + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[:, 0], all_of_them[:, b])


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_wrong_a_score_is_reached_no_more_often_than_it_says(kind: str) -> None:
    (one_in_ten, one_in_hundred, one_in_thousand), alarms = rates(kind, seed=1, records=6000, streams=6)
    assert one_in_ten < 0.2
    assert one_in_hundred < 0.02
    assert one_in_thousand < 0.003  # of 5,400 records
    assert alarms < 0.005
    if kind in CONTINUOUS:
        assert one_in_ten > 0.05


def test_a_changed_level_is_one_incident_at_once_and_ordinary_a_hundred_records_later() -> None:
    x = np.random.default_rng(14).normal(size=(1400, 3))
    x[1000:] += 10.0
    surprise, alarm = scored(x)
    assert ((alarm[1000:1005] >= 0.999).sum(0) >= 1).all()
    assert (surprise[1000:1005] > 0.99).all()  # not learnt as normal by the first of them
    assert not (alarm[1005:] >= 0.999).any()
    assert (surprise[1100:] >= 0.99).mean() < 0.02
