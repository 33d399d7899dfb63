"""Forecasts beside what then happened: the h-th step after a record is the truth of its horizon h.

Pure. Memory is bounded: where more forecasts wait for their truth than MOST numbers hold, new ones are left out and
counted, and those that wait go on waiting.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from streamrnn.engine.forecast_line import ForecastLine

MOST = 6_000_000  # numbers that wait, 48 MB
OVERHEAD = 64  # what a waiting forecast, or a stream, takes beside its numbers


@dataclass(frozen=True, slots=True)
class Compared:
    """What came at one step of one series, and one forecast of it."""

    stream: str
    feature: int | None  # None: the record held scalars
    time: int  # of the step, epoch ms
    value: float  # NaN: missing
    horizon: int | None  # how many steps before it was made; None where no forecast of this step was seen
    lower: float  # NaN: the series had no value yet
    mean: float
    upper: float
    anomaly: float | None  # of the step's record; None before the score is warm

    @property
    def inside(self) -> bool | None:
        """Whether the value lay in the interval; None where one of them is missing."""
        known = self.value == self.value and self.mean == self.mean
        return self.lower <= self.value <= self.upper if known else None


@dataclass(slots=True)
class Record:
    """One record of the input, decoded."""

    stream: str
    values: np.ndarray  # (k, D), NaN missing
    times: np.ndarray  # (k,) epoch ms
    left: np.ndarray  # (k,) steps up to and with the one whose time is `times`
    nested: bool
    forget: bool = False


@dataclass(slots=True)
class _Stream:
    horizons: tuple[int, ...]
    steps: int = 0  # seen since it is followed
    time: int | None = None  # of the last one
    made: dict[int, np.ndarray] = field(default_factory=dict)  # (3, P, D) by the step after which it was made

    @property
    def size(self) -> int:
        return OVERHEAD + sum(OVERHEAD + bounds.size for bounds in self.made.values())


class Comparison:
    """The streams of any number of partitions, each record in the order of its partition."""

    def __init__(self, most: int = MOST) -> None:
        self._streams: dict[str, _Stream] = {}
        self._room = most
        self.left_out = 0  # forecasts that nobody waits for

    def take(self, record: Record, line: ForecastLine | None) -> list[Compared]:
        """The next record of a stream and the forecasts that were made of it, None where it got none.

        Returns what this record says of earlier forecasts, by step, feature and horizon. A step whose anomaly is
        known and of which no forecast was seen is there once, with no horizon.
        """
        if record.forget:
            self._forget(record.stream)
            return []
        told: list[Compared] = []
        k = len(record.values)
        spoken = k if line is None else k - len(line.times)  # the first step after which there is a forecast
        for i in range(k):
            stream, j = self._streams.get(record.stream), i - spoken
            anomaly = None if line is None or j < 0 or np.isnan(line.anomaly[j]) else float(line.anomaly[j])
            time = _time(record, i, stream) if line is None or j < 0 else int(line.times[j])
            told += _compared(record, i, time, anomaly, stream)
            if stream is not None:
                stream.steps, stream.time = stream.steps + 1, time
                self._let_go(stream)
            if line is not None and j >= 0:
                self._wait_for(line, j)
        return told

    def lost(self, line: ForecastLine) -> None:
        """Forecasts of which the record is not in the input any more: their stream is counted from here."""
        self._forget(line.stream)
        self._wait_for(line, len(line.times) - 1)

    def _wait_for(self, line: ForecastLine, j: int) -> None:
        """Keep the forecasts made after the stream's last step, the j-th of the line, if there is room."""
        stream = self._streams.get(line.stream)
        if stream is not None and stream.horizons != line.horizons:
            self._forget(line.stream)  # the worker was given others
            stream = None
        bounds = np.stack([line.lower[j], line.mean[j], line.upper[j]])  # (3, P, D)
        cost = OVERHEAD + bounds.size + (OVERHEAD if stream is None else 0)
        if cost > self._room:
            self.left_out += 1
            return
        self._room -= cost
        if stream is None:
            stream = self._streams[line.stream] = _Stream(line.horizons, time=int(line.times[j]))
        stream.made[stream.steps] = bounds

    def _let_go(self, stream: _Stream) -> None:
        """Of what was made so long ago that it speaks of no step to come."""
        while stream.made:
            step = next(iter(stream.made))
            if step + stream.horizons[-1] > stream.steps:
                return
            self._room += OVERHEAD + stream.made.pop(step).size

    def _forget(self, name: str) -> None:
        stream = self._streams.pop(name, None)
        if stream is not None:
            self._room += stream.size


def _time(record: Record, i: int, stream: _Stream | None) -> int:
    """Of step i, ms: where only a later one's is known it is spread evenly since the stream's last, as forecast."""
    told, left = int(record.times[i]), int(record.left[i])
    previous = told if stream is None or stream.time is None else stream.time
    return previous + (told - previous) // left


def _compared(record: Record, i: int, time: int, anomaly: float | None, stream: _Stream | None) -> Iterator[Compared]:
    """Step i of a record beside every forecast of it, the shortest horizon first."""
    values, forecasts = record.values[i], []
    if stream is not None:
        for p, horizon in enumerate(stream.horizons):
            bounds = stream.made.get(stream.steps + 1 - horizon)
            if bounds is not None and bounds.shape[2] == len(values):
                forecasts.append((horizon, bounds[:, p]))
    for feature, value in enumerate(values.tolist()):
        name = record.stream, feature if record.nested else None
        for horizon, bounds in forecasts:
            lower, mean, upper = bounds[:, feature].tolist()
            yield Compared(*name, time, value, horizon, lower, mean, upper, anomaly)
        if not forecasts and anomaly is not None:
            yield Compared(*name, time, value, None, np.nan, np.nan, np.nan, anomaly)
