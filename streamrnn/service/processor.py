"""One partition's records through decoder, forecaster and encoder: bytes in, bytes out, in the compute thread."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.engine.encoder import Encoder
from streamrnn.engine.forecaster import Forecaster, Progress
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import UNCHANGEABLE, SnapshotPages, SnapshotWriter, StoredSnapshot, restore
from streamrnn.engine.warm_start import begin_with
from streamrnn.errors import RefusedError, SnapshotError
from streamrnn.records import Scores
from streamrnn.transport.contract import DeadLetter, EncodedBatch, PartitionId, RawBatch


@dataclass(slots=True)
class Slice:
    """What came of one slice."""

    outputs: EncodedBatch
    dead_letters: list[DeadLetter]
    next_offset: int
    scores: Scores
    progress: Progress
    seconds: float


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
    ) -> None:
        self.partition, self.settings, self.every_step, self.xp = partition, settings, every_step, xp
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
        outputs = EncodedBatch([], [], [])
        if publish:
            letters = [_letter(raw, i, error.stage, type(error).__name__, str(error)) for i, error in decoded.errors]
            values = self.encoder.encode(batch, forecasts) if len(batch) else []
            outputs = EncodedBatch(batch.keys, values, batch.timestamps.tolist())
            if max(map(len, filter(None, outputs.values)), default=0) + 256 > max_output_bytes:
                letters += self._too_large(raw, batch.offsets, outputs, max_output_bytes)
                letters.sort(key=lambda letter: letter.offset)
        return Slice(
            outputs=outputs,
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

    def capture(self, offset: int) -> tuple[SnapshotPages, float]:
        """The state as it is now, and the CPU seconds that took. Raises SnapshotError where it must not be kept."""
        began = time.thread_time()
        try:
            pages = self.writer.capture(offset)
        except SnapshotError as error:
            raise SnapshotError(
                f"{self.partition}: the state at offset {offset} is not saved: {error}. The task begins again at the "
                "snapshot before"
            ) from error
        return pages, time.thread_time() - began

    def _too_large(self, raw: RawBatch, offsets: np.ndarray, outputs: EncodedBatch, limit: int) -> list[DeadLetter]:
        """Take outputs that the broker would refuse out of the batch; returns their dead letters."""
        sizes = [len(key) + len(value or b"") for key, value in zip(outputs.keys, outputs.values, strict=True)]
        large = [i for i, size in enumerate(sizes) if size > limit]
        position = {offset: i for i, offset in enumerate(raw.offsets)}
        letters = [
            _letter(
                raw,
                position[int(offsets[i])],
                "encode",
                "RecordError",
                f"the forecast has {sizes[i]} bytes, the output topic takes {limit}: shorten the sequences, ask for "
                "fewer horizons, or raise the topic's max.message.bytes",
            )
            for i in large
        ]
        for i in reversed(large):
            del outputs.keys[i], outputs.values[i], outputs.timestamps[i]
        return letters


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
