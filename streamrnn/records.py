"""The two batches that flow through: records in, forecasts out. Columns (arrays), not an object per record.

R records hold K steps in all (a record is one step, or a sequence of steps), each of D features.
"""

from dataclasses import dataclass

import numpy as np

from streamrnn.errors import StreamRNNError

LARGEST = 1e150  # beyond it squares of differences leave float64


@dataclass(slots=True)
class RecordBatch:
    """Decoded records of one partition, in order."""

    keys: list[bytes]  # R stream ids, UTF-8
    offsets: np.ndarray  # (R,) int64
    timestamps: np.ndarray  # (R,) int64, the message's own, epoch ms
    first_step: np.ndarray  # (R + 1,) int64: record i holds steps first_step[i] .. first_step[i + 1] - 1
    forget: np.ndarray  # (R,) bool: a tombstone, which holds no step
    nested: np.ndarray  # (R,) bool: the record held "values", so its forecast holds lists
    values: np.ndarray  # (K, D) float64, NaN: missing
    times: np.ndarray  # (K,) int64, epoch ms
    left: np.ndarray  # (K,) int32: steps up to and with the one whose time is `times`; 1: the time is this step's own

    def __len__(self) -> int:
        return len(self.keys)

    def check(self) -> "RecordBatch":
        """Raise StreamRNNError where columns disagree in length: a mistake of the caller, not of the data."""
        R, K = len(self.keys), len(self.values)
        for name, expected in (("offsets", R), ("timestamps", R), ("first_step", R + 1), ("forget", R)):
            if len(getattr(self, name)) != expected:
                raise StreamRNNError(
                    f"RecordBatch.{name} has {len(getattr(self, name))} entries, expected {expected}"
                )
        if self.first_step[-1] != K or len(self.times) != K or len(self.left) != K:
            raise StreamRNNError(f"RecordBatch holds {K} steps, first_step ends at {self.first_step[-1]}")
        return self


def single_steps(
    keys: list[bytes], offsets: np.ndarray, times: np.ndarray, values: np.ndarray, *, nested: bool
) -> RecordBatch:
    """A batch in which each record is one step with a time of its own: values (R, D)."""
    R = len(keys)
    return RecordBatch(
        keys=keys,
        offsets=offsets,
        timestamps=times,
        first_step=np.arange(R + 1),
        forget=np.zeros(R, bool),
        nested=np.full(R, nested),
        values=values,
        times=times,
        left=np.ones(R, np.int32),
    )


def table_steps(
    names: list[bytes], values: np.ndarray, times: np.ndarray, *, multivariate: bool = False, first: int = 0
) -> RecordBatch:
    """A table's rows, values (T, D) at times (T,), as records: one a cell, row by row, or one a row.

    names: of its D streams, or of its only one with `multivariate`; first: the number of the first row.
    """
    T, streams = len(values), len(names)
    return single_steps(
        names * T,
        np.repeat(np.arange(first, first + T), streams),
        np.repeat(times, streams),
        values if multivariate else values.reshape(-1, 1),
        nested=multivariate,
    )


@dataclass(slots=True)
class Scores:
    """What arriving labels said of earlier forecasts, summed over a batch, in units of each series' scale S."""

    scored: np.ndarray  # (P,) number of forecasts
    covered: np.ndarray  # (P,) of them, inside their interval
    absolute: np.ndarray  # (P,) sum of |forecast - value| / S
    naive: np.ndarray  # (P,) the same of persistence

    @staticmethod
    def zero(horizons: int) -> "Scores":
        return Scores(*(np.zeros(horizons) for _ in range(4)))

    def add(self, other: "Scores") -> None:
        self.scored += other.scored
        self.covered += other.covered
        self.absolute += other.absolute
        self.naive += other.naive


@dataclass(slots=True)
class ForecastBatch:
    """Forecasts made after the steps of a RecordBatch. M rows: one a record, or one a step (`every_step`)."""

    every_step: bool
    mean: np.ndarray  # (M, P, D) float64, NaN before the series' first value
    lower: np.ndarray  # (M, P, D)
    upper: np.ndarray  # (M, P, D)
    times: np.ndarray  # (M,) int64, epoch ms
    surprise: np.ndarray  # (M,) 0..1, NaN before the score is warm; of a record that of its most surprising step
    anomaly: np.ndarray  # (M,) 0..1, likewise
    warm: np.ndarray  # (M,) bool: the stream is past the priors of its mixture
    model: np.ndarray  # (M,) int64: weight updates behind this forecast
    scores: Scores
