"""What the encoder writes is read back as it was."""

import json

import numpy as np
import pytest

from streamrnn.engine.encoder import Encoder
from streamrnn.engine.forecast_line import read_forecast
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import RecordBatch, single_steps

LINE = {
    "stream": "a", "time": 5, "horizons": [1, 2], "mean": [1.5, 2.5], "lower": [1, 2], "upper": [2, None],
    "anomaly": None, "surprise": None, "warm": False, "model": 0, "topic": "sensors", "partition": 3, "offset": 7,
}  # fmt: skip


def sequences(features: int) -> RecordBatch:
    """Two records of one stream, of 2 and 3 steps."""
    values = np.arange(5.0 * features).reshape(5, features) ** 2
    batch = single_steps([b"s"] * 5, np.arange(5), np.arange(5) * 1000, values, nested=True)
    batch.keys, batch.offsets, batch.timestamps = [b"s"] * 2, np.arange(2), np.arange(2)
    batch.first_step, batch.forget, batch.nested = np.array([0, 2, 5]), np.zeros(2, bool), np.ones(2, bool)
    return batch.check()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("features", [1, 3])
def test_a_record_of_one_step_is_read_back(nested: bool, features: int) -> None:
    nested = nested or features > 1
    settings = ForecastSettings(features=features, horizons=(1, 4), hidden=2)
    values = np.random.default_rng(0).normal(size=(150, features))
    batch = single_steps([b"\xc3\xa4"] * 150, np.arange(150), np.arange(150) * 60_000, values, nested=nested)
    made = Forecaster(settings).forecast(batch)
    lines = [read_forecast(line or b"") for line in Encoder("t", 2, (1, 4)).encode(batch, made)]
    for i, line in enumerate(lines):
        assert line is not None
        assert (line.stream, line.topic, line.partition, line.offset) == ("ä", "t", 2, i)
        assert (line.times.tolist(), line.horizons) == ([i * 60_000], (1, 4))
        for name in ("mean", "lower", "upper"):
            np.testing.assert_allclose(getattr(line, name)[0], getattr(made, name)[i], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(line.anomaly, made.anomaly[i], atol=1e-3)
    assert np.isnan(lines[0].anomaly[0]) and not np.isnan(lines[-1].anomaly[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("features", [1, 2])
def test_a_forecast_a_step_is_read_back(features: int) -> None:
    settings = ForecastSettings(features=features, horizons=(1, 2, 3), hidden=2)
    batch = sequences(features)
    made = Forecaster(settings).forecast(batch, every_step=True)
    lines = [read_forecast(line or b"") for line in Encoder("t", 0, (1, 2, 3)).encode(batch, made)]
    assert [line and line.mean.shape for line in lines] == [(2, 3, features), (3, 3, features)]
    assert [line and line.times.tolist() for line in lines] == [[0, 1000], [2000, 3000, 4000]]
    np.testing.assert_allclose(np.concatenate([line.mean for line in lines if line]), made.mean, rtol=1e-3)


def test_null_is_no_number() -> None:
    line = read_forecast(json.dumps(LINE).encode())
    assert line is not None
    assert np.isnan(line.upper[0, 1, 0]) and np.isnan(line.anomaly[0])


@pytest.mark.parametrize(
    "change",
    [{"mean": [1.5]}, {"mean": [[1.5], [2.5, 3.0]]}, {"mean": ["a", "b"]}, {"horizons": []}, {"time": "now"},
     {"time": [1, 2]}, {"anomaly": [0.1, 0.2]}, {"lower": {}}, {"offset": None}, {"time": 2**63}],
)  # fmt: skip
def test_a_line_of_another_shape_is_nobodys(change: dict[str, object]) -> None:
    assert read_forecast(json.dumps(LINE | change).encode()) is None


@pytest.mark.parametrize("line", [b"", b"12", b"[]", b"{}", b"not json", b'{"stream": "a", "forget": true}', b"\xff"])
def test_what_is_no_forecast_is_nobodys(line: bytes) -> None:
    assert read_forecast(line) is None
