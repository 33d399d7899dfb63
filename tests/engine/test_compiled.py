"""The compiled loops make the same forecasts as the operations on arrays, learning included."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamrnn.core.cells import CELLS, bounded, by_part, by_row, initial_cell, one_step
from streamrnn.engine import forecaster as module
from streamrnn.engine.compiled import compiler
from streamrnn.engine.compiled.cells import net_of, step, tanh
from streamrnn.engine.compiled.windows import half
from streamrnn.engine.forecaster import Forecaster, fastest_way
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import ForecastBatch, single_steps
from tests.engine.conftest import WAYS

pytestmark = pytest.mark.usefixtures("on_the_host")

ROOT = Path(__file__).resolve().parents[2]
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


def test_where_the_system_forbids_code_made_at_run_time_there_is_no_compiler(tmp_path: Path) -> None:
    (tmp_path / "numba.py").write_text("raise PermissionError('cannot allocate executable memory')")
    said = "from streamrnn.engine.compiled.compiler import AVAILABLE; print(AVAILABLE)"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    told = subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("hidden", [3, 32])
def test_a_cell_in_loops_makes_the_steps_of_the_cell(name: str, hidden: int) -> None:
    random, cell, B = np.random.default_rng(1), bounded(CELLS[name]), 20
    p = initial_cell(cell, 5, hidden, random) | {"V": random.normal(size=(hidden, 2)), "d": random.normal(size=2)}
    p = {key: value.astype("float32") for key, value in p.items()}
    x = random.normal(size=(B, 5)).astype("float32")
    state = (10.0 * random.normal(size=(B, cell.states * hidden))).astype("float32")  # some of it beyond the limits
    expected = by_row(one_step(cell, p, x, by_part(state, hidden))[0])
    net = net_of(cell, p)
    for i in range(B):
        net.flat_state[0] = state[i]
        step(net, x, i)
        np.testing.assert_allclose(net.flat_state[0], expected[i], rtol=2e-5, atol=2e-6)


def test_tanh_in_loops_is_the_tangent_to_float32_s_precision_and_never_beyond_one() -> None:
    x = np.concatenate([np.linspace(-20, 20, 100_001), [1e-30, -1e-8, 1e30, np.inf, -np.inf]]).astype("float32")[None]
    made = x.copy()
    tanh(made, 0)
    np.testing.assert_allclose(made, np.tanh(x.astype(float)), rtol=5e-7, atol=4e-7)
    assert np.abs(made).max() == 1.0


def test_numbers_in_half_precision_are_numpy_s() -> None:
    every = np.arange(1 << 16, dtype="uint16").view("float16").astype("float32")
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.concatenate([every, *(every * np.float32(factor) for factor in (0.9997, 1.00024, 1.0005, 1.0007))])
        x = np.concatenate(
            [x, np.random.default_rng(0).normal(size=10_000).astype("float32"), [65519, 65520, 2**-25]]
        )
        x = x[np.isfinite(x)].astype("float32")
        expected = x.astype("float16").view("uint16")
    found = [half(number, bits) for number, bits in zip(x, x.view("uint32"), strict=True)]
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(np.uint16(half(np.float32("nan"), np.uint32(0x7FC00000))).view("float16"))
