"""From columns to bytes: one line of JSON a record, numbers written in bulk and cut into rows."""

import re

import numpy as np
import orjson

from streamrnn.records import ForecastBatch, RecordBatch

_SPECIAL = re.compile(rb'[\x00-\x1f"\\]')


class Encoder:
    """Encodes the forecasts of one input partition."""

    def __init__(self, topic: str, partition: int, horizons: tuple[int, ...]) -> None:
        self._head = b'{"stream":%b,"time":%b,"horizons":' + orjson.dumps(list(horizons)).replace(b"%", b"%%")
        self._tail = (
            b',"anomaly":%b,"surprise":%b,"warm":%b,"model":%d,"topic":'
            + orjson.dumps(topic).replace(b"%", b"%%")
            + b',"partition":%d,"offset":%%d}' % partition
        )

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
        columns = [cut(getattr(forecasts, name)[chosen]) for name in ("mean", "lower", "upper")]
        form = b"[[%b]]" if nested else b"[%b]"
        template = self._head + b',"mean":' + form + b',"lower":' + form + b',"upper":' + form + self._tail
        return [
            template % row
            for row in zip(
                _names(records, chosen),
                _numbers(forecasts.times[chosen]),
                *columns,
                _numbers(forecasts.anomaly[chosen]),
                _numbers(forecasts.surprise[chosen]),
                _truths(forecasts.warm[chosen]),
                forecasts.model[chosen].tolist(),
                records.offsets[chosen].tolist(),
                strict=True,
            )
        ]

    def _encode_sequences(self, records: RecordBatch, forecasts: ForecastBatch, chosen: np.ndarray) -> list[bytes]:
        """With a forecast a step: mean[step][horizon][feature], and lists over the steps of all else."""
        template = self._head + b',"mean":%b,"lower":%b,"upper":%b' + self._tail
        made = []
        names = _names(records, chosen)
        for name, i in zip(names, chosen.tolist(), strict=True):
            steps = slice(int(records.first_step[i]), int(records.first_step[i + 1]))
            row = [_dumps(getattr(forecasts, column)[steps]) for column in ("mean", "lower", "upper")]
            made.append(
                template
                % (
                    name,
                    _dumps(forecasts.times[steps]),
                    *row,
                    _dumps(forecasts.anomaly[steps]),
                    _dumps(forecasts.surprise[steps]),
                    b"true" if forecasts.warm[steps.stop - 1] else b"false",
                    forecasts.model[steps.stop - 1],
                    records.offsets[i],
                )
            )
        return made


def _dumps(array: np.ndarray) -> bytes:
    return orjson.dumps(np.ascontiguousarray(array), option=orjson.OPT_SERIALIZE_NUMPY)


def _scalars(values: np.ndarray) -> list[bytes]:
    """(M, P, 1) -> M times `a,b,c`."""
    return _dumps(values[:, :, 0])[2:-2].split(b"],[")


def _lists(values: np.ndarray) -> list[bytes]:
    """(M, P, D) -> M times `a,b],[c,d`."""
    return _dumps(values)[3:-3].split(b"]],[[")


def _numbers(values: np.ndarray) -> list[bytes]:
    return _dumps(values)[1:-1].split(b",")


def _truths(values: np.ndarray) -> list[bytes]:
    return [b"true" if value else b"false" for value in values.tolist()]


def _names(records: RecordBatch, chosen: np.ndarray) -> list[bytes]:
    """The streams' ids as JSON text."""
    keys = records.keys if len(chosen) == len(records) else [records.keys[i] for i in chosen.tolist()]
    if _SPECIAL.search(b"".join(keys)) is None:
        return [b'"%b"' % key for key in keys]
    return [orjson.dumps(key.decode()) for key in keys]
