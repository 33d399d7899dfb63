"""The arguments of `Forecaster` and `backtest` that are settings, by the configuration's names and rules."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_start import begin_with
from streamrnn.errors import ConfigError
from streamrnn.service.backend import backend
from streamrnn.service.config import config_of
from streamrnn.service.forecasting import forecast_settings, initial_model

# Where each argument stands in the configuration.
KEYS: Final = {
    "horizons": "forecast.horizons",
    "features": "input.features",
    "coverage": "forecast.coverage",
    "missing": "input.missing",
    "cell": "model.cell",
    "hidden": "model.hidden",
    "readout": "model.readout",
    "initial": "model.initial",
    "learning": "learning.enabled",
    "window": "learning.window",
    "rate": "learning.rate",
    "clip_norm": "learning.clip_norm",
    "seed": "compute.seed",
    "backend": "compute.backend",
    "max_streams": "state.max_streams",
    "ttl": "state.ttl",
}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What arguments say."""

    settings: ForecastSettings
    initial: dict[str, np.ndarray] | None  # what a trained model passes on
    xp: ModuleType  # where arrays live

    @classmethod
    def by(cls, arguments: Mapping[str, object]) -> "Chosen":
        """Raises ConfigError, which names the argument, where one is unknown or has a value that does not fit."""
        for name in arguments:
            if name not in KEYS:
                guess = difflib.get_close_matches(name, KEYS, n=1)
                told = f"Did you mean {guess[0]!r}?" if guess else f"There are {', '.join(KEYS)}"
                raise ConfigError(f"argument {name}: is not a setting. {told}")
        config = config_of(arguments, KEYS)
        return cls(forecast_settings(config), initial_model(config), backend(config, daemon=False))

    def forecaster(self) -> Forecaster:
        """A new one."""
        made = Forecaster(self.settings, self.xp)
        if self.initial is not None:
            begin_with(made, self.initial)
        return made
