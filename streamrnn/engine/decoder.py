"""From bytes to columns: JSON messages to a RecordBatch, and to a RecordError for each that is not a record.

Most batches hold one kind of valid message; they are decoded as columns. Any record that does not fit is looked at by
itself, where every rule has its message.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from streamrnn.engine.compiled import compiler, json_text
from streamrnn.engine.record_reader import FIRST_MS, KEY_BYTES, LAST_MS, InputFormat, Piece, RecordReader, checked_key
from streamrnn.errors import RecordError
from streamrnn.records import LARGEST, RecordBatch


class _Message(msgspec.Struct):
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    values: list[float | None] | msgspec.UnsetType = msgspec.UNSET
    time: int | msgspec.UnsetType | None = msgspec.UNSET


_decode_message = msgspec.json.Decoder(float | None | _Message).decode
_value, _values, _time = attrgetter("value"), attrgetter("values"), attrgetter("time")


@dataclass(slots=True)
class RawColumns:
    """Messages as they came, as columns. A timestamp of -1 says that the message has none of its own."""

    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]


@dataclass(slots=True)
class Decoded:
    """The records, and by position in the columns what was not one."""

    batch: RecordBatch
    errors: list[tuple[int, RecordError]]


class Decoder:
    """Decodes the messages of one input topic."""

    def __init__(self, form: InputFormat) -> None:
        self.form, self._reader = form, RecordReader(form)

    def decode(self, raw: RawColumns, previous_timestamp: int = 0) -> Decoded:
        """Columns of records from columns of bytes.

        previous_timestamp: for JSON lines, the timestamp of the line before these.
        """
        n = len(raw.values)
        columns = self._columns(raw) if self._reader.simple else None
        odd: Sequence[int] = range(n) if columns is None else np.flatnonzero(~columns[0]).tolist()
        pieces: dict[int, Piece] = {}
        errors: list[tuple[int, RecordError]] = []
        for i in odd:
            stamp = raw.timestamps[i] if raw.timestamps[i] >= 0 or not self.form.lines else previous_timestamp
            try:
                piece = pieces[i] = self._reader.read(raw.keys[i], raw.values[i], stamp)
                previous_timestamp = piece.timestamp
            except RecordError as error:
                errors.append((i, error))
        if columns is not None and not odd:
            _, values, times, nested = columns
            keys = list(raw.keys)
            return Decoded(_single(keys, raw.offsets, raw.timestamps, times, values, nested), [])  # type: ignore[arg-type]
        return Decoded(_assembled(raw, columns, pieces, self.form.features), errors)

    def _columns(self, raw: RawColumns) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """Which records are one plain step each (R,), their values (R, D), times (R,), and which nest (R,)."""
        if compiler.AVAILABLE and (read := self._read(raw)):
            return read
        try:
            messages: list[Any] = list(map(_decode_message, raw.values))  # type: ignore[arg-type]
        except (ValueError, TypeError, RecursionError):
            messages = [_decoded_or_none(value) for value in raw.values]
        made = self._numbers_only(messages, raw) or self._steps_only(messages, raw)
        if made is None:
            return None
        good, values, nests = made
        nested = np.full(len(good), nests)
        good &= _plain_keys(raw.keys)
        good &= ~(np.abs(values) > LARGEST).any(1)
        times, known = _own_times(messages, raw.timestamps)
        return (good if known is None else good & known), values, times, nested

    def _read(self, raw: RawColumns) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
        """What _columns tells, by way of loops; None where not all messages are of the commonest forms."""
        try:
            text, n = b"".join(raw.values), len(raw.values)  # type: ignore[arg-type]
        except TypeError:  # a tombstone
            return None
        ends = np.cumsum(np.fromiter(map(len, raw.values), np.int64, n))  # type: ignore[arg-type]
        times, values = np.array(raw.timestamps, np.int64), np.empty((n, self.form.features))
        nested = np.zeros(n, bool)
        if json_text.read(np.frombuffer(text, np.uint8), ends, values, times, nested) < n:
            return None
        good = _plain_keys(raw.keys)
        good &= np.diff(ends, prepend=0) <= self.form.max_bytes
        good &= (times >= FIRST_MS) & (times <= LAST_MS)
        return good, values, times, nested

    def _numbers_only(self, messages: list[Any], raw: RawColumns) -> tuple[np.ndarray, np.ndarray, bool] | None:
        """Where all messages are {"value": number}, or all numbers: good (R,), values (R, 1), not nested."""
        n = len(messages)
        if self.form.features > 1:
            return None
        if all(type(message) is float for message in messages):
            values = np.fromiter(messages, float, n)
            messages[:] = [_NOTHING] * n  # they have no time of their own
        else:
            try:
                values = np.fromiter(map(_value, messages), float, n)
            except (TypeError, AttributeError):  # null, a list, or of both kinds
                return None
            if list(map(_values, messages)).count(msgspec.UNSET) < n:
                return None
        if max(map(len, raw.values), default=0) > self.form.max_bytes:  # type: ignore[arg-type]
            return None
        return np.ones(n, bool), values[:, None], False

    def _steps_only(self, messages: list[Any], raw: RawColumns) -> tuple[np.ndarray, np.ndarray, bool] | None:
        """Which messages are one step each (R,), their values (R, D), and whether they are lists."""
        D, n = self.form.features, len(messages)
        good = np.fromiter(map(_is_message, messages), bool, n)
        good &= np.fromiter(map(_length, raw.values), np.int64, n) <= self.form.max_bytes
        messages[:] = [m if ok else _NOTHING for m, ok in zip(messages, good.tolist(), strict=True)]
        nested = D > 1 or next((m for m in messages if m is not _NOTHING), _NOTHING).value is msgspec.UNSET
        try:
            if nested:
                lists = [m.values if m.value is msgspec.UNSET else () for m in messages]
                fits = np.fromiter(map(_length, lists), np.int64, n) == D
                blank = [math.nan] * D
                values = np.array([v if ok else blank for v, ok in zip(lists, fits.tolist(), strict=True)], float)
            else:
                found = list(map(_value, messages))
                fits = np.fromiter((v is not msgspec.UNSET for v in found), bool, n)
                fits &= np.fromiter((m.values is msgspec.UNSET for m in messages), bool, n)
                values = np.array([v if ok else None for v, ok in zip(found, fits.tolist(), strict=True)], float)
        except (ValueError, TypeError):
            return None
        return good & fits, values.reshape(n, D), nested


_NOTHING = _Message()


def _own_times(messages: list[Any], timestamps: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """The time of each message's step (R,) ms, and where there is a plain one or none at all; None: everywhere."""
    n = len(messages)
    stamps, times = np.fromiter(timestamps, np.int64, n), list(map(_time, messages))
    if times.count(msgspec.UNSET) == n:
        return stamps, None
    own = [t if type(t) is int and FIRST_MS <= t <= LAST_MS else None for t in times]
    known = np.fromiter((t is not None for t in own), bool, n)
    absent = np.fromiter((t is None or t is msgspec.UNSET for t in times), bool, n)
    return np.where(known, np.array([t or 0 for t in own], np.int64), stamps), known | absent


def _is_message(message: Any) -> bool:
    return type(message) is _Message


def _length(value: Any) -> int:
    return 0 if value is None or value is msgspec.UNSET else len(value)


def _decoded_or_none(raw: bytes | None) -> Any:
    try:
        message = _decode_message(raw)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError):
        return None
    return message


def _plain_keys(keys: Sequence[bytes | None]) -> np.ndarray:
    """Which keys are valid stream ids (R,) bool."""
    try:
        b"\n".join(keys).decode()  # type: ignore[arg-type]
        lengths = np.fromiter(map(len, keys), np.int64, len(keys))  # type: ignore[arg-type]
    except (TypeError, UnicodeDecodeError):
        return np.fromiter((_is_key(key) for key in keys), bool, len(keys))
    return (lengths >= 1) & (lengths <= KEY_BYTES)


def _is_key(key: bytes | None) -> bool:
    try:
        checked_key(key)
    except RecordError:
        return False
    return True


def _single(
    keys: list[bytes],
    offsets: Sequence[int],
    stamps: Sequence[int],
    times: np.ndarray,
    values: np.ndarray,
    nested: np.ndarray,
) -> RecordBatch:
    n = len(keys)
    return RecordBatch(
        keys=keys,
        offsets=np.fromiter(offsets, np.int64, n),
        timestamps=np.fromiter(stamps, np.int64, n),
        first_step=np.arange(n + 1),
        forget=np.zeros(n, bool),
        nested=nested,
        values=values,
        times=times,
        left=np.ones(n, np.int32),
    )


def _assembled(
    raw: RawColumns,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None,
    pieces: dict[int, Piece],
    features: int,
) -> RecordBatch:
    """A batch of the good columns and of the pieces, in the order of the messages."""
    n = len(raw.values)
    good, values, times, nested = columns or (
        np.zeros(n, bool),
        np.zeros((n, features)),
        np.zeros(n, np.int64),
        np.zeros(n, bool),
    )
    kept = np.flatnonzero(good | np.isin(np.arange(n), list(pieces)))
    counts = np.array([len(pieces[i].times) if i in pieces else 1 for i in kept.tolist()], np.int64)
    first = np.concatenate([[0], np.cumsum(counts)])
    batch = RecordBatch(
        keys=[pieces[i].key if i in pieces else raw.keys[i] for i in kept.tolist()],  # type: ignore[misc]
        offsets=np.array([raw.offsets[i] for i in kept.tolist()], np.int64),
        timestamps=np.array(
            [pieces[i].timestamp if i in pieces else raw.timestamps[i] for i in kept.tolist()], np.int64
        ),
        first_step=first,
        forget=np.array([i in pieces and pieces[i].forget for i in kept.tolist()], bool),
        nested=np.array([pieces[i].nested if i in pieces else nested[i] for i in kept.tolist()], bool),
        values=np.full((first[-1], features), math.nan),
        times=np.zeros(first[-1], np.int64),
        left=np.ones(first[-1], np.int32),
    )
    plain = good[kept]
    batch.values[first[:-1][plain]] = values[kept[plain]]
    batch.times[first[:-1][plain]] = times[kept[plain]]
    for at, i in enumerate(kept.tolist()):
        if i in pieces and counts[at]:
            steps = slice(first[at], first[at + 1])
            batch.values[steps] = pieces[i].values
            batch.times[steps], batch.left[steps] = pieces[i].times, pieces[i].left
    return batch
