"""A trained model on disk."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_start import learnt
from streamrnn.errors import ConfigError
from streamrnn.service.model_file import read_model, write_model
from tests.engine.worlds import daily

SETTINGS = ForecastSettings(hidden=4)


def written(path: Path) -> Forecaster:
    forecaster = Forecaster(SETTINGS)
    forecaster.forecast(daily(1, 400, 2))
    with path.open("wb") as file:
        write_model(forecaster, file)
    return forecaster


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "model"
    expected = learnt(written(path))
    found = read_model(path, SETTINGS)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_model_for_other_settings_is_refused_and_both_are_named(tmp_path: Path) -> None:
    written(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"model\.initial: .*model: .*hidden: 8 here, 4 there"):
        read_model(tmp_path / "model", ForecastSettings(hidden=8))


def test_what_is_no_model_is_refused_and_its_maker_is_named(tmp_path: Path) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "other")
    (tmp_path / "text").write_text("time,a\n")
    for name in ("other", "text", "absent"):
        with pytest.raises(ConfigError, match=rf"model\.initial: .*{name}: .*streamrnn train"):
            read_model(tmp_path / name, SETTINGS)
