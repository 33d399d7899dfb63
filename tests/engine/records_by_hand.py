"""Batches of single steps of one feature, in which a record may also be a tombstone."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.records import RecordBatch

Row = tuple[bytes, float | None]  # the stream, and its value; None: forget the stream


def by_hand(rows: Sequence[Row], first: int = 0) -> RecordBatch:
    """These rows as records, the first of them with this offset; a step a second, from second `first` on."""
    stepped = np.array([value is not None for _, value in rows], bool)
    first_step = np.concatenate([[0], np.cumsum(stepped)])
    stamps = (first + first_step[:-1]) * 1000
    return RecordBatch(
        keys=[key for key, _ in rows],
        offsets=first + np.arange(len(rows)),
        timestamps=stamps,
        first_step=first_step,
        forget=~stepped,
        nested=np.zeros(len(rows), bool),
        values=np.array([value for _, value in rows if value is not None], float).reshape(-1, 1),
        times=stamps[stepped],
        left=np.ones(int(stepped.sum()), np.int32),
    ).check()


def cut_out(batch: RecordBatch, start: int, stop: int) -> RecordBatch:
    """Records start .. stop - 1 of a batch."""
    steps = slice(int(batch.first_step[start]), int(batch.first_step[stop]))
    return RecordBatch(
        keys=batch.keys[start:stop],
        offsets=batch.offsets[start:stop],
        timestamps=batch.timestamps[start:stop],
        first_step=batch.first_step[start : stop + 1] - batch.first_step[start],
        forget=batch.forget[start:stop],
        nested=batch.nested[start:stop],
        values=batch.values[steps],
        times=batch.times[steps],
        left=batch.left[steps],
    ).check()


def fed(forecaster: Forecaster, rows: Sequence[Row], first: int = 0, cuts: Iterable[int] = ()) -> np.ndarray:
    """Mean forecasts (R, P) of rows fed in pieces that begin at these cuts; NaN for a tombstone."""
    batch = by_hand(rows, first)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    made = [np.zeros((0, len(forecaster.settings.horizons)))]
    for start, stop in itertools.pairwise(edges):
        made.append(forecaster.forecast(cut_out(batch, start, stop)).mean[:, :, 0])
    return np.concatenate(made)


def wandering(seed: int, records: int, streams: int, forgotten: float = 0.02, missing: float = 0.05) -> list[Row]:
    """Random walks of some streams in random order, with missing values and tombstones."""
    random = np.random.default_rng(seed)
    level = np.zeros(streams)
    rows: list[Row] = []
    for i in random.integers(0, streams, records).tolist():
        level[i] += random.normal()
        kind = random.random()
        value = None if kind < forgotten else float("nan") if kind < forgotten + missing else float(level[i])
        rows.append((b"stream-%d" % i, value))
    return rows
