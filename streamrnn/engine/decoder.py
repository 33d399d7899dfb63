"""From bytes to columns: JSON messages to a RecordBatch, and to a RecordError for each that is not a record.

Most batches hold one kind of valid message; they are decoded as columns. Any record that does not fit is looked at by
itself, where every rule has its message.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import RecordError
from streamrnn.records import LARGEST, RecordBatch

KEY_BYTES = 256
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999
DEFAULT_FIELDS = {"value": "value", "values": "values", "time": "time", "stream": "stream"}


class _Message(msgspec.Struct):
    value: float | msgspec.UnsetType | None = msgspec.UNSET
    values: list[float | None] | msgspec.UnsetType = msgspec.UNSET
    time: int | msgspec.UnsetType | None = msgspec.UNSET


_decode_message = msgspec.json.Decoder(float | None | _Message).decode
_decode_any = msgspec.json.Decoder().decode
_value, _values, _time = attrgetter("value"), attrgetter("values"), attrgetter("time")


@dataclass(frozen=True, slots=True)
class InputFormat:
    """What a message looks like."""

    features: int = 1
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    max_bytes: int = 1 << 20
    max_steps: int = 4096
    lines: bool = False  # JSON lines: the stream and the tombstone are in the value, the timestamp is its time


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


@dataclass(slots=True)
class _Piece:
    """One record, decoded by itself."""

    key: bytes
    timestamp: int
    values: np.ndarray  # (k, D)
    times: np.ndarray  # (k,)
    left: np.ndarray  # (k,)
    nested: bool
    forget: bool = False


class Decoder:
    """Decodes the messages of one input topic."""

    def __init__(self, form: InputFormat) -> None:
        self.form = form
        self._fields: dict[str, str | Sequence[str]] = {**DEFAULT_FIELDS, **form.fields}
        self._simple = not form.lines and self._fields == DEFAULT_FIELDS

    def decode(self, raw: RawColumns, previous_timestamp: int = 0) -> Decoded:
        """Columns of records from columns of bytes.

        previous_timestamp: for JSON lines, the timestamp of the line before these.
        """
        n = len(raw.values)
        columns = self._columns(raw) if self._simple else None
        odd: Sequence[int] = range(n) if columns is None else np.flatnonzero(~columns[0]).tolist()
        pieces: dict[int, _Piece] = {}
        errors: list[tuple[int, RecordError]] = []
        for i in odd:
            stamp = raw.timestamps[i] if raw.timestamps[i] >= 0 or not self.form.lines else previous_timestamp
            try:
                piece = pieces[i] = self._one(raw.keys[i], raw.values[i], stamp)
                previous_timestamp = piece.timestamp
            except RecordError as error:
                errors.append((i, error))
        if columns is not None and not odd:
            _, values, times, nested = columns
            keys = list(raw.keys)
            return Decoded(_single(keys, raw.offsets, raw.timestamps, times, values, nested), [])  # type: ignore[arg-type]
        return Decoded(_assembled(raw, columns, pieces, self.form.features), errors)

    def _columns(self, raw: RawColumns) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool] | None:
        """Which records are one plain step each (R,), their values (R, D), times (R,), and whether they nest."""
        try:
            messages: list[Any] = list(map(_decode_message, raw.values))  # type: ignore[arg-type]
        except (ValueError, TypeError, RecursionError):
            messages = [_decoded_or_none(value) for value in raw.values]
        made = self._numbers_only(messages, raw) or self._steps_only(messages, raw)
        if made is None:
            return None
        good, values, nested = made
        good &= _plain_keys(raw.keys)
        good &= ~(np.abs(values) > LARGEST).any(1)
        times, known = _own_times(messages, raw.timestamps)
        return (good if known is None else good & known), values, times, nested

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

    def _one(self, key: bytes | None, raw: bytes | None, timestamp: int) -> _Piece:
        """One record by itself. Raises RecordError, which says what was found and what was expected."""
        if raw is None:
            return _tombstone(_checked_key(key), timestamp)
        if len(raw) > self.form.max_bytes:
            raise RecordError("decode", f"the value has {len(raw)} bytes, input.max_bytes is {self.form.max_bytes}")
        message = _parse(raw)
        if self.form.lines and isinstance(message, dict) and message.get("forget") is True:
            return _tombstone(self._key_of(key, message), timestamp)
        stream = self._key_of(key, message)
        numbers, nested = self._numbers(message)
        values = self._steps(numbers, nested)
        found = _find(message, self._fields["time"]) if isinstance(message, dict) else None
        times, left = _step_times(found, len(values), timestamp)
        if self.form.lines and found is not None:
            timestamp = int(times[-1])
        return _Piece(stream, timestamp, values, times, left, nested)

    def _key_of(self, key: bytes | None, message: Any) -> bytes:
        if key is not None:
            return _checked_key(key)
        name = self._fields["stream"]
        found = _find(message, name) if isinstance(message, dict) else None
        if found is None:
            raise RecordError("validate", f'no key and no "{name}": one of them names the stream')
        if not isinstance(found, str):
            raise RecordError("validate", f'"{name}" is {_shown(found)}, expected text')
        return _checked_key(found.encode(errors="surrogatepass"))

    def _numbers(self, message: Any) -> tuple[Any, bool]:
        """What holds the numbers, and whether it is a list."""
        if isinstance(message, dict):
            value, values = self._fields["value"], self._fields["values"]
            if not isinstance(value, str):
                return [_find(message, name) for name in value], True
            one, many = _find(message, value, _NOTHING), _find(message, values, _NOTHING)
            if one is not _NOTHING and many is not _NOTHING:
                raise RecordError("validate", f'both "{value}" and "{values}" are there, expected one of them')
            if many is not _NOTHING:
                if not isinstance(many, list):
                    raise RecordError("validate", f'"{values}" is {_shown(many)}, expected a list')
                return many, True
            if one is _NOTHING:
                raise RecordError("validate", f'neither "{value}" nor "{values}" is there')
            message = one
        if isinstance(message, list):
            raise RecordError("validate", f"a list stands where a number was expected: {_shown(message)}")
        return message, False

    def _steps(self, numbers: Any, nested: bool) -> np.ndarray:
        """The steps (k, D) of one record."""
        D = self.form.features
        if not nested:
            if D != 1:
                raise RecordError("validate", f'one number, input.features is {D}: expected "values"')
            return np.array([[_number(numbers)]])
        if any(isinstance(step, list) for step in numbers):
            if len(numbers) > self.form.max_steps:
                raise RecordError(
                    "validate", f"a sequence of {len(numbers)} steps, input.max_steps is {self.form.max_steps}"
                )
            for i, step in enumerate(numbers):
                if not isinstance(step, list):
                    raise RecordError(
                        "validate", f'"values" holds both lists and numbers: step {i} is {_shown(step)}'
                    )
                if len(step) != D:
                    raise RecordError("validate", f'step {i} of "values" has {len(step)} numbers, features are {D}')
            return np.array([[_number(x) for x in step] for step in numbers])
        if len(numbers) != D:
            raise RecordError("validate", f'"values" has {len(numbers)} numbers, input.features is {D}')
        return np.array([[_number(x) for x in numbers]])


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
        _checked_key(key)
    except RecordError:
        return False
    return True


def _checked_key(key: bytes | None) -> bytes:
    if key is None:
        raise RecordError("validate", "no key: it names the stream to forget")
    if not 1 <= len(key) <= KEY_BYTES:
        raise RecordError("validate", f"the stream's id has {len(key)} bytes, expected 1 to {KEY_BYTES}")
    try:
        key.decode()
    except UnicodeDecodeError as error:
        raise RecordError("validate", f"the stream's id is not UTF-8 at byte {error.start}") from None
    return key


def _parse(raw: bytes) -> Any:
    """JSON, with the NaN that some writers put for a number they do not have."""
    try:
        return _decode_any(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(raw, parse_constant=_constant)
    except RecursionError:
        raise RecordError("decode", "the JSON is nested too deeply") from None
    except ValueError as error:
        raise RecordError("decode", f"not JSON: {error}") from None


def _constant(name: str) -> float:
    return float(name)  # NaN, Infinity, -Infinity


def _find(message: dict[str, Any], path: Any, default: Any = None) -> Any:
    """The field of this name; dots reach into objects, unless a field has the whole name."""
    if path in message:
        return message[path]
    found: Any = message
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


def _number(found: Any) -> float:
    if found is None:
        return math.nan
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise RecordError("validate", f"{_shown(found)} stands where a number was expected")
    try:
        number = float(found)
    except OverflowError:
        number = math.inf
    if abs(number) > LARGEST:
        raise RecordError("validate", f"{_shown(found)} is beyond ±{LARGEST:g}, the largest number that is forecast")
    return number


def _step_times(found: Any, steps: int, timestamp: int) -> tuple[np.ndarray, np.ndarray]:
    """Times (k,) and, where only the last step's is known, how many steps are left to it (k,)."""
    if isinstance(found, list):
        if len(found) != steps:
            raise RecordError("validate", f'"time" has {len(found)} entries for {steps} steps')
        return np.array([_milliseconds(t) for t in found], np.int64), np.ones(steps, np.int32)
    last = timestamp if found is None else _milliseconds(found)
    return np.full(steps, last, np.int64), np.arange(steps, 0, -1, dtype=np.int32)


def _milliseconds(found: Any) -> int:
    if isinstance(found, str):
        try:
            moment = datetime.fromisoformat(found)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)
        except (ValueError, OverflowError):
            raise RecordError("validate", f'"time" is {_shown(found)}, expected epoch ms or RFC 3339') from None
    if isinstance(found, bool) or not isinstance(found, int | float) or found != found // 1:
        raise RecordError("validate", f'"time" is {_shown(found)}, expected epoch ms or RFC 3339')
    if not FIRST_MS <= found <= LAST_MS:
        raise RecordError("validate", f'"time" is {_shown(found)}, outside the years 1 to 9999')
    return int(found)


def _shown(found: Any) -> str:
    """The value as JSON writes it, shortened."""
    text = json.dumps(found)
    return text if len(text) <= 60 else text[:57] + "..."


def _tombstone(key: bytes, timestamp: int) -> _Piece:
    none = np.zeros(0, np.int64)
    return _Piece(key, timestamp, np.zeros((0, 0)), none, none.astype(np.int32), nested=False, forget=True)


def _single(
    keys: list[bytes],
    offsets: Sequence[int],
    stamps: Sequence[int],
    times: np.ndarray,
    values: np.ndarray,
    nested: bool,
) -> RecordBatch:
    n = len(keys)
    return RecordBatch(
        keys=keys,
        offsets=np.fromiter(offsets, np.int64, n),
        timestamps=np.fromiter(stamps, np.int64, n),
        first_step=np.arange(n + 1),
        forget=np.zeros(n, bool),
        nested=np.full(n, nested),
        values=values,
        times=times,
        left=np.ones(n, np.int32),
    )


def _assembled(
    raw: RawColumns,
    columns: tuple[np.ndarray, np.ndarray, np.ndarray, bool] | None,
    pieces: dict[int, _Piece],
    features: int,
) -> RecordBatch:
    """A batch of the good columns and of the pieces, in the order of the messages."""
    n = len(raw.values)
    good, values, times, nested = columns or (
        np.zeros(n, bool),
        np.zeros((n, features)),
        np.zeros(n, np.int64),
        False,
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
        nested=np.array([pieces[i].nested if i in pieces else nested for i in kept.tolist()], bool),
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
