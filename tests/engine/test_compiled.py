"""The compiled loops make the same forecasts as the operations on arrays, learning included."""

import numpy as np
import pytest

from streamrnn.engine import forecaster as module
from streamrnn.engine.compiled import compiler
from streamrnn.engine.forecaster import Forecaster, fastest_way
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import ForecastBatch, single_steps
from tests.engine.conftest import WAYS

pytestmark = pytest.mark.usefixtures("on_the_host")

N, T = 12, 420
HOUR = 3_600_000
LIMIT = 1e-3  # of what the values differ by: half of it is what rounding does to learning in 400 steps


def daily(features: int) -> np.ndarray:
    """Hourly values (T, N, D): days, with gaps, a constant series, a series that begins late, and one -9999."""
    random = np.random.default_rng(3)
    phase = random.uniform(0, 6.28, (N, features))
    x = np.sin(np.arange(T)[:, None, None] * 2 * np.pi / 24 + phase) + 0.2 * random.normal(size=(T, N, features))
    x[random.random(x.shape) < 0.03] = np.nan
    x[:, 0] = 5.0
    x[:100, 1] = np.nan
    x[350, 2] = -9999.0
    return x


def told(settings: ForecastSettings, x: np.ndarray, monkeypatch: pytest.MonkeyPatch, way: str) -> ForecastBatch:
    """All forecasts of these series."""
    monkeypatch.setattr(module, "fastest_way", lambda _: WAYS[way])
    forecaster = Forecaster(settings)
    keys = [b"%d" % i for i in range(N)] * T
    times = np.repeat(np.arange(T) * HOUR, N)
    made = forecaster.forecast(single_steps(keys, np.arange(T * N), times, x.reshape(T * N, -1), nested=False))
    assert not settings.learning or (forecaster.table.season and forecaster.model.updates > 10)
    return made


@pytest.mark.parametrize(
    "settings",
    [
        ForecastSettings(),
        ForecastSettings(horizons=(1, 3, 24)),
        ForecastSettings(features=3, horizons=(1, 6)),
        ForecastSettings(readout="exact"),
        ForecastSettings(readout="exact", features=2),
        ForecastSettings(cell="lstm", hidden=16),
        ForecastSettings(learning=False, missing=(-9999.0,)),
    ],
    ids=["default", "horizons", "features", "exact", "exact, features", "lstm", "not learning"],
)
def test_loops_and_arrays_make_the_same_forecasts(
    settings: ForecastSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = daily(settings.features)
    expected, found = (told(settings, x, monkeypatch, way) for way in WAYS)
    for name in ("mean", "lower", "upper", "surprise", "anomaly"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=LIMIT, err_msg=name)
    for name in ("warm", "model", "times"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("scored", "covered", "absolute", "naive"):
        np.testing.assert_allclose(
            getattr(found.scores, name), getattr(expected.scores, name), rtol=1e-3, err_msg=name
        )


def test_there_is_a_compiler_here() -> None:
    """Or what is tested above is the loops as plain Python, and nothing of the compiler."""
    assert compiler.AVAILABLE
    assert fastest_way(np) is WAYS["loops"]


def test_without_a_compiler_the_loops_are_plain_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "AVAILABLE", False)

    def function() -> None: ...

    assert compiler.compiled(function) is function
