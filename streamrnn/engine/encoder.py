"""From columns to bytes: one line of JSON a record, numbers written in bulk."""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import orjson

from streamrnn.engine import digits
from streamrnn.engine.compiled import compiler, json_text
from streamrnn.engine.digits import Decimals
from streamrnn.records import ForecastBatch, RecordBatch


class _Origin(msgspec.Struct):
    topic: str
    partition: int
    offset: int


_origin = msgspec.json.Decoder(_Origin).decode
_SPECIAL = re.compile(rb'[\x00-\x1f"\\]')


@dataclass(slots=True)
class _Columns:
    """What M lines tell."""

    keys: list[bytes]
    times: np.ndarray
    mean: np.ndarray  # (M, P, D)
    lower: np.ndarray
    upper: np.ndarray
    scores: np.ndarray  # (2, M): anomaly, surprise
    warm: np.ndarray
    model: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray) -> "_Columns":
        keys = records.keys
        if len(chosen) < len(records):
            keys = [keys[i] for i in chosen.tolist()]
        scores = np.stack([forecasts.anomaly[chosen], forecasts.surprise[chosen]])
        mean, lower, upper = (column[chosen] for column in (forecasts.mean, forecasts.lower, forecasts.upper))
        warm, model = forecasts.warm[chosen], forecasts.model[chosen]
        times, offsets = forecasts.times[chosen], records.offsets[chosen]
        return cls(keys, times, mean, lower, upper, scores, warm, model, offsets)


class Encoder:
    """Encodes the forecasts of one input partition."""

    def __init__(self, topic: str, partition: int, horizons: tuple[int, ...]) -> None:
        self._horizons = orjson.dumps(list(horizons))
        self._place = b',"topic":%b,"partition":%d,"offset":' % (orjson.dumps(topic), partition)

    def _pieces(self, quote: bytes, opening: bytes, closing: bytes) -> list[bytes]:
        """What stands between the fields of a line; the stream's id in quotes, forecasts in brackets."""
        return [
            b'{"stream":' + quote,
            quote + b',"time":',
            b',"horizons":' + self._horizons + b',"mean":' + opening,
            closing + b',"lower":' + opening,
            closing + b',"upper":' + opening,
            closing + b',"anomaly":',
            b',"surprise":',
            b',"warm":',
            b',"model":',
            self._place,
            b"}",
        ]

    def encode(self, records: RecordBatch, forecasts: ForecastBatch) -> list[bytes | None]:
        """The value of each record's output message (R,); None for a tombstone."""
        spoken = np.flatnonzero(~records.forget)
        if forecasts.every_step:
            return _spread(self._sequences(records, forecasts, spoken), spoken, len(records))
        nested = records.nested[spoken]
        if len(nested) and not nested.all() and nested.any():
            spoken = np.concatenate([spoken[~nested], spoken[nested]])
            plain, lists = np.split(spoken, [len(spoken) - int(nested.sum())])
            lines = self._lines(records, forecasts, plain) + self._lines(records, forecasts, lists)
            return _spread(lines, spoken, len(records))
        return _spread(self._lines(records, forecasts, spoken), spoken, len(records))

    def _lines(self, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray) -> list[bytes]:
        """Of records that are all nested or all not."""
        if not len(chosen):
            return []
        columns = _Columns.of(records, forecasts, chosen)
        nested = bool(records.nested[chosen[0]])
        bounds = digits.of_forecasts(columns.mean, columns.lower, columns.upper)
        scores, joined = digits.of_scores(columns.scores), b"".join(columns.keys)
        opening, closing = (b"[[", b"]]") if nested else (b"[", b"]")
        if _SPECIAL.search(joined):
            keys, pieces = [orjson.dumps(key.decode()) for key in columns.keys], self._pieces(b"", opening, closing)
        else:
            keys, pieces = columns.keys, self._pieces(b'"', opening, closing)
            if compiler.AVAILABLE and not any(np.isinf(each.whole).any() for each in bounds):
                return _compiled(columns, joined, pieces, bounds, scores, nested=nested)
        cut = _lists if nested else _scalars
        exact = columns.mean, columns.lower, columns.upper
        anomaly, surprise = scores.numbers(columns.scores)
        return _filled(
            pieces,
            keys,
            _numbers(columns.times),
            *(cut(bound.numbers(values)) for bound, values in zip(bounds, exact, strict=True)),
            _numbers(anomaly),
            _numbers(surprise),
            _numbers(columns.warm),
            _numbers(columns.model),
            _numbers(columns.offsets),
        )

    def _sequences(self, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray) -> list[bytes]:
        """With a forecast a step: mean[step][horizon][feature], and lists over the steps of all else."""
        exact = forecasts.mean, forecasts.lower, forecasts.upper
        bounds = [bound.numbers(values) for bound, values in zip(digits.of_forecasts(*exact), exact, strict=True)]
        scores = np.stack([forecasts.anomaly, forecasts.surprise])
        of_steps = [forecasts.times, *bounds, *digits.of_scores(scores).numbers(scores)]
        rows = []
        for i in chosen.tolist():
            first, end = records.first_step[i : i + 2].tolist()
            steps = [_dumps(column[first:end]) for column in of_steps]
            last = [_dumps(column[end - 1 : end])[1:-1] for column in (forecasts.warm, forecasts.model)]
            rows.append((orjson.dumps(records.keys[i].decode()), *steps, *last, b"%d" % records.offsets[i]))
        return _filled(self._pieces(b"", b"", b""), *zip(*rows, strict=True)) if rows else []


def published_before(values: Iterable[bytes], topic: str, partition: int) -> int | None:
    """The offset behind the last record of this input that these outputs are forecasts of; None where none is."""
    newest: int | None = None
    for value in values:
        with contextlib.suppress(msgspec.DecodeError):  # somebody else's
            origin = _origin(value)
            if (origin.topic, origin.partition) == (topic, partition):
                newest = max(newest or 0, origin.offset + 1)
    return newest


def anomalous(records: RecordBatch, forecasts: ForecastBatch, threshold: float) -> list[int]:
    """Which of the records have an anomaly at or above the threshold, as it is written, in any of their steps."""
    passed = digits.of_scores(forecasts.anomaly).numbers(forecasts.anomaly) >= threshold  # (M,); NaN never is
    if forecasts.every_step:
        so_far = np.concatenate([[0], np.cumsum(passed)])
        passed = np.diff(so_far[records.first_step]) > 0
    found: list[int] = np.flatnonzero(passed).tolist()
    return found


def _spread(lines: list[bytes], at: np.ndarray, length: int) -> list[bytes | None]:
    """A list of this length with the lines at these places, None elsewhere."""
    if len(lines) == length and (at[1:] > at[:-1]).all():
        return list(lines)
    spread: list[bytes | None] = [None] * length
    for i, line in zip(at.tolist(), lines, strict=True):
        spread[i] = line
    return spread


def _compiled(
    columns: _Columns,
    keys: bytes,
    pieces: list[bytes],
    bounds: tuple[Decimals, Decimals, Decimals],
    scores: Decimals,
    *,
    nested: bool,
) -> list[bytes]:
    """The lines by way of loops; they hold the same numbers."""
    M = len(columns.keys)
    numbers = 3 * bounds[0].whole.size + (2 + 3) * M
    text = np.empty(len(keys) + M * sum(map(len, pieces)) + numbers * json_text.MOST_BYTES, np.uint8)
    ends = np.empty(M, np.int64)
    json_text.write(
        text,
        np.frombuffer(keys, np.uint8),
        np.cumsum(np.fromiter(map(len, columns.keys), np.int64, M)),
        np.frombuffer(b"".join(pieces), np.uint8),
        np.cumsum([*map(len, pieces)]),
        np.stack([columns.times, columns.model, columns.offsets], axis=1),
        np.stack([bound.whole for bound in bounds]),
        bounds[0].places,
        scores.whole,
        scores.places,
        columns.warm,
        nested,
        ends,
    )
    last = ends.tolist()
    made = text[: last[-1]].tobytes()
    return [made[start:end] for start, end in zip([0, *last[:-1]], last, strict=True)]


def _filled(pieces: list[bytes], *columns: Iterable[bytes]) -> list[bytes]:
    """Lines of the pieces with a field of each column between two."""
    template = b"%b".join(piece.replace(b"%", b"%%") for piece in pieces)
    return [template % row for row in zip(*columns, strict=True)]


def _dumps(array: np.ndarray) -> bytes:
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


def _scalars(values: np.ndarray) -> list[bytes]:
    """(M, P, 1) -> M times `a,b,c`."""
    if values.shape[1] == 1:
        return _numbers(values.ravel())
    return _dumps(values[:, :, 0])[2:-2].split(b"],[")


def _lists(values: np.ndarray) -> list[bytes]:
    """(M, P, D) -> M times `a,b],[c,d`."""
    return _dumps(values)[3:-3].split(b"]],[[")


def _numbers(values: np.ndarray) -> list[bytes]:
    if (values == values[0]).all():
        return [_dumps(values[:1])[1:-1]] * len(values)
    return _dumps(values)[1:-1].split(b",")
