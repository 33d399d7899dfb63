"""Batches of single steps of one feature, in which a record may also be a tombstone."""

import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.records import RecordBatch

Row = tuple[bytes, float | None]  # the stream, and its value; None: forget the stream


def by_hand(rows: Sequence[Row], first: int = 0, interval: int = 1000) -> RecordBatch:
    """These rows as records, offsets from `first` on and a second apart."""
    stepped = np.array([value is not None for _, value in rows], bool)
    stamps = (first + np.arange(len(rows))) * interval
    return RecordBatch(
        keys=[key for key, _ in rows],
        offsets=first + np.arange(len(rows)),
        timestamps=stamps,
        first_step=np.concatenate([[0], np.cumsum(stepped)]),
        forget=~stepped,
        nested=np.zeros(len(rows), bool),
        values=np.array([value for _, value in rows if value is not None], float).reshape(-1, 1),
        times=stamps[stepped],
        left=np.ones(int(stepped.sum()), np.int32),
    ).check()


def fed(forecaster: Forecaster, rows: Sequence[Row], first: int = 0, cuts: Iterable[int] = ()) -> np.ndarray:
    """Mean forecasts (R, P) of rows fed in pieces that begin at these cuts; NaN for a tombstone."""
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    made = [np.zeros((0, len(forecaster.settings.horizons)))]
    for start, stop in itertools.pairwise(edges):
        made.append(forecaster.forecast(by_hand(rows[start:stop], first + start)).mean[:, :, 0])
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
