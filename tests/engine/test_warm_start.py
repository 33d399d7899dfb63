"""What is learnt from history serves streams that nobody has seen yet."""

import numpy as np
import pytest

from streamrnn.core.backend import Array
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_start import begin_with, learnt
from streamrnn.errors import SnapshotError
from streamrnn.records import RecordBatch, single_steps, table_steps

HOUR = 3_600_000


def table(seed: int, T: int, N: int, first: int = 0) -> tuple[Array, RecordBatch]:
    """N noisy daily waves, hourly, that step together: (T, N) and the records."""
    random = np.random.default_rng(seed)
    x = np.sin((np.arange(T)[:, None] / 24 + random.random(N)) * 2 * np.pi) * 3 + 0.3 * random.normal(size=(T, N))
    return x, table_steps([b"%d-%d" % (seed, i) for i in range(N)], x, first + np.arange(T) * HOUR)


def squared_errors(forecaster: Forecaster, x: Array, batch: RecordBatch) -> Array:
    """Of one step ahead, by step (T - 1,)."""
    made = forecaster.forecast(batch).mean[:, 0, 0].reshape(x.shape)
    return np.asarray(((made[:-1] - x[1:]) ** 2).mean(1))


@pytest.mark.parametrize("readout", ["shared", "exact"])
def test_new_streams_are_forecast_better_from_the_first_records_on_with_what_others_taught(readout: str) -> None:
    settings = ForecastSettings(hidden=8, readout=readout)
    teacher = Forecaster(settings)
    teacher.forecast(table(1, 700, 8)[1])
    x, batch = table(2, 300, 8, first=700 * HOUR)
    warm, cold = Forecaster(settings), Forecaster(settings)
    begin_with(warm, learnt(teacher))
    with_history, without = squared_errors(warm, x, batch), squared_errors(cold, x, batch)
    assert with_history[:60].mean() < 0.95 * without[:60].mean()
    assert with_history.mean() < without.mean()


def test_nothing_of_any_one_stream_is_passed_on() -> None:
    teacher, heir = Forecaster(ForecastSettings(hidden=8)), Forecaster(ForecastSettings(hidden=8))
    _, batch = table(1, 300, 4)
    teacher.forecast(batch)
    begin_with(heir, learnt(teacher))
    assert len(heir.table) == 0
    assert heir.step_number == 0
    assert heir.model.updates == teacher.model.updates > 0
    first = heir.forecast(single_steps([b"1-0"], np.arange(1), np.zeros(1, np.int64), np.ones((1, 1)), nested=False))
    assert first.mean[0, 0, 0] == 1.0  # a stream of this name is as new as any


def test_what_does_not_fit_is_refused_by_name() -> None:
    small, large = Forecaster(ForecastSettings(hidden=4)), Forecaster(ForecastSettings(hidden=8))
    with pytest.raises(SnapshotError, match=r"shape \(.*\) for weights\.\w+, expected shape"):
        begin_with(large, learnt(small))
    with pytest.raises(SnapshotError, match="nothing for"):
        begin_with(large, {})
