"""Forecasts as a Python program sees them: the names, the meaning and the numbers of an output line."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from streamrnn.engine import digits
from streamrnn.records import ForecastBatch, RecordBatch


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is expected after one record, as the daemon would have written it.

    The entries of mean, lower and upper are numbers, with several features lists of D numbers; None until the series'
    first value.
    """

    stream: str
    time: int  # of the record, epoch ms
    horizons: list[int]  # steps ahead
    mean: list[Any]  # one entry a horizon
    lower: list[Any]  # lower..upper holds the truth with probability `coverage`
    upper: list[Any]
    anomaly: float | None  # 0..1; .999 and above: a new incident. None for a stream's first 100 records
    surprise: float | None  # 0..1: how improbable this record was, given all before it
    warm: bool  # enough labels have arrived for its own experience to outweigh the priors
    model: int  # weight updates behind this forecast

    def as_dict(self) -> dict[str, Any]:
        """The output line's object, without its place in Kafka."""
        return asdict(self)


@dataclass(frozen=True, slots=True, repr=False)
class Forecasts:
    """The forecasts after R records, as columns; `forecasts[i]` is the Forecast after record i.

    With several features mean, lower and upper have an axis more: (R, P, D).
    """

    streams: list[str]
    times: np.ndarray  # (R,) int64, epoch ms
    horizons: tuple[int, ...]  # P
    mean: np.ndarray  # (R, P) float64, NaN until the series' first value
    lower: np.ndarray
    upper: np.ndarray
    anomaly: np.ndarray  # (R,) NaN until the score is warm
    surprise: np.ndarray  # (R,)
    warm: np.ndarray  # (R,) bool
    model: np.ndarray  # (R,) int64

    @classmethod
    def of(cls, records: RecordBatch, made: ForecastBatch, horizons: tuple[int, ...]) -> "Forecasts":
        """Those that an engine made after these records."""
        exact = made.mean, made.lower, made.upper
        if made.mean.shape[2] == 1:
            exact = made.mean[:, :, 0], made.lower[:, :, 0], made.upper[:, :, 0]
        mean, lower, upper = as_written(*exact)
        anomaly, surprise = scores_as_written(np.stack([made.anomaly, made.surprise]))
        names = [key.decode() for key in records.keys]
        return cls(names, made.times, horizons, mean, lower, upper, anomaly, surprise, made.warm, made.model)

    def __len__(self) -> int:
        return len(self.streams)

    def __getitem__(self, i: int) -> Forecast:
        return Forecast(
            stream=self.streams[i],
            time=int(self.times[i]),
            horizons=list(self.horizons),
            mean=_listed(self.mean[i]),
            lower=_listed(self.lower[i]),
            upper=_listed(self.upper[i]),
            anomaly=_number(self.anomaly[i]),
            surprise=_number(self.surprise[i]),
            warm=bool(self.warm[i]),
            model=int(self.model[i]),
        )

    def __iter__(self) -> Iterator[Forecast]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self):,} forecasts of horizons {list(self.horizons)}>"


def as_written(mean: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts of one shape with the digits that they are worth: the very numbers of an output line."""
    exact = mean, lower, upper
    mean, lower, upper = (
        bound.numbers(values) for bound, values in zip(digits.of_forecasts(*exact), exact, strict=True)
    )
    return mean, lower, upper


def scores_as_written(scores: np.ndarray) -> np.ndarray:
    """Surprise or anomaly with the digits that they are worth."""
    return digits.of_scores(scores).numbers(scores)


def _listed(values: np.ndarray) -> list[Any]:
    """(P,) or (P, D) as lists, None for NaN."""
    if np.isnan(values).any():
        return [_listed(row) for row in values] if values.ndim > 1 else [_number(value) for value in values]
    made: list[Any] = values.tolist()
    return made


def _number(value: float) -> float | None:
    return None if value != value else float(value)
