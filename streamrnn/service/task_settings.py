"""What a task needs of the configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """The same for all tasks of a process."""

    forecast: ForecastSettings
    form: InputFormat
    every_step: bool
    start: str  # earliest | latest
    commit_interval: float
    snapshot_interval: float
    rebuild: float
    initial: Mapping[str, np.ndarray] | None = None  # what a trained model passes on
    xp: ModuleType = np  # where the streams' state lives
    anomalous_from: float | None = None  # the `anomaly` from which a record is also published among the anomalies
