"""A line of output read back: what the encoder wrote, as arrays again."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np


@dataclass(slots=True)
class ForecastLine:
    """The forecasts of one record: made after its last step (k = 1), or after each of its k steps."""

    stream: str
    times: np.ndarray  # (k,) int64, epoch ms
    horizons: tuple[int, ...]  # P steps ahead
    mean: np.ndarray  # (k, P, D), NaN before the series' first value
    lower: np.ndarray  # (k, P, D)
    upper: np.ndarray  # (k, P, D)
    anomaly: np.ndarray  # (k,), NaN before the score is warm
    topic: str
    partition: int
    offset: int


class _Line(msgspec.Struct):
    stream: str
    time: int | list[int]
    horizons: list[int]
    mean: list[Any]
    lower: list[Any]
    upper: list[Any]
    anomaly: float | list[float | None] | None
    topic: str
    partition: int
    offset: int


_decode = msgspec.json.Decoder(_Line).decode


def read_forecast(line: bytes) -> ForecastLine | None:
    """The forecasts that a line holds; None for a line that no streamrnn wrote."""
    try:
        found = _decode(line)
        times = np.array(found.time if isinstance(found.time, list) else [found.time], np.int64)
        anomaly = found.anomaly if isinstance(found.anomaly, list) else [found.anomaly]
        shape = (len(times), len(found.horizons), -1)  # `[P]`, `[P][D]` or `[k][P][D]`
        mean, lower, upper = (np.array(each, float).reshape(shape) for each in (found.mean, found.lower, found.upper))
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError):
        return None
    if not mean.shape == lower.shape == upper.shape or len(anomaly) != len(times):
        return None
    return ForecastLine(
        stream=found.stream,
        times=times,
        horizons=tuple(found.horizons),
        mean=mean,
        lower=lower,
        upper=upper,
        anomaly=np.array(anomaly, float),
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
    )
