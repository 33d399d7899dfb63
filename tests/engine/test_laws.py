"""The laws that everything else rests on, as properties."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore
from streamrnn.records import RecordBatch
from tests.engine.worlds import means, part, scale, sequences, walk

STEPS = 700
SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = st.builds(
    ForecastSettings,
    features=st.integers(1, 3),
    horizons=st.sampled_from([(1,), (1, 4), (3,), (1, 2, 24)]),
    cell=st.sampled_from(["gru", "tanh"]),
    hidden=st.just(8),
    window=st.sampled_from([4, 8, 16]),
    max_streams=st.sampled_from([3, 1000]),
)
CUTS = st.lists(st.integers(1, STEPS - 1), max_size=12)


def changed_after(batch: RecordBatch, step: int) -> RecordBatch:
    values = batch.values.copy()
    values[step:] = values[step:] * 3.0 + 100.0
    return RecordBatch(**{name: getattr(batch, name) for name in RecordBatch.__slots__} | {"values": values})


def transformed(batch: RecordBatch, a: float, b: float) -> RecordBatch:
    return RecordBatch(
        **{name: getattr(batch, name) for name in RecordBatch.__slots__} | {"values": batch.values * a + b}
    )


@given(SEEDS, SETTINGS, st.integers(1, STEPS - 1))
@settings(max_examples=10, deadline=None)
def test_law_1_a_forecast_depends_on_nothing_after_its_record(seed: int, s: ForecastSettings, step: int) -> None:
    batch = walk(seed, STEPS, 5, s.features)
    one, two = means(Forecaster(s), batch), means(Forecaster(s), changed_after(batch, step))
    np.testing.assert_array_equal(one[:step], two[:step])


@given(SEEDS, SETTINGS, CUTS)
@settings(max_examples=8, deadline=None)
def test_law_2_cutting_the_records_changes_nothing(seed: int, s: ForecastSettings, cuts: list[int]) -> None:
    batch = walk(seed, STEPS, 5, s.features)
    whole, cut = means(Forecaster(s), batch), means(Forecaster(s), batch, cuts)
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-4 * scale(batch))


@given(SEEDS, st.lists(st.integers(1, 60), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_law_2_packing_steps_into_sequences_changes_nothing(seed: int, lengths: list[int]) -> None:
    s = ForecastSettings(hidden=8)
    batch = walk(seed, sum(lengths), 1)
    single = Forecaster(s).forecast(batch).mean
    packed = Forecaster(s).forecast(sequences(batch, lengths)).mean
    np.testing.assert_allclose(packed, single[np.cumsum(lengths) - 1], rtol=0, atol=1e-4 * scale(batch))
    every = Forecaster(s).forecast(sequences(batch, lengths), every_step=True).mean
    np.testing.assert_allclose(every, single, rtol=0, atol=1e-4 * scale(batch))


@given(SEEDS, SETTINGS, st.integers(0, STEPS), st.integers(0, STEPS), CUTS)
@settings(max_examples=8, deadline=None)
def test_law_3_a_snapshot_and_the_records_since_give_the_uninterrupted_forecasts(
    seed: int, s: ForecastSettings, first: int, second: int, cuts: list[int]
) -> None:
    first, second = sorted((first, second))
    batch = walk(seed, STEPS, 5, s.features)
    uninterrupted = means(Forecaster(s), batch, cuts)

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
        replayed = means(revived, part(batch, second, STEPS))
        np.testing.assert_allclose(replayed, uninterrupted[second:], rtol=0, atol=1e-4 * scale(batch))


@given(SEEDS, SETTINGS, st.floats(-6, 6), st.floats(-10, 10))
@settings(max_examples=8, deadline=None)
def test_law_5_units_do_not_matter(seed: int, s: ForecastSettings, exponent: float, shift: float) -> None:
    batch = walk(seed, STEPS, 5, s.features)
    a = 10.0**exponent
    b = shift * a
    plain, scaled = means(Forecaster(s), batch), means(Forecaster(s), transformed(batch, a, b))
    np.testing.assert_allclose((scaled - b) / a, plain, rtol=0, atol=1e-3 * scale(batch))
