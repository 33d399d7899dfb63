"""One record by itself: any form that the contract allows, and a reason a person understands for what it is not."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import RecordError
from streamrnn.records import LARGEST

KEY_BYTES = 256
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999  # years 1 to 9999
EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
DEFAULT_FIELDS = {"value": "value", "values": "values", "time": "time", "stream": "stream"}

_decode_any = msgspec.json.Decoder().decode
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class InputFormat:
    """What a message looks like."""

    features: int = 1
    fields: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    max_bytes: int = 1 << 20
    max_steps: int = 4096
    lines: bool = False  # JSON lines: the stream and the tombstone are in the value, the timestamp is its time


@dataclass(slots=True)
class Piece:
    """One record, decoded by itself."""

    key: bytes
    timestamp: int
    values: np.ndarray  # (k, D)
    times: np.ndarray  # (k,)
    left: np.ndarray  # (k,)
    nested: bool
    forget: bool = False


class RecordReader:
    """Reads the messages of one input topic, one at a time."""

    def __init__(self, form: InputFormat) -> None:
        self.form = form
        self._fields: dict[str, str | Sequence[str]] = {**DEFAULT_FIELDS, **form.fields}
        self.simple = not form.lines and self._fields == DEFAULT_FIELDS  # fields have the names they always have

    def read(self, key: bytes | None, raw: bytes | None, timestamp: int) -> Piece:
        """One record. Raises RecordError, which says what was found and what was expected."""
        if raw is None:
            return _tombstone(checked_key(key), timestamp)
        if len(raw) > self.form.max_bytes:
            raise RecordError("decode", f"the value has {len(raw)} bytes, input.max_bytes is {self.form.max_bytes}")
        return self.piece(key, _parse(raw), timestamp)

    def piece(self, key: bytes | None, message: Any, timestamp: int) -> Piece:
        """One record of which the JSON has been parsed. Raises RecordError."""
        if self.form.lines and isinstance(message, dict) and message.get("forget") is True:
            return _tombstone(self._key_of(key, message), timestamp)
        stream = self._key_of(key, message)
        numbers, nested = self._numbers(message)
        values = self._steps(numbers, nested)
        found = _find(message, self._fields["time"]) if isinstance(message, dict) else None
        times, left = _step_times(found, len(values), timestamp)
        if self.form.lines and found is not None:
            timestamp = int(times[-1])
        return Piece(stream, timestamp, values, times, left, nested)

    def _key_of(self, key: bytes | None, message: Any) -> bytes:
        if key is not None:
            return checked_key(key)
        name = self._fields["stream"]
        found = _find(message, name) if isinstance(message, dict) else None
        if found is None:
            raise RecordError("validate", f'no key and no "{name}": one of them names the stream')
        if not isinstance(found, str):
            raise RecordError("validate", f'"{name}" is {_shown(found)}, expected text')
        return checked_key(found.encode(errors="surrogatepass"))

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


def checked_key(key: bytes | None) -> bytes:
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
        return np.array([checked_time(t) for t in found], np.int64), np.ones(steps, np.int32)
    last = timestamp if found is None else checked_time(found)
    return np.full(steps, last, np.int64), np.arange(steps, 0, -1, dtype=np.int32)


def checked_time(found: Any) -> int:
    """Epoch milliseconds of a number or of RFC 3339 text. Raises RecordError for anything else."""
    moment = found
    if isinstance(found, str):
        try:
            moment = milliseconds_of(datetime.fromisoformat(found))
        except ValueError:
            moment = None
    if isinstance(moment, bool) or not isinstance(moment, int | float) or moment != moment // 1:
        raise RecordError("validate", f'"time" is {_shown(found)}, expected epoch ms or RFC 3339')
    if not FIRST_MS <= moment <= LAST_MS:
        raise RecordError("validate", f'"time" is {_shown(found)}, outside the years 1 to 9999')
    return int(moment)


def milliseconds_of(moment: datetime) -> int:
    """Epoch milliseconds, exactly; a time without an offset is UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // MILLISECOND


def _shown(found: Any) -> str:
    """The value as JSON writes it, shortened; what JSON does not have as Python writes it."""
    text = json.dumps(found, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def _tombstone(key: bytes, timestamp: int) -> Piece:
    none = np.zeros(0, np.int64)
    return Piece(key, timestamp, np.zeros((0, 0)), none, none.astype(np.int32), nested=False, forget=True)
