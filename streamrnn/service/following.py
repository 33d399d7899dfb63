"""What `tail` shows: outputs and inputs read side by side, each record beside the forecasts of it."""

from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import numpy as np

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.engine.forecast_line import ForecastLine, read_forecast
from streamrnn.engine.record_reader import InputFormat
from streamrnn.service.comparison import Compared, Comparison, Record
from streamrnn.transport.contract import PartitionId, RawBatch, Tap

BACK = 512  # outputs of each partition that are read first, so that what comes next meets its forecasts
WAIT = 0.25  # seconds


@dataclass(slots=True)
class News:
    """What has come since the last ones, and where it leaves the reader."""

    compared: list[Compared]
    forecasts: list[ForecastLine]  # of which the truth is to come
    caught_up: bool  # all that was there at the start has been told
    left_out: int  # forecasts that will not be compared, because too many wait


@dataclass(slots=True)
class _Inputs:
    """The input of one partition, decoded as far as it was asked for."""

    decoder: Decoder
    next_offset: int
    seen: int = -1  # the offset of the last forecast
    records: deque[tuple[int, Record]] = field(default_factory=deque)  # by offset
    timestamp: int = 0


class Follower:
    """Follows one application's forecasts through a tap."""

    def __init__(
        self, tap: Tap, form: InputFormat, *, missing: Sequence[float] = (), streams: Sequence[str] = ()
    ) -> None:
        """missing: numbers that mean "no value"; streams: patterns of which a stream's name matches one, or none."""
        self._tap, self._form = tap, form
        self._missing, self._streams = missing, streams
        self._comparison = Comparison()
        self._inputs: dict[PartitionId, _Inputs] = {}

    async def news(self, *, from_beginning: bool) -> AsyncGenerator[News, None]:
        """For ever: at least every WAIT seconds, also where nothing has come. Raises what the tap raises."""
        await self._tap.start(None if from_beginning else BACK)
        while True:
            compared: list[Compared] = []
            forecasts: list[ForecastLine] = []
            for partition, batch in (await self._tap.outputs(WAIT)).items():
                for line in self._lines(partition, batch):
                    compared += await self._beside(partition, line)
                    forecasts.append(line)
            yield News(compared, forecasts, self._tap.caught_up, self._comparison.left_out)

    def _lines(self, partition: PartitionId, batch: RawBatch) -> Iterator[ForecastLine]:
        """The forecasts of this input and of streams that are asked for, each once."""
        for key, value in zip(batch.keys, batch.values, strict=True):
            if value is None or (key is not None and not self._wanted(key.decode(errors="replace"))):
                continue
            line = read_forecast(value)
            if line is None or (line.topic, line.partition) != (partition.topic, partition.partition):
                continue
            inputs = self._inputs.setdefault(partition, _Inputs(Decoder(self._form), line.offset))
            if line.offset > inputs.seen and self._wanted(line.stream):
                inputs.seen = line.offset  # delivery at least once repeats some
                yield line

    async def _beside(self, partition: PartitionId, line: ForecastLine) -> list[Compared]:
        """What the record of this line, and those before it that got none, say of earlier forecasts."""
        inputs = self._inputs[partition]
        told: list[Compared] = []
        while True:
            while inputs.records and inputs.records[0][0] < line.offset:
                told += self._comparison.take(inputs.records.popleft()[1], None)
            if inputs.records or inputs.next_offset > line.offset:
                break
            self._decode(inputs, await self._tap.inputs(partition, inputs.next_offset))
        if inputs.records and inputs.records[0][0] == line.offset:
            return told + self._comparison.take(inputs.records.popleft()[1], line)
        self._comparison.lost(line)
        return told

    def _decode(self, inputs: _Inputs, raw: RawBatch) -> None:
        """What is no record was a dead letter and no step of any stream."""
        inputs.next_offset = raw.next_offset
        columns = RawColumns(raw.offsets, raw.timestamps, raw.keys, raw.values)
        batch = inputs.decoder.decode(columns, inputs.timestamp).batch
        values = np.where(np.isin(batch.values, self._missing), np.nan, batch.values)
        for i, key in enumerate(batch.keys):
            name, steps = key.decode(), slice(*batch.first_step[i : i + 2])
            if self._wanted(name):
                times, left = batch.times[steps], batch.left[steps]
                nested, forget = bool(batch.nested[i]), bool(batch.forget[i])
                record = Record(name, values[steps], times, left, nested=nested, forget=forget)
                inputs.records.append((int(batch.offsets[i]), record))
        if len(batch):
            inputs.timestamp = int(batch.timestamps[-1])

    def _wanted(self, stream: str) -> bool:
        return not self._streams or any(fnmatchcase(stream, pattern) for pattern in self._streams)
