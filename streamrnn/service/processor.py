"""One partition's records through decoder, forecaster and encoder: bytes in, bytes out, in the compute thread."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.engine.encoder import Encoder, anomalous
from streamrnn.engine.forecaster import Forecaster, Progress
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import UNCHANGEABLE, Capture, SnapshotWriter, StoredSnapshot, restore
from streamrnn.engine.warm_start import begin_with
from streamrnn.errors import RefusedError, SnapshotError
from streamrnn.records import Scores
from streamrnn.transport.contract import DeadLetter, EncodedBatch, PartitionId, RawBatch

PORTION_BYTES = 8 << 20  # of a captured state are checked at a time: some 5 ms


@dataclass(slots=True)
class Slice:
    """What came of one slice."""

    outputs: EncodedBatch
    anomalies: EncodedBatch  # those of the outputs that are surprising enough
    dead_letters: list[DeadLetter]
    next_offset: int
    scores: Scores
    progress: Progress
    seconds: float


@dataclass(slots=True)
class Captured:
    """A state on its way to being saved: checked in portions, between which slices are computed."""

    partition: PartitionId
    capture: Capture
    cpu: float  # seconds that it has taken so far

    @property
    def offset(self) -> int:
        return self.capture.offset

    @property
    def checked(self) -> bool:
        """Nothing is left to `check`."""
        return self.capture.checked

    def check(self) -> None:
        """Check the next portion. Raises SnapshotError where it must not be kept."""
        began = time.thread_time()
        try:
            self.capture.check(PORTION_BYTES)
        except SnapshotError as error:
            raise SnapshotError(
                f"{self.partition}: the state at offset {self.offset} is not saved: {error}. The task begins again "
                "at the snapshot before"
            ) from error
        self.cpu += time.thread_time() - began


class Processor:
    """The state of one task and what turns its records into messages."""

    def __init__(
        self,
        partition: PartitionId,
        settings: ForecastSettings,
        form: InputFormat,
        *,
        every_step: bool,
        initial: Mapping[str, np.ndarray] | None = None,
        xp: ModuleType = np,
        anomalous_from: float | None = None,
    ) -> None:
        """anomalous_from: the `anomaly` (0..1) from which a record is also among the anomalies; None: none is."""
        self.partition, self.settings, self.every_step, self.xp = partition, settings, every_step, xp
        self.anomalous_from = anomalous_from
        self.decoder = Decoder(form)
        self.encoder = Encoder(partition.topic, partition.partition, settings.horizons)
        self.forecaster = Forecaster(settings, xp)
        if initial is not None:
            begin_with(self.forecaster, initial)
        self.writer = SnapshotWriter(self.forecaster)

    def restore(self, stored: StoredSnapshot) -> int:
        """Take over a snapshot's state and settings; returns its next offset. Raises SnapshotError, RefusedError."""
        try:
            forecaster, writer, offset = restore(stored, self.xp)
        except SnapshotError as error:
            raise SnapshotError(
                f"{self.partition}: {error}. `streamrnn state show` tells more, `streamrnn state drop --partition "
                f"{self.partition.partition}` forgets it"
            ) from error
        changed = self.settings.difference(forecaster.settings, UNCHANGEABLE)
        if changed:
            raise RefusedError(
                f"{self.partition}: the configuration does not fit the snapshot ({'; '.join(changed)}). Set it back, "
                "take a new app_id, or forget the state with `streamrnn state drop`"
            )
        self.forecaster, self.writer = forecaster, writer
        return offset

    @property
    def slice_records(self) -> int:
        """How many records the next slice is to have at most: one that ends at a learning boundary is cut by none."""
        return self.forecaster.next_boundary - self.forecaster.step_number

    def adopt_settings(self) -> bool:
        """After the replay, which uses the snapshot's settings, go on with our own. True if they differ."""
        if self.forecaster.settings == self.settings:
            return False
        self.forecaster.change_settings(self.settings)
        return True

    def process(self, raw: RawBatch, max_output_bytes: int, publish: bool = True) -> Slice:
        """Forecast a slice. Without `publish` only the state moves on."""
        began = time.perf_counter()
        columns = RawColumns(raw.offsets, raw.timestamps, raw.keys, raw.values)
        decoded = self.decoder.decode(columns, self.forecaster.last_timestamp)
        batch = decoded.batch
        forecasts = self.forecaster.forecast(batch, self.every_step)
        letters: list[DeadLetter] = []
        outputs, anomalies = EncodedBatch([], [], []), EncodedBatch([], [], [])
        if publish:
            letters = [_letter(raw, i, error.stage, type(error).__name__, str(error)) for i, error in decoded.errors]
            values = self.encoder.encode(batch, forecasts) if len(batch) else []
            outputs = EncodedBatch(batch.keys, values, batch.timestamps.tolist())
            if self.anomalous_from is not None:
                anomalies = _rows(outputs, anomalous(batch, forecasts, self.anomalous_from))
            if max(map(len, filter(None, outputs.values)), default=0) + 256 > max_output_bytes:
                letters += self._too_large(raw, batch.offsets, outputs, max_output_bytes)
                letters.sort(key=lambda letter: letter.offset)
                outputs, anomalies = (_fitting(made, max_output_bytes) for made in (outputs, anomalies))
        return Slice(
            outputs=outputs,
            anomalies=anomalies,
            dead_letters=letters,
            next_offset=raw.next_offset,
            scores=forecasts.scores,
            progress=self.forecaster.progress(),
            seconds=time.perf_counter() - began,
        )

    @property
    def streams(self) -> int:
        """How many are known."""
        return len(self.forecaster.table)

    @property
    def frozen(self) -> int:
        """How many of them have a value that stands still, as of one of the last learning boundaries."""
        return self.forecaster.frozen

    def capture(self, offset: int) -> Captured:
        """The state as it is now, isolated from what comes; it has yet to be checked."""
        began = time.thread_time()
        capture = self.writer.begin(offset)
        return Captured(self.partition, capture, time.thread_time() - began)

    def _too_large(self, raw: RawBatch, offsets: np.ndarray, outputs: EncodedBatch, limit: int) -> list[DeadLetter]:
        """The dead letters of outputs that the broker would refuse."""
        sizes = _sizes(outputs)
        position = {offset: i for i, offset in enumerate(raw.offsets)}
        return [
            _letter(
                raw,
                position[int(offsets[i])],
                "encode",
                "RecordError",
                f"the forecast has {size} bytes, the output topic takes {limit}: shorten the sequences, ask for "
                "fewer horizons, or raise the topic's max.message.bytes",
            )
            for i, size in enumerate(sizes)
            if size > limit
        ]


def _rows(batch: EncodedBatch, chosen: Sequence[int]) -> EncodedBatch:
    return EncodedBatch(
        [batch.keys[i] for i in chosen], [batch.values[i] for i in chosen], [batch.timestamps[i] for i in chosen]
    )


def _sizes(batch: EncodedBatch) -> list[int]:
    return [len(key) + len(value or b"") for key, value in zip(batch.keys, batch.values, strict=True)]


def _fitting(batch: EncodedBatch, limit: int) -> EncodedBatch:
    return _rows(batch, [i for i, size in enumerate(_sizes(batch)) if size <= limit])


def _letter(raw: RawBatch, i: int, stage: str, exception: str, message: str) -> DeadLetter:
    return DeadLetter(
        offset=raw.offsets[i],
        timestamp=raw.timestamps[i],
        key=raw.keys[i],
        value=raw.values[i],
        stage=stage,
        exception=exception,
        message=message,
        headers=raw.headers[i],
    )
