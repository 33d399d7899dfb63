"""The forecaster against a slow reference, and at the edges of what may arrive."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.core.backend import to_host
from streamrnn.core.season import Season
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.layout import WARM_STEPS
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import ForecastBatch, RecordBatch, single_steps
from tests.engine.records_by_hand import Row, by_hand, fed, wandering
from tests.engine.slow_series import SlowSeries
from tests.engine.worlds import sequences, walk

pytestmark = pytest.mark.usefixtures("each_step")


def with_opinions(forecaster: Forecaster) -> Forecaster:
    """The same with a head that is not zero, so that the network has something to say without learning."""
    random = np.random.default_rng(77)
    for name in ("V", "d"):
        weights = forecaster.model.parameters[name]
        made = 0.5 * random.normal(size=weights.shape)
        forecaster.model.parameters[name] = forecaster.xp.asarray(made, "float32")
    return forecaster


def together(x: np.ndarray, interval: int = 1000) -> RecordBatch:
    """Values (T, N) of N streams that step together."""
    T, N = x.shape
    times = np.repeat(np.arange(T) * interval, N)
    return single_steps([b"%d" % i for i in range(N)] * T, np.arange(T * N), times, x.reshape(-1, 1), nested=False)


def with_curvature(forecaster: Forecaster) -> Forecaster:
    """The same with moments that are far from none, so that the shared readouts turn what they learn."""
    shared = forecaster.model.readouts.shared
    random = np.random.default_rng(78)
    seen = random.normal(size=(2000, shared.moments.shape[-1])) @ random.normal(size=shared.moments.shape[1:])
    shared.moments[0], shared.weight = seen.T @ seen, 2000.0
    shared.refresh(500.0)
    return forecaster


BY_TIME, BY_STEPS, LONG = Season(24, 24_000.0, 24), Season(9, 0.0, 9), Season(30, 30_000.0, 20)


@pytest.mark.parametrize(
    ("readout", "cell", "season"),
    [
        ("shared", "gru", BY_TIME),
        ("shared", "tanh", BY_STEPS),
        ("shared", "gru", None),
        ("exact", "tanh", LONG),
        ("exact", "gru", BY_STEPS),
        ("shared", "relu", None),
        ("exact", "lstm", BY_TIME),
    ],
)
def test_the_forecaster_does_what_the_recipe_says_a_series_at_a_time(
    readout: str, cell: str, season: Season | None
) -> None:
    T, N = 330, 3
    random = np.random.default_rng(3)
    x = 0.3 * random.standard_t(4, (T, N)) + 5 * np.sin(np.arange(T)[:, None] / [2.0, 3.0, 5.0])
    x[150] += 60.0  # a spike that the features clip
    x[300] += 250.0  # one that least squares does not believe
    x[250:] += 8.0  # a level shift
    x[random.random((T, N)) < 0.1] = np.nan
    x *= [1.0, 1e-4, 1e5]
    batch = together(x)
    times = np.cumsum(random.integers(0, 600, len(batch.times)))
    times[N * 100 : -N * 50] = times[N * 100] + np.arange(T - 150).repeat(N) * 1000  # regular for a while
    times[-N * 50 :] = times[-N * 50 - 1] + np.cumsum(np.arange(N * 50) * 10)  # ever later
    batch.times[:] = times
    s = ForecastSettings(horizons=(1, 3), learning=False, readout=readout, cell=cell, hidden=4)
    forecaster = with_curvature(with_opinions(Forecaster(s)))
    if season is not None:
        forecaster.table.set_season(season)
    slow = [SlowSeries(forecaster) for _ in range(N)]
    made = forecaster.forecast(batch)
    for i, value in enumerate(batch.values[:, 0].tolist()):
        series = slow[i % N]
        expected = series.step(value, float(batch.times[i]))
        bound = (1e-4 if i < 300 * N else 1e-3) * series.square**0.5  # float32 rounds what the second spike left
        for name in ("mean", "lower", "upper"):
            found = getattr(made, name)[i, :, 0].tolist()
            assert found == pytest.approx(getattr(expected, name), rel=0, abs=bound, nan_ok=True), f"{name} {i // N}"
        for name in ("surprise", "anomaly"):
            found = float(getattr(made, name)[i])
            assert found == pytest.approx(getattr(expected, name), rel=0, abs=1e-4, nan_ok=True), f"{name} {i // N}"
    for n, series in enumerate(slow):  # the reference has met all that it is a reference for
        assert series.horizons[3].scored > 200
        opinion = np.abs(made.mean[n::N, :, 0] - batch.values[n::N]) / series.square**0.5
        assert (np.nanquantile(opinion[100:], 0.75, axis=0) > 0.02).all()  # far from persistence
    assert (made.anomaly >= 0.999).any()


def test_a_stream_forgotten_in_the_middle_of_a_batch_begins_anew_and_the_others_go_on() -> None:
    s = ForecastSettings(hidden=8, horizons=(1, 3), learning=False)
    rows = wandering(5, 600, 3, forgotten=0.0)
    cut = 350
    with_tombstone = [*rows[:cut], (b"stream-1", None), *rows[cut:]]
    plain = fed(with_opinions(Forecaster(s)), rows)
    made = fed(with_opinions(Forecaster(s)), with_tombstone)
    assert np.isnan(made[cut]).all()  # a tombstone has no forecast
    made = np.delete(made, cut, axis=0)
    other = np.array([key != b"stream-1" for key, _ in rows])
    after = ~other & (np.arange(len(rows)) >= cut)
    np.testing.assert_array_equal(made[~after], plain[~after])

    batch = by_hand(rows)
    times, values = batch.times[after], batch.values[after]
    newborn = with_opinions(Forecaster(s)).forecast(
        single_steps([b"stream-1"] * len(times), np.arange(len(times)), times, values, nested=False)
    )
    np.testing.assert_array_equal(made[after], newborn.mean[:, :, 0])
    first = values[0, 0]
    np.testing.assert_array_equal(made[after][0], np.full(2, first))  # persistence, or null where it is missing


def test_a_stream_forgotten_before_its_first_value_forecasts_null_until_it_has_one() -> None:
    nothing = float("nan")
    rows: list[Row] = [(b"a", 5.0), (b"b", 1.0), (b"a", None), (b"a", nothing), (b"b", 2.0), (b"a", 7.0)]
    made = fed(Forecaster(ForecastSettings(hidden=4)), rows)
    np.testing.assert_array_equal(made[:, 0], [5.0, 1.0, nothing, nothing, 2.0, 7.0])


def test_forgetting_whom_nobody_knows_changes_nothing() -> None:
    rows = wandering(6, 300, 3, forgotten=0.0)
    with_tombstones = [row for kept in rows for row in (kept, (b"stranger", None))]
    made = fed(Forecaster(ForecastSettings(hidden=4)), with_tombstones)
    np.testing.assert_array_equal(made[::2], fed(Forecaster(ForecastSettings(hidden=4)), rows))


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 399), max_size=10))
@settings(max_examples=10, deadline=None)
def test_law_2_cutting_changes_nothing_where_streams_are_forgotten(seed: int, cuts: list[int]) -> None:
    s = ForecastSettings(hidden=4, window=4, max_streams=3)
    rows = wandering(seed, 400, 4, forgotten=0.1)
    whole, cut = fed(Forecaster(s), rows), fed(Forecaster(s), rows, cuts=cuts)
    np.testing.assert_allclose(cut, whole, rtol=0, atol=1e-4)


def test_learning_boundaries_come_in_the_middle_of_a_sequence_record_too() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, window=4))
    batch = sequences(walk(7, 400, 1), [400])
    updates = forecaster.forecast(batch, every_step=True).model
    assert len(np.unique(updates)) > 50
    assert updates[-1] >= forecaster.model.updates - 1
    assert forecaster.next_boundary - forecaster.last_boundary == 4


def test_nobody_learns_from_others_where_learning_is_off() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, window=4, learning=False))
    before = {name: to_host(value.copy()) for name, value in forecaster.model.parameters.items()}
    forecaster.forecast(walk(8, 600, 3))
    assert forecaster.model.updates == 0
    for name, value in forecaster.model.parameters.items():
        np.testing.assert_array_equal(to_host(value), before[name])
    assert not forecaster.table.slabs["embedding"].any()
    assert not forecaster.model.pooled_total.any()
    assert not forecaster.model.partial_total.any()


def test_a_window_that_waits_is_not_learnt_once_learning_is_switched_off() -> None:
    forecaster = Forecaster(ForecastSettings(hidden=4, window=4))
    rows = wandering(15, 500, 3, forgotten=0.0)
    at = next(
        i for i, row in enumerate(rows) if fed(forecaster, [row], i).size and forecaster.model.windows.columns()
    )
    updates = forecaster.model.updates
    forecaster.change_settings(ForecastSettings(hidden=4, window=4, learning=False))
    fed(forecaster, rows[at + 1 :], at + 1)
    assert forecaster.model.updates == updates


def test_a_sentinel_is_a_missing_value() -> None:
    batch, sentinels = walk(9, 300, 2), (-9999.0, 1e30)
    marked = walk(9, 300, 2)
    gaps = np.flatnonzero(np.isnan(batch.values[:, 0]))
    marked.values[gaps, 0] = np.resize(sentinels, len(gaps))
    made = Forecaster(ForecastSettings(hidden=4, missing=sentinels)).forecast(marked)
    np.testing.assert_array_equal(made.mean, Forecaster(ForecastSettings(hidden=4)).forecast(batch).mean)


def test_a_stream_is_warm_once_its_first_horizon_has_met_enough_labels() -> None:
    made = Forecaster(ForecastSettings(hidden=4)).forecast(walk(10, 400, 1, missing=0.0))
    assert int(np.argmax(made.warm)) == WARM_STEPS + 1  # the first difference makes the scale, the next labels count
    assert made.warm[WARM_STEPS + 1 :].all()


def test_scores_are_the_errors_of_the_forecasts_that_were_published() -> None:
    horizons = (1, 3)
    batch = walk(11, 500, 1, missing=0.1)
    forecaster = Forecaster(ForecastSettings(hidden=4, horizons=horizons, learning=False))
    absolute, naive, scored, covered = (np.zeros(2) for _ in range(4))
    x, scales, made = batch.values[:, 0], [], []
    total = np.zeros((4, 2))
    for t in range(len(x)):
        out = forecaster.forecast(by_hand([(b"stream-0", float(x[t]))], first=t))
        made.append(out)
        scales.append(float(forecaster.table.slabs["moments"][0, 1] ** 0.5))
        total += [out.scores.scored, out.scores.covered, out.scores.absolute, out.scores.naive]
        for p, h in enumerate(horizons):
            o = t - h
            if o >= 0 and np.isfinite(x[[o, t]]).all() and scales[o] > 0:
                scored[p] += 1
                covered[p] += made[o].lower[0, p, 0] <= x[t] <= made[o].upper[0, p, 0]
                absolute[p] += abs(made[o].mean[0, p, 0] - x[t]) / scales[o]
                naive[p] += abs(x[o] - x[t]) / scales[o]
    np.testing.assert_array_equal(total[:2], [scored, covered])
    np.testing.assert_allclose(total[2:], [absolute, naive], rtol=1e-4)


def extremes(T: int) -> np.ndarray:
    """What may arrive: (T, N), a column for every kind of trouble."""
    random = np.random.default_rng(12)
    sign = np.resize([1.0, -1.0], T)
    spoilt = random.normal(size=T)
    spoilt[T // 2] = 1e149
    jumps = np.full(T, 1e-140) * random.normal(size=T)
    jumps[T // 3 :] = 1e149 * sign[T // 3 :]
    columns = [
        np.full(T, 1e149),
        1e149 * sign,
        1e150 * random.uniform(-1, 1, T),
        1e12 * sign,
        5e-324 * random.integers(-9, 9, T),
        1e-310 * random.normal(size=T),
        1e-160 * np.cumsum(random.normal(size=T)),
        np.zeros(T),
        np.full(T, 3.7),
        np.full(T, np.nan),
        np.where(np.arange(T) < T // 2, np.nan, 1.0 * np.arange(T)),
        np.where(random.random(T) < 0.9, np.nan, random.normal(size=T)),
        sign * 10.0 ** random.uniform(-149, 149, T),
        10.0 ** np.linspace(-300, 149, T),
        10.0 ** np.linspace(149, -300, T),
        np.where(np.arange(T) == T - 5, 1e149, 0.0),
        spoilt,
        jumps,
        1e100 + random.normal(size=T),
        np.cumsum(random.standard_cauchy(T)),
        np.repeat([0.0, 1e-8, 1e8, 0.0], -(-T // 4))[:T],
    ]
    return np.stack(columns, axis=1)


def check_finite(made: ForecastBatch, x: np.ndarray) -> None:
    """Finite after the first value, null before, and the mean within its interval."""
    T, N = x.shape
    begun = np.logical_or.accumulate(np.isfinite(x), axis=0)
    for name in ("lower", "mean", "upper"):
        finite = np.isfinite(getattr(made, name)).all((1, 2)).reshape(T, N)
        np.testing.assert_array_equal(finite, begun, err_msg=name)
    mean = np.nan_to_num(made.mean)
    assert (np.nan_to_num(made.lower) <= mean).all()
    assert (mean <= np.nan_to_num(made.upper)).all()


@pytest.mark.parametrize("learning", [False, True])
def test_whatever_arrives_every_forecast_is_finite_and_within_its_interval(learning: bool) -> None:
    x = extremes(600)
    forecaster = Forecaster(ForecastSettings(horizons=(1, 5), hidden=8, learning=learning))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        check_finite(with_opinions(forecaster).forecast(together(x)), x)
    for name, value in forecaster.model.parameters.items():
        assert np.isfinite(to_host(value)).all(), name
    assert np.isfinite(to_host(forecaster.table.slabs["embedding"])).all()


@given(
    st.lists(
        st.sampled_from([0.0, 1.0, -1.0, 1e-320, 1e-150, -1e-75, 1e12, -1e12, 1e75, 1e150, -1e150, float("nan")])
        | st.floats(-1e150, 1e150),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_one_stream_sends_its_forecasts_are_finite(values: list[float]) -> None:
    x = np.array(values)[:, None]
    forecaster = with_opinions(Forecaster(ForecastSettings(horizons=(1, 2), hidden=2, window=4)))
    check_finite(forecaster.forecast(together(x)), x)


def test_a_stream_s_extremes_do_not_show_in_another_s_forecasts() -> None:
    x = extremes(400)
    good = np.cumsum(np.random.default_rng(13).normal(size=(400, 4)), axis=0)
    tame = np.random.default_rng(14).normal(size=x.shape)
    s = ForecastSettings(horizons=(1, 5), hidden=8, learning=False)
    made = []
    for company in (x, tame):
        all_of_them = np.concatenate([company[:, :10], good, company[:, 10:]], axis=1)
        mean = with_opinions(Forecaster(s)).forecast(together(all_of_them)).mean
        made.append(mean.reshape(*all_of_them.shape, 2)[:, 10:14])
    np.testing.assert_array_equal(made[0], made[1])
