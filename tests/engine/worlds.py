"""Small streams of records for the tests of the engine."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.records import RecordBatch, single_steps


def walk(seed: int, steps: int, streams: int, features: int = 1, missing: float = 0.05) -> RecordBatch:
    """Noisy oscillations of some streams, in random order, with gaps; one stream is far more frequent."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, streams, steps)
    ids[random.random(steps) < 0.2] = 0
    values = np.sin(np.arange(steps)[:, None] / (3.0 + ids[:, None])) + random.normal(size=(steps, features))
    values += np.cumsum(random.normal(size=(steps, features)), 0) * 0.1 + ids[:, None]
    values[random.random(values.shape) < missing] = np.nan
    times = np.cumsum(random.integers(0, 2000, steps))
    keys = [b"stream-%d" % i for i in ids]
    return single_steps(keys, np.arange(steps), times, values, nested=features > 1)


def daily(seed: int, steps: int, streams: int, features: int = 1, missing: float = 0.05) -> RecordBatch:
    """A noisy daily wave of at most two streams, an hour a step: a season is found after some hundred records."""
    random = np.random.default_rng(seed)
    streams = min(streams, 2)
    hour = np.arange(steps) // streams
    values = np.sin(2 * np.pi * hour / 24)[:, None] + 0.1 * random.normal(size=(steps, features))
    values[random.random(steps) < 0.005] += 4.0
    values[random.random(values.shape) < missing] = np.nan
    keys = [b"stream-%d" % (i % streams) for i in range(steps)]
    return single_steps(keys, np.arange(steps), hour * 3_600_000, values, nested=features > 1)


def part(batch: RecordBatch, first: int, stop: int) -> RecordBatch:
    """Records first .. stop - 1 of a batch of single steps."""
    return RecordBatch(
        keys=batch.keys[first:stop],
        offsets=batch.offsets[first:stop],
        timestamps=batch.timestamps[first:stop],
        first_step=np.arange(stop - first + 1),
        forget=batch.forget[first:stop],
        nested=batch.nested[first:stop],
        values=batch.values[first:stop],
        times=batch.times[first:stop],
        left=batch.left[first:stop],
    )


def means(forecaster: Forecaster, batch: RecordBatch, cuts: Iterable[int] = ()) -> np.ndarray:
    """Mean forecasts (R, P, D) of a batch fed in pieces that begin at these cuts."""
    edges = [0, *sorted(set(cuts)), len(batch)]
    pieces = [forecaster.forecast(part(batch, a, b)).mean for a, b in itertools.pairwise(edges) if b > a]
    return np.concatenate(pieces)


def forecasts(forecaster: Forecaster, batch: RecordBatch, cuts: Iterable[int] = ()) -> np.ndarray:
    """Mean, lower, upper, surprise and anomaly (R, 3·P·D + 2) of a batch fed in pieces that begin at these cuts."""
    edges, made = [0, *sorted(set(cuts)), len(batch)], []
    for a, b in itertools.pairwise(edges):
        if b > a:
            each = forecaster.forecast(part(batch, a, b))
            columns = [getattr(each, name).reshape(b - a, -1) for name in ("mean", "lower", "upper")]
            made.append(np.concatenate([*columns, each.surprise[:, None], each.anomaly[:, None]], axis=1))
    return np.concatenate(made)


def scale(batch: RecordBatch) -> float:
    """A size that the batch's values have: the root mean square of one stream's first differences."""
    x = batch.values[[key == batch.keys[0] for key in batch.keys]]
    moves = np.diff(x, axis=0)
    return float(np.sqrt(np.nanmean(moves**2))) if np.isfinite(moves).any() else 1.0


def sequences(batch: RecordBatch, lengths: Sequence[int]) -> RecordBatch:
    """The same steps of one stream, packed into sequence records of these lengths."""
    first = np.concatenate([[0], np.cumsum(lengths)])
    R = len(lengths)
    return RecordBatch(
        keys=batch.keys[:R],
        offsets=np.arange(R),
        timestamps=batch.times[first[1:] - 1],
        first_step=first,
        forget=np.zeros(R, bool),
        nested=np.ones(R, bool),
        values=batch.values,
        times=batch.times,
        left=batch.left,
    )
