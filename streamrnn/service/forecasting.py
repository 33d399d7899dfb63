"""From the configuration to what touches forecasts: no broker, no file but a trained model."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from streamrnn.engine.readouts import Readouts
from streamrnn.engine.settings import ForecastSettings
from streamrnn.service.model_file import read_model
from streamrnn.service.settings import Config


def forecast_settings(config: Config) -> ForecastSettings:
    """What touches forecasts."""
    settings = ForecastSettings(
        features=config.input.features,
        horizons=tuple(config.forecast.horizons),
        coverage=config.forecast.coverage,
        missing=tuple(config.input.missing),
        cell=config.model.cell,
        hidden=config.model.hidden,
        learning=config.learning.enabled,
        window=config.learning.window,
        rate=config.learning.rate,
        clip_norm=config.learning.clip_norm,
        seed=config.compute.seed,
        max_streams=int(config.state.max_streams),
        ttl_ms=None if config.state.ttl is None else config.state.ttl.milliseconds,
    )
    if config.model.readout != "auto":
        return replace(settings, readout=config.model.readout)
    exact = replace(settings, readout="exact")
    series = config.state.max_streams * config.input.features
    size = series * sum(field.row_bytes for field in Readouts(exact).fields())
    return exact if size <= config.state.exact_budget else replace(settings, readout="shared")


def initial_model(config: Config) -> dict[str, np.ndarray] | None:
    """What a trained model passes on, if one is configured. Raises ConfigError."""
    if config.model.initial is None:
        return None
    return read_model(Path(config.model.initial), forecast_settings(config))
