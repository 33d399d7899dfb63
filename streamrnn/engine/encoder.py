"""From columns to bytes: one line of JSON a record, numbers written in bulk and cut into rows."""

import contextlib
import re
from collections.abc import Iterable

import msgspec
import numpy as np
import orjson

from streamrnn.records import ForecastBatch, RecordBatch


class _Origin(msgspec.Struct):
    topic: str
    partition: int
    offset: int


_origin = msgspec.json.Decoder(_Origin).decode
_SPECIAL = re.compile(rb'[\x00-\x1f"\\]')


class Encoder:
    """Encodes the forecasts of one input partition."""

    def __init__(self, topic: str, partition: int, horizons: tuple[int, ...]) -> None:
        self._horizons = _literal(orjson.dumps(list(horizons)))
        self._place = b',"topic":%b,"partition":%d' % (_literal(orjson.dumps(topic)), partition)

    def _template(self, name: bytes, forecast: bytes, warm: bytes, model: bytes) -> bytes:
        """A record's line with %b where a field goes; what is the same in all records is in it already."""
        return (
            b'{"stream":' + name + b',"time":%b,"horizons":' + self._horizons + b',"mean":' + forecast
            + b',"lower":' + forecast + b',"upper":' + forecast + b',"anomaly":%b,"surprise":%b,"warm":' + warm
            + b',"model":' + model + self._place + b',"offset":%b}'
        )  # fmt: skip

    def encode(self, records: RecordBatch, forecasts: ForecastBatch) -> list[bytes | None]:
        """The value of each record's output message (R,); None for a tombstone."""
        spoken = np.flatnonzero(~records.forget)
        if len(spoken) == len(records) and not forecasts.every_step:
            nested = records.nested
            if not nested.any() or nested.all():
                return list(self._encode(records, forecasts, spoken, bool(nested[0]) if len(nested) else False))
        encoded: list[bytes | None] = [None] * len(records)
        for nested_too in (False, True):
            chosen = spoken[records.nested[spoken] == nested_too]
            if len(chosen):
                for i, value in zip(
                    chosen.tolist(), self._encode(records, forecasts, chosen, nested_too), strict=True
                ):
                    encoded[i] = value
        return encoded

    def _encode(
        self, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray, nested: bool
    ) -> list[bytes]:
        if forecasts.every_step:
            return self._encode_sequences(records, forecasts, chosen)
        cut = _lists if nested else _scalars
        name, names = _names(records, chosen)
        whole = len(chosen) == len(records)

        def of(column: np.ndarray) -> np.ndarray:
            return column if whole else column[chosen]

        columns = [names, _numbers(of(forecasts.times))]
        columns += [cut(of(column)) for column in (forecasts.mean, forecasts.lower, forecasts.upper)]
        columns += [_numbers(of(forecasts.anomaly)), _numbers(of(forecasts.surprise))]
        shared = []
        for values in (of(forecasts.warm), of(forecasts.model)):
            if (values == values[0]).all():
                shared.append(_dumps(values[:1])[1:-1])
            else:
                shared.append(b"%b")
                columns.append(_numbers(values))
        columns.append(_numbers(of(records.offsets)))
        template = self._template(name, b"[[%b]]" if nested else b"[%b]", *shared)
        return [template % row for row in zip(*columns, strict=True)]

    def _encode_sequences(self, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray) -> list[bytes]:
        """With a forecast a step: mean[step][horizon][feature], and lists over the steps of all else."""
        name, names = _names(records, chosen)
        template = self._template(name, b"%b", b"%b", b"%b")
        made = []
        for stream, i in zip(names, chosen.tolist(), strict=True):
            steps = slice(int(records.first_step[i]), int(records.first_step[i + 1]))
            last = steps.stop - 1
            row = [_dumps(getattr(forecasts, column)[steps]) for column in ("times", "mean", "lower", "upper")]
            row += [_dumps(forecasts.anomaly[steps]), _dumps(forecasts.surprise[steps])]
            row += [
                _dumps(column)[1:-1] for column in (forecasts.warm[last : last + 1], forecasts.model[last : last + 1])
            ]
            made.append(template % (stream, *row, b"%d" % records.offsets[i]))
        return made


def published_before(values: Iterable[bytes], topic: str, partition: int) -> int | None:
    """The offset behind the last record of this input that these outputs are forecasts of; None where none is."""
    newest: int | None = None
    for value in values:
        with contextlib.suppress(msgspec.DecodeError):  # somebody else's
            origin = _origin(value)
            if (origin.topic, origin.partition) == (topic, partition):
                newest = max(newest or 0, origin.offset + 1)
    return newest


def _literal(text: bytes) -> bytes:
    """As part of a template."""
    return text.replace(b"%", b"%%")


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
    return _dumps(values)[1:-1].split(b",")


def _names(records: RecordBatch, chosen: np.ndarray) -> tuple[bytes, list[bytes]]:
    """What stands for the stream's id in a template, and the ids as they go there."""
    keys = records.keys if len(chosen) == len(records) else [records.keys[i] for i in chosen.tolist()]
    if _SPECIAL.search(b"".join(keys)) is None:
        return b'"%b"', keys
    return b"%b", [orjson.dumps(key.decode()) for key in keys]
