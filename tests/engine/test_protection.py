"""The model protects itself: whatever breaks in it, forecasts stay numbers, and what is broken never lasts."""

from dataclasses import replace

import numpy as np
import pytest

from streamrnn.core.backend import to_host
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter, StoredSnapshot, restore
from streamrnn.errors import SnapshotError
from streamrnn.records import ForecastBatch, single_steps

pytestmark = pytest.mark.usefixtures("each_step")

N, T, HALF = 5, 400, 200


def waves(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.sin(np.arange(T)[:, None] / (3.0 + np.arange(N))) + 0.1 * random.normal(size=(T, N))


def fed(forecaster: Forecaster, x: np.ndarray, first: int = 0) -> ForecastBatch:
    """Rows of N streams that step together."""
    rows = len(x)
    times = np.repeat((first + np.arange(rows)) * 1000, N)
    keys = [b"%d" % i for i in range(N)] * rows
    return forecaster.forecast(single_steps(keys, np.arange(rows * N), times, x.reshape(-1, 1), nested=False))


def taught(settings: ForecastSettings, rows: int = HALF) -> Forecaster:
    forecaster = Forecaster(settings)
    fed(forecaster, waves()[:rows])
    forecaster.progress()
    return forecaster


def error(made: ForecastBatch, x: np.ndarray) -> np.ndarray:
    """Mean absolute error of the one-step forecasts by stream."""
    means: np.ndarray = made.mean[:, 0, 0].reshape(-1, N)
    return np.nanmean(np.abs(means[:-1] - x[1:]), 0)


def complete(made: ForecastBatch) -> bool:
    return all(np.isfinite(column).all() for column in (made.mean, made.lower, made.upper, made.surprise))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_updates_from_broken_windows_are_undone_and_counted_and_learning_goes_on(poison: float) -> None:
    forecaster = taught(ForecastSettings())
    model, x = forecaster.model, waves()
    before = {name: to_host(value.copy()) for name, value in model.parameters.items()}
    forecaster.table.slabs["window_inputs"][...] = poison
    assert complete(fed(forecaster, x[HALF : HALF + 5], HALF))
    undone = forecaster.progress().learnt
    assert undone.rollbacks > 0 and undone.updates == 0
    assert model.guard.rate < 1
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(to_host(value), before[name])
    assert complete(fed(forecaster, x[HALF + 5 :], HALF + 5))
    assert forecaster.progress().learnt.updates > 0
    assert model.guard.rate == 1


@pytest.mark.parametrize("readout", ["shared", "exact"])
def test_when_the_network_is_broken_the_other_experts_go_on(readout: str) -> None:
    settings = ForecastSettings(readout=readout, learning=False)
    x = waves()
    sound, broken = (taught(replace(settings)) for _ in range(2))
    broken.model.parameters["V"][:] = np.nan
    made, reference = fed(broken, x[HALF:], HALF), fed(sound, x[HALF:], HALF)
    assert complete(made)
    assert (error(made, x[HALF:]) < 1.1 * error(reference, x[HALF:]) + 0.01).all()
    assert broken.progress().learnt.rollbacks > 0


@pytest.mark.parametrize("readout", ["shared", "exact"])
def test_whatever_breaks_of_one_series_it_recovers_and_no_other_notices(readout: str) -> None:
    settings = ForecastSettings(readout=readout, learning=False)
    x = waves()
    reference = fed(taught(settings), x[HALF:], HALF)
    floats = [name for name, slab in taught(settings).table.slabs.items() if slab.dtype.kind == "f"]
    for name in floats:
        if name.startswith("window_"):  # they are only learnt from: the test above
            continue
        forecaster = taught(settings)
        forecaster.table.slabs[name][2] = np.nan
        made = fed(forecaster, x[HALF:], HALF)
        others = np.arange(N) != 2
        for column in ("mean", "lower", "upper", "surprise"):
            ours, theirs = (getattr(batch, column).reshape(T - HALF, N, -1)[:, others] for batch in (made, reference))
            np.testing.assert_array_equal(ours, theirs, err_msg=name)
        late = slice(110 * N, None)  # the score is silent for a newborn's first 100 records
        assert np.isfinite(made.mean[late]).all(), name
        assert np.isfinite(made.surprise[late]).all(), name
        mended = error(made, x[HALF:])[2] / error(reference, x[HALF:])[2]
        assert mended < 3, f"{name}: {mended:.2f} times the error"
        SnapshotWriter(forecaster).capture(0)  # nothing of it is left


def test_a_state_with_broken_numbers_is_not_saved() -> None:
    forecaster = taught(ForecastSettings())
    forecaster.table.slabs["regret"][1, 0, 0, 0] = np.inf
    with pytest.raises(SnapshotError, match=r"slot/regret holds numbers that are not finite"):
        SnapshotWriter(forecaster).capture(1)
    forecaster = taught(ForecastSettings())
    forecaster.model.parameters["W"][0, 0, 0] = np.nan
    with pytest.raises(SnapshotError, match=r"weights\.W holds numbers that are not finite"):
        SnapshotWriter(forecaster).capture(1)


def test_nor_is_it_restored_though_its_checksums_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    forecaster = taught(ForecastSettings())
    forecaster.table.slabs["levels"][0, 0] = np.nan
    with monkeypatch.context() as careless:
        careless.setattr("streamrnn.engine.snapshot.check_finite", lambda *_: None)
        pages = SnapshotWriter(forecaster).capture(1)
    with pytest.raises(SnapshotError, match=r"slot/levels holds numbers that are not finite"):
        restore(StoredSnapshot(pages.header, pages.pages))
