"""From what a Python program has to columns: its records are those of a file of JSON lines, by the same rules."""

from datetime import date, datetime
from typing import Any

import numpy as np

from streamrnn.engine.record_reader import (
    FIRST_MS,
    KEY_BYTES,
    LAST_MS,
    InputFormat,
    Piece,
    RecordReader,
    checked_time,
    milliseconds_of,
)
from streamrnn.errors import ConfigError, RecordError
from streamrnn.records import LARGEST, RecordBatch


class Records:
    """Reads the records of one forecaster. `before`: the time of the last record so far, for one without a time."""

    def __init__(self, features: int) -> None:
        self.features = features
        self._reader = RecordReader(InputFormat(features=features, lines=True))

    def one(self, stream: Any, time: Any, value: Any, before: int) -> RecordBatch:
        """One record. Raises RecordError."""
        return self._batch([self._piece(stream, time, value, before)])

    def tombstone(self, stream: Any, before: int) -> RecordBatch:
        """What forgets a stream. Raises RecordError."""
        return self._batch([self._reader.piece(None, {"stream": stream, "forget": True}, before)])

    def many(self, streams: Any, times: Any, values: Any, before: int) -> RecordBatch:
        """Records as columns. Raises RecordError, which names the record, ConfigError where lengths differ."""
        times, values = (_as_array(column) for column in (times, values))
        names = [streams] * len(times) if isinstance(streams, str) else list(streams)
        if not len(names) == len(times) == len(values):
            told = f"{len(names)}, {len(times)} and {len(values)}"
            raise ConfigError(f"streams, times and values have {told} entries. Give as many of each")
        plain = self._plain(names, times, values)
        return self._one_by_one(names, list(times), list(values), before) if plain is None else plain

    def _plain(self, names: list[Any], times: Any, values: Any) -> RecordBatch | None:
        """Where all are plain numbers in arrays and each record is good."""
        R, D = len(names), self.features
        stamps, numbers = plain_times(times), plain_numbers(values)
        if (
            stamps is None
            or stamps.ndim != 1
            or numbers is None
            or numbers.shape not in ([(R,), (R, 1)] if D == 1 else [(R, D)])
        ):
            return None
        try:
            keys = [name.encode() for name in names]
        except (AttributeError, UnicodeEncodeError):
            return None
        lengths = np.fromiter(map(len, keys), np.int64, R)
        good = (lengths >= 1) & (lengths <= KEY_BYTES) & (stamps >= FIRST_MS) & (stamps <= LAST_MS)
        if not good.all() or (np.abs(numbers) > LARGEST).any():
            return None
        return RecordBatch(
            keys=keys,
            offsets=np.zeros(R, np.int64),
            timestamps=stamps,
            first_step=np.arange(R + 1),
            forget=np.zeros(R, bool),
            nested=np.full(R, numbers.ndim > 1),
            values=numbers.reshape(R, D),
            times=stamps,
            left=np.ones(R, np.int32),
        )

    def _one_by_one(self, names: list[Any], times: list[Any], values: list[Any], before: int) -> RecordBatch:
        pieces: list[Piece] = []
        for i, record in enumerate(zip(names, times, values, strict=True)):
            try:
                pieces.append(self._piece(*record, pieces[-1].timestamp if pieces else before))
            except RecordError as error:
                raise RecordError(error.stage, f"record {i}: {error}") from None
        return self._batch(pieces)

    def _piece(self, stream: Any, time: Any, value: Any, before: int) -> Piece:
        value = _as_json(value)
        message = {"stream": stream, "time": _moment(time), "values" if isinstance(value, list) else "value": value}
        return self._reader.piece(None, message, before)

    def _batch(self, pieces: list[Piece]) -> RecordBatch:
        R, D = len(pieces), self.features
        return RecordBatch(
            keys=[piece.key for piece in pieces],
            offsets=np.zeros(R, np.int64),
            timestamps=np.array([piece.timestamp for piece in pieces], np.int64),
            first_step=np.cumsum([0, *(len(piece.times) for piece in pieces)]),
            forget=np.array([piece.forget for piece in pieces], bool),
            nested=np.array([piece.nested for piece in pieces], bool),
            values=np.concatenate([np.zeros((0, D)), *(piece.values.reshape(-1, D) for piece in pieces)]),
            times=np.concatenate([np.zeros(0, np.int64), *(piece.times for piece in pieces)]),
            left=np.concatenate([np.zeros(0, np.int32), *(piece.left for piece in pieces)]),
        )


def moments(times: Any) -> np.ndarray:
    """Epoch milliseconds (R,) int64 of a column of times. Raises RecordError, which names the row."""
    found = plain_times(_as_array(times))
    if found is not None and ((found >= FIRST_MS) & (found <= LAST_MS)).all():
        return found
    made = []
    for row, time in enumerate(list(times) if found is None else found.tolist()):
        try:
            made.append(checked_time(_moment(time)))
        except RecordError as error:
            raise RecordError(error.stage, f"row {row}: {error}") from None
    return np.array(made, np.int64)


def plain_times(times: Any) -> np.ndarray | None:
    """Epoch milliseconds (R,) of whole numbers or NumPy's datetimes; None where not all are of one such kind."""
    if isinstance(times, np.ndarray) and times.dtype.kind == "M":
        return times.astype("datetime64[ms]").astype(np.int64)
    found = _array_of(times, {int}, np.int64)
    return None if found is None or found.dtype.kind != "i" else found.astype(np.int64)


def plain_numbers(values: Any) -> np.ndarray | None:
    """Numbers as float64, NaN for None; None where not all are numbers."""
    found = _array_of(values, {int, float, type(None)}, np.float64)
    return None if found is None or found.dtype.kind not in "fiu" else found.astype(np.float64)


def _array_of(column: Any, kinds: set[type], dtype: type) -> np.ndarray | None:
    if isinstance(column, np.ndarray):
        return column
    try:
        return np.array(column, dtype) if set(map(type, column)) <= kinds else None
    except OverflowError:
        return None


def _as_array(column: Any) -> Any:
    """An array where it knows how to be one, else a list."""
    return np.asarray(column) if hasattr(column, "__array__") else list(column)


def _moment(time: Any) -> Any:
    """A time as JSON has it: epoch milliseconds or text; what is no time stays as it is."""
    if isinstance(time, list | tuple | np.ndarray):
        return [_moment(each) for each in time]
    if isinstance(time, datetime | np.datetime64) and time != time:  # NaT
        return str(time)
    if isinstance(time, np.datetime64):
        return int(time.astype("datetime64[ms]").astype(np.int64))
    if isinstance(time, datetime):
        return milliseconds_of(time)
    if isinstance(time, date):
        return time.isoformat()
    return _as_json(time)


def _as_json(value: Any) -> Any:
    """Numbers and arrays of NumPy, and tuples, as JSON has them."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    return [_as_json(each) for each in value] if isinstance(value, list | tuple) else value
