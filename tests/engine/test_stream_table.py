"""Who stays in the table, who leaves it, and that none of it shows in anybody's forecasts."""

import numpy as np
import pytest

from streamrnn.core.backend import to_host
from streamrnn.core.readout import PRIOR
from streamrnn.engine.forecaster import Forecaster, layout_of
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.stream_table import INSERTION_SLACK, StreamTable
from streamrnn.records import single_steps
from tests.engine.records_by_hand import Row, by_hand, fed, wandering


def table_of(**changed: int) -> StreamTable:
    return StreamTable(layout_of(ForecastSettings(hidden=4, **changed)))  # type: ignore[arg-type]


def known(table: StreamTable) -> set[bytes]:
    return {key for key in table.index.keys if key is not None}


def test_max_streams_drops_those_that_stepped_least_recently() -> None:
    table = table_of(max_streams=3)
    keys = [b"%d" % i for i in range(6)]
    slots = table.slots(keys)
    table.last_step[slots] = [50, 10, 40, 20, 60, 30]
    assert table.evict(0) == {"ttl": 0, "max_streams": 3}
    assert known(table) == {b"0", b"2", b"4"}


def test_a_stream_that_steps_again_outlives_those_that_do_not() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, max_streams=3))
    rows: list[Row] = []
    for i in range(400):
        rows += [(b"often", 1.0 * i), (b"stranger-%d" % i, 1.0)]
    fed(forecaster, rows)
    assert b"often" in known(forecaster.table)
    slot = forecaster.table.index.look_up([b"often"])[0]
    assert forecaster.table.slabs["steps"][slot] == 400  # it was there all the time


def test_at_every_boundary_no_more_than_max_streams_are_left() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, max_streams=20))
    for i in range(300):
        fed(forecaster, [(b"%d" % i, 1.0)], first=i)
        if forecaster.last_boundary == forecaster.step_number:
            assert forecaster.known == len(forecaster.table) <= 20
    assert forecaster.progress().evicted == {"ttl": 0, "max_streams": 280 - (300 - forecaster.last_boundary)}


def test_ttl_drops_those_not_seen_for_longer_by_the_clock() -> None:
    table = table_of(ttl_ms=1000)
    slots = table.slots([b"a", b"b", b"c"])
    table.last_seen[slots] = [4000, 3999, 9000]
    assert table.evict(5000) == {"ttl": 1, "max_streams": 0}
    assert known(table) == {b"a", b"c"}


def test_the_clock_is_the_median_of_the_last_timestamps_so_that_one_wrong_clock_forgets_nobody() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, ttl_ms=60_000))
    fed(forecaster, [(b"quiet", 1.0)])
    busy: list[Row] = [(b"busy", 1.0 * i) for i in range(40)]
    fed(forecaster, busy, first=1)
    ahead = by_hand(busy, first=10**9)  # thirty years ahead, but not half of the last records
    forecaster.forecast(ahead)
    assert known(forecaster.table) == {b"quiet", b"busy"}
    forecaster.forecast(by_hand(busy, first=10**9 + 40))
    assert known(forecaster.table) == {b"busy"}


@pytest.mark.parametrize(
    ("stands_still_for", "frozen"), [(0, 0), (20, 0), (60, 0), (200, 1), (1000, 1)], ids=lambda number: str(number)
)
def test_a_value_that_stands_still_for_some_hundred_steps_is_frozen_and_a_shorter_rest_is_not(
    stands_still_for: int, frozen: int
) -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=400)).tolist()
    values = np.array([*walk, *[walk[-1] + 5.0] * stands_still_for])
    features = np.stack([values, np.arange(len(values)) % 7.0], axis=1)
    for columns in (features[:, :1], features):
        T, D = columns.shape
        forecaster = Forecaster(ForecastSettings(hidden=4, features=D))
        forecaster.forecast(single_steps([b"a"] * T, np.arange(T), np.arange(T) * 1000, columns, nested=D > 1))
        assert forecaster.table.frozen() == frozen


def test_a_constant_is_frozen_a_newborn_and_one_that_only_misses_values_are_not() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4))
    moving = np.random.default_rng(4).normal(size=300).tolist()
    rows: list[Row] = []
    for i, value in enumerate(moving):
        rows += [(b"constant", 3.3), (b"moving", value), (b"silent", value if i < 100 else float("nan"))]
        if i > 250:
            rows.append((b"newborn", 1.0))
    fed(forecaster, rows)
    assert forecaster.table.frozen() == forecaster.frozen == 1
    fed(forecaster, [(b"constant", None), *((b"moving", value) for value in moving)], first=len(rows))
    assert forecaster.table.frozen() == forecaster.frozen == 0


def test_without_ttl_nobody_is_forgotten_whatever_the_clocks_say() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4))
    fed(forecaster, [(b"quiet", 1.0)])
    fed(forecaster, [(b"busy", 1.0 * i) for i in range(100)], first=10**9)
    assert len(forecaster.table) == 2


@pytest.mark.parametrize("way", ["tombstone", "eviction"])
def test_a_forgotten_stream_is_a_newborn_when_it_comes_back(way: str) -> None:
    s = ForecastSettings(hidden=4, horizons=(1, 3), learning=False, max_streams=1)
    forecaster = Forecaster(s)
    life: list[Row] = [(b"a", value) for _, value in wandering(1, 200, 1, forgotten=0.0)]
    fed(forecaster, life)
    if way == "tombstone":
        fed(forecaster, [(b"a", None)], first=200)
    else:
        fed(forecaster, [(b"b", 1.0)] * 20, first=200)
    second: list[Row] = [(b"a", value) for _, value in wandering(2, 200, 1, forgotten=0.0)]
    newborn = fed(Forecaster(s), second, first=300)
    np.testing.assert_array_equal(fed(forecaster, second, first=300), newborn)


def test_a_newborn_s_rows_hold_nothing_of_who_had_them_before() -> None:
    table = table_of(features=2)
    fresh = table.gather(tuple(table.slabs), table.rows(table.slots([b"new"])))
    old = table.slots([b"old"])
    for slab in table.slabs.values():
        slab[table.rows(old)] = 77
    table.forget(int(old[0]))
    table.evict(0)
    heir = table.slots([b"heir"])
    assert heir == old
    for name, values in table.gather(tuple(table.slabs), table.rows(heir)).items():
        np.testing.assert_array_equal(to_host(values), to_host(fresh[name]))
    np.testing.assert_array_equal(to_host(fresh["small_curvature"][0]), PRIOR * np.eye(16, dtype="float32"))


def test_growth_keeps_every_stream_s_state() -> None:
    table = table_of(features=2)
    random = np.random.default_rng(0)
    kept: dict[bytes, dict[str, np.ndarray]] = {}
    for i in range(1000):
        key = b"%d" % i
        slot = table.slots([key])
        rows = table.rows(slot)
        state = table.gather(tuple(table.slabs), rows)
        state = {name: random.random(values.shape).astype(values.dtype) for name, values in state.items()}
        table.scatter({name: table.xp.asarray(values) for name, values in state.items()}, rows)
        table.last_step[slot], table.last_seen[slot] = i, 10 * i
        kept[key] = state
    assert table.capacity >= 1000
    for i, (key, state) in enumerate(kept.items()):
        slot = table.slots([key])
        for name, values in table.gather(tuple(table.slabs), table.rows(slot)).items():
            np.testing.assert_array_equal(to_host(values), state[name])
        assert (table.last_step[slot], table.last_seen[slot], table.live[slot]) == (i, 10 * i, True)


def test_unknown_keys_never_take_more_room_than_max_streams_and_the_slack() -> None:
    limit = 600 + INSERTION_SLACK
    forecaster = Forecaster(ForecastSettings(hidden=2, max_streams=600))
    first = 0
    for size in (1, 20_000, 10, 4096, 1, 3000, 3000):
        fed(forecaster, [(b"key-%d" % (first + i), 1.0) for i in range(size)], first=first)
        first += size
        table = forecaster.table
        assert len(table) <= limit
        assert len(table.index.keys) <= limit
        assert table.capacity <= limit
        assert all(len(slab) <= limit for slab in table.slabs.values())
    assert len(forecaster.table.index.keys) > 4096  # the slots ever in use: the slack was put to use


def test_streams_that_come_and_are_forgotten_at_once_use_the_same_slots_again() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=2, window=4, max_streams=50))
    rows: list[Row] = []
    for i in range(1000):
        rows += [(b"%d" % i, 1.0), (b"%d" % i, None)]
    fed(forecaster, rows)
    assert len(forecaster.table.index.keys) <= 50  # a boundary comes at least every 4 x 50 steps and releases


def test_a_stream_of_several_features_has_its_rows_side_by_side() -> None:
    table = table_of(features=3)
    assert table.rows(table.slots([b"a", b"b", b"a"])).tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]


def test_steps_with_only_their_last_time_known_are_spread_evenly_since_the_step_before() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4))
    forecaster.forecast(by_hand([(b"a", 1.0)], first=10))  # at 10,000 ms
    batch = by_hand([(b"a", 1.0)] * 4)
    batch.times[:], batch.left[:] = 14_000, [4, 3, 2, 1]
    assert forecaster.forecast(batch, every_step=True).times.tolist() == [11_000, 12_000, 13_000, 14_000]
    strangers = by_hand([(b"b", 1.0)] * 2)
    strangers.times[:], strangers.left[:] = 14_000, [2, 1]
    assert forecaster.forecast(strangers, every_step=True).times.tolist() == [14_000, 14_000]
