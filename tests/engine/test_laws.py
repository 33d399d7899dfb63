"""The laws that everything else rests on, as properties."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import Array
from streamrnn.core.season import Season
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore
from streamrnn.records import RecordBatch
from tests.engine.worlds import daily, forecasts, part, scale, sequences, walk

pytestmark = pytest.mark.usefixtures("each_step")

STEPS = 600
SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = st.builds(
    ForecastSettings,
    features=st.integers(1, 3),
    horizons=st.sampled_from([(1,), (1, 4), (3,), (1, 2, 24)]),
    cell=st.sampled_from(["gru", "tanh", "relu", "lstm"]),
    hidden=st.just(8),
    readout=st.sampled_from(["exact", "shared"]),
    window=st.sampled_from([4, 8, 16]),
    max_streams=st.sampled_from([3, 1000]),
    ttl_ms=st.sampled_from([None, 20_000]),
)
WORLDS = st.sampled_from([walk, daily])  # with the second, a season is found on the way
World = Callable[..., RecordBatch]
CUTS = st.lists(st.integers(1, STEPS - 1), max_size=12)


def changed_after(batch: RecordBatch, step: int) -> RecordBatch:
    values = batch.values.copy()
    values[step:] = values[step:] * 3.0 + 100.0
    return RecordBatch(**{name: getattr(batch, name) for name in RecordBatch.__slots__} | {"values": values})


def transformed(batch: RecordBatch, a: float, b: float) -> RecordBatch:
    return RecordBatch(
        **{name: getattr(batch, name) for name in RecordBatch.__slots__} | {"values": batch.values * a + b}
    )


def agree(made: Array, expected: Array, bound: float) -> None:
    """Forecasts to this bound, surprise and anomaly to 1e-4."""
    np.testing.assert_allclose(made[:, :-2], expected[:, :-2], rtol=0, atol=bound)
    np.testing.assert_allclose(made[:, -2:], expected[:, -2:], rtol=0, atol=1e-4)


def test_the_season_of_a_daily_world_is_found_on_the_way() -> None:
    for readout in ("exact", "shared"):
        forecaster = Forecaster(ForecastSettings(hidden=8, features=2, horizons=(1, 4), readout=readout))
        forecaster.forecast(daily(1, STEPS, 5, 2))
        assert forecaster.table.season == Season(24, 24 * 3_600_000.0, 24)


@given(SEEDS, SETTINGS, WORLDS, st.integers(1, STEPS - 1))
@settings(max_examples=5, deadline=None)
def test_law_1_a_forecast_depends_on_nothing_after_its_record(
    seed: int, s: ForecastSettings, world: World, step: int
) -> None:
    batch = world(seed, STEPS, 5, s.features)
    one, two = forecasts(Forecaster(s), batch), forecasts(Forecaster(s), changed_after(batch, step))
    np.testing.assert_array_equal(one[:step], two[:step])


@given(SEEDS, SETTINGS, WORLDS, CUTS)
@settings(max_examples=5, deadline=None)
def test_law_2_cutting_the_records_changes_nothing(
    seed: int, s: ForecastSettings, world: World, cuts: list[int]
) -> None:
    batch = world(seed, STEPS, 5, s.features)
    whole, cut = forecasts(Forecaster(s), batch), forecasts(Forecaster(s), batch, cuts)
    agree(cut, whole, 1e-4 * scale(batch))


@given(SEEDS, WORLDS, st.sampled_from(["exact", "shared"]), st.lists(st.integers(1, 60), min_size=1, max_size=30))
@settings(max_examples=5, deadline=None)
def test_law_2_packing_steps_into_sequences_changes_nothing(
    seed: int, world: World, readout: str, lengths: list[int]
) -> None:
    s = ForecastSettings(hidden=8, readout=readout)
    batch = world(seed, sum(lengths), 1)
    single = Forecaster(s).forecast(batch)
    packed = Forecaster(s).forecast(sequences(batch, lengths))
    every = Forecaster(s).forecast(sequences(batch, lengths), every_step=True)
    last = np.cumsum(lengths) - 1
    for name in ("mean", "lower", "upper"):
        expected, bound = getattr(single, name), 1e-4 * scale(batch)
        np.testing.assert_allclose(getattr(packed, name), expected[last], rtol=0, atol=bound)
        np.testing.assert_allclose(getattr(every, name), expected, rtol=0, atol=bound)
    for name in ("surprise", "anomaly"):
        told = getattr(single, name)
        np.testing.assert_allclose(getattr(every, name), told, rtol=0, atol=1e-4)
        most = np.fmax.reduceat(told, (last - lengths + 1).tolist())  # of a sequence that of its most surprising step
        np.testing.assert_allclose(getattr(packed, name), most, rtol=0, atol=1e-4)


@given(SEEDS, SETTINGS, WORLDS, st.integers(0, STEPS), st.integers(0, STEPS), CUTS)
@settings(max_examples=5, deadline=None)
def test_law_3_a_snapshot_and_the_records_since_give_the_uninterrupted_forecasts(
    seed: int, s: ForecastSettings, world: World, first: int, second: int, cuts: list[int]
) -> None:
    first, second = sorted((first, second))
    batch = world(seed, STEPS, 5, s.features)
    uninterrupted = forecasts(Forecaster(s), batch, cuts)

    store: dict[str, bytes] = {}
    forecaster = Forecaster(s)
    writer, header = SnapshotWriter(forecaster), b""
    for start, stop in ((0, first), (first, second)):  # the second snapshot holds only what changed since the first
        if stop > start:
            forecaster.forecast(part(batch, start, stop))
        pages = writer.capture(stop)
        store = {key: value for key, value in (store | pages.pages).items() if key not in pages.dropped}
        header = pages.header
    if second < STEPS:
        forecaster.forecast(part(batch, second, STEPS))  # what runs on after a capture must not reach it

    revived, _, offset = restore(StoredSnapshot(header, store))
    assert offset == second
    if second < STEPS:
        agree(forecasts(revived, part(batch, second, STEPS)), uninterrupted[second:], 1e-4 * scale(batch))


@given(SEEDS, SETTINGS, WORLDS, st.floats(-6, 6), st.floats(-10, 10))
@settings(max_examples=5, deadline=None)
def test_law_5_units_do_not_matter(
    seed: int, s: ForecastSettings, world: World, exponent: float, shift: float
) -> None:
    batch = world(seed, STEPS, 5, s.features)
    a = 10.0**exponent
    b = shift * a
    plain, scaled = forecasts(Forecaster(s), batch), forecasts(Forecaster(s), transformed(batch, a, b))
    means = len(s.horizons) * s.features  # a miss or not: one of an interval's quantiles moves by .02 either way
    np.testing.assert_allclose((scaled[:, :means] - b) / a, plain[:, :means], rtol=0, atol=1e-3 * scale(batch))
    np.testing.assert_allclose(scaled[:, -2:], plain[:, -2:], rtol=0, atol=1e-3)
