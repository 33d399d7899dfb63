"""What a task needs of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamrnn.engine.decoder import InputFormat
from streamrnn.engine.settings import ForecastSettings


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """What a task needs of the configuration."""

    forecast: ForecastSettings
    form: InputFormat
    every_step: bool
    start: str  # earliest | latest
    commit_interval: float
    snapshot_interval: float
    rebuild: float
    initial: Mapping[str, np.ndarray] | None = None  # what a trained model passes on
    anomalous_from: float | None = None  # the `anomaly` from which a record is also published among the anomalies
