"""Predict, then learn, over a batch of records: the whole of a task's state, as a function of what it has read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from streamrnn.core.backend import sent, to_host
from streamrnn.core.season import Season
from streamrnn.engine.layout import START_STRIDE, Layout, expert_names, series_layout
from streamrnn.engine.mending import mend_afterwards
from streamrnn.engine.readouts import Readouts
from streamrnn.engine.season_search import REMEMBERED, SERIES, SeasonSearch
from streamrnn.engine.series_step import Stepped, step_series
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.shared_model import Learnt, SharedModel
from streamrnn.engine.stream_table import StreamTable
from streamrnn.records import ForecastBatch, RecordBatch, Scores

BOUNDARY_STEPS = 4096  # at most so many steps between two learning boundaries
FEW, SEVERAL = 128, 512  # series up to which windows start every 4 and every 8 steps; beyond that every 16
WARM_STEPS = 150  # labels after which a stream's mixture is past its priors
CLOCK_RECORDS = 4096  # `ttl` goes by the median timestamp of so many records
SAMPLES = 1024  # feature vectors of series that one boundary adds to the shared moments, at most
FROZEN_EVERY = 16  # steps of each stream between two counts of those that stand still
POOL_EVERY = 64  # boundaries after which newborn streams are given the present average
COUNTERS = ("step_number", "boundaries", "last_boundary", "next_boundary", "known", "last_timestamp")
CHUNK = 2048  # series stepped together: enough that calls cost little, few enough that they stay in the cache


@dataclass(slots=True)
class Progress:
    """What happened at the learning boundaries since `Forecaster.progress` was last taken."""

    learnt: Learnt = field(default_factory=Learnt)
    evicted: dict[str, int] = field(default_factory=lambda: {"ttl": 0, "max_streams": 0})


def layout_of(settings: ForecastSettings) -> Layout:
    """What is kept of each series under these settings."""
    readouts = Readouts(settings)
    return series_layout(settings, expert_names(readouts.names), readouts.fields())


class Forecaster:
    """All streams of one task. The same steps in the same order give the same forecasts, however they are cut."""

    def __init__(self, settings: ForecastSettings, xp: ModuleType = np) -> None:
        self.settings, self.xp = settings, xp
        self._step = fastest_step(xp)
        self.model = SharedModel(settings, xp)
        self.layout = layout_of(settings)
        self.table = StreamTable(self.layout, xp)
        self.search = SeasonSearch()
        self.step_number = 0  # steps taken by the task
        self.boundaries = self.last_boundary = 0
        self.next_boundary = 1
        self.known = 0  # streams known at the last boundary
        self.clock_ring = np.zeros(0, np.int64)  # the last timestamps, for `ttl`
        self.last_timestamp = 0  # of the last record, ms
        self.frozen = self._frozen_due = 0  # streams with a value that stands still, and the step to count them again
        self._progress = Progress()

    def change_settings(self, settings: ForecastSettings) -> None:
        """Go on with other settings, of which none shapes the state."""
        self.settings = self.table.layout.settings = self.model.settings = settings

    @property
    def stride(self) -> int:
        """Steps between the starts of a series' windows: few series learn each step often, many learn it once."""
        series = self.known * self.settings.features
        stride = 4 if series <= FEW else 8 if series <= SEVERAL else 16
        return max(START_STRIDE, min(stride, self.settings.window // START_STRIDE * START_STRIDE))

    @property
    def sampled(self) -> int:
        """One step of so many gives its features to the shared moments."""
        steps = self.next_boundary - self.last_boundary
        return -(-steps * self.settings.features // SAMPLES)

    def progress(self) -> Progress:
        """What the boundaries did since the last call."""
        made, self._progress = self._progress, Progress()
        return made

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the table's slabs, by name."""
        season = self.table.season
        made = {"counters": np.array([getattr(self, name) for name in COUNTERS])}
        made["clock_ring"] = self.clock_ring
        made["season"] = np.array([] if season is None else [season.steps, season.milliseconds, season.phases], float)
        made["resting"] = np.array(self.table.index.resting, np.int64)
        made |= {f"pooled.{name}": to_host(value) for name, value in self.table.pooled.items()}
        return made | self.search.state() | {name: to_host(value) for name, value in self.model.state().items()}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave; the table's slabs come after it."""
        for name, value in zip(COUNTERS, arrays["counters"].tolist(), strict=True):
            setattr(self, name, value)
        self.clock_ring = arrays["clock_ring"]
        if arrays["season"].size:
            steps, milliseconds, phases = arrays["season"].tolist()
            self.table.set_season(Season(int(steps), milliseconds, int(phases)))
        pooled = {name: value for name, value in arrays.items() if name.startswith("pooled.")}
        self.table.pooled = {name.removeprefix("pooled."): self.xp.asarray(v) for name, v in pooled.items()}
        self.search.load(arrays)
        self.model.load(arrays)

    def forecast(self, batch: RecordBatch, every_step: bool = False) -> ForecastBatch:
        """Forecast after every record (or every step), then learn from it; the order is the batch's."""
        P, D = len(self.settings.horizons), self.settings.features
        steps, last = len(batch.values), batch.first_step[1:] - 1
        M = steps if every_step else len(batch)
        record = np.repeat(np.arange(len(batch)), np.diff(batch.first_step))  # (K,) the record of each step
        slot_of_step = np.arange(steps) if every_step else np.full(steps, -1)
        if not every_step:
            spoken = np.flatnonzero(~batch.forget)
            slot_of_step[last[spoken]] = spoken
        values = self._without_sentinels(batch.values)
        made = _Output(batch, record, slot_of_step, values, (M, P, D), every_step=every_step)

        position = clocked = 0
        forgotten = np.flatnonzero(batch.forget).tolist()
        while True:
            stop = min(steps, position + self.next_boundary - self.step_number)
            if forgotten:
                stop = min(stop, int(batch.first_step[forgotten[0]]))
            if stop > position:
                self._segment(made, position, stop)
                position = stop
            if self.step_number == self.next_boundary:
                seen = int(np.searchsorted(batch.first_step[:-1], position))
                self._tick(batch.timestamps[clocked:seen])
                clocked = seen
                self._boundary()
            elif forgotten and batch.first_step[forgotten[0]] == position:
                self._forget(batch.keys[forgotten.pop(0)])
            elif position == steps:
                break
        self._tick(batch.timestamps[clocked:])
        if len(batch):
            self.last_timestamp = int(batch.timestamps[-1])
        return made.result()

    def _without_sentinels(self, values: np.ndarray) -> np.ndarray:
        if not self.settings.missing:
            return values
        return np.where(np.isin(values, self.settings.missing), np.nan, values)

    def _segment(self, made: "_Output", first: int, stop: int) -> None:
        """Step all streams through steps first .. stop - 1, which hold no boundary: wave after wave."""
        batch, table = made.batch, self.table
        records = made.record[first:stop]
        low, high = int(records[0]), int(records[-1]) + 1
        slot_of_record = table.slots(batch.keys[low:high])
        slots = slot_of_record[records - low]
        wide = max(1, CHUNK // self.settings.features) if self.xp is np else BOUNDARY_STEPS
        for wave in _waves(slots):
            for start in range(0, len(wave), wide):
                chunk = wave[start : start + wide]
                self._wave(made, first + chunk, slots[chunk], self.step_number + chunk)
        table.last_step[slots] = self.step_number + np.arange(stop - first)
        table.last_seen[slot_of_record] = batch.timestamps[low:high]
        table.touched[slots] = True
        self.step_number += stop - first

    def _wave(self, made: "_Output", steps: np.ndarray, slots: np.ndarray, numbers: np.ndarray) -> None:
        """Step distinct streams once: to a device and back there is one copy each way."""
        table, model, learning, D = self.table, self.model, self.settings.learning, self.settings.features
        here = table.row_numbers(slots)
        time = table.step_times(here, made.batch.times[steps], made.batch.left[steps])
        made.times[steps] = time
        chosen = np.flatnonzero(numbers % self.sampled == 0) if learning else numbers[:0]
        first = here[here < SERIES] if learning else here[:0]
        columns = (here, made.values[steps].ravel(), np.repeat(time, D), np.repeat(numbers, D), chosen, first)
        rows, value, stamps, repeated, sampled, remembered = sent(self.xp, columns)
        stepped = self._step(table, model, rows, value, stamps)
        if learning:
            model.collect(table, rows, stepped.steps, repeated, self.stride)
        stepped, shown = stepped.fetched([table.slabs[name][remembered] for name in REMEMBERED if first.size])
        if learning:
            model.contribute(stepped.taught, stepped.features, numbers[chosen], sampled)
        if first.size:
            self.search.remember(first, *shown)
        if stepped.broken is not None:
            stepped.mended += mend_afterwards(table, here, stepped.broken)
        self._progress.learnt.rollbacks += stepped.mended
        made.put(steps, stepped, model.updates)

    def _boundary(self) -> None:
        """All that changes what streams share happens here."""
        taken = self.step_number - self.last_boundary
        if self.settings.learning:
            learnt, total = (
                self.model.learn(self.table, taken / max(1, self.known), self.step_number / max(1, self.known)),
                self._progress.learnt,
            )
            total.updates += learnt.updates
            total.rollbacks += learnt.rollbacks
            if learnt.updates:
                total.loss, total.gradient_norm = learnt.loss, learnt.gradient_norm
            season = self.search.look(self.table)
            if season is not None:
                self.table.set_season(season)
            if self.boundaries % POOL_EVERY == 0:
                self.table.pool((*self.model.readouts.pooled, "quantiles"))
        self.boundaries += 1
        clock = int(np.median(self.clock_ring)) if len(self.clock_ring) else 0
        for reason, number in self.table.evict(clock).items():
            self._progress.evicted[reason] += number
        self.known = len(self.table)
        if self.step_number >= self._frozen_due:
            self.frozen = self.table.frozen()
            self._frozen_due = self.step_number + FROZEN_EVERY * self.known
        self.last_boundary = self.step_number
        self.next_boundary = self.step_number + max(1, min(BOUNDARY_STEPS, self.stride * self.known))

    def _forget(self, key: bytes) -> None:
        slot = int(self.table.index.look_up([key])[0])
        if slot >= 0:
            self.table.forget(slot)

    def _tick(self, timestamps: np.ndarray) -> None:
        if self.settings.ttl_ms is not None:
            self.clock_ring = np.concatenate([self.clock_ring, timestamps])[-CLOCK_RECORDS:]


def fastest_step(xp: ModuleType) -> Callable[..., Stepped]:
    """What steps many series: compiled loops where there is a compiler for them, which takes a second to load."""
    from streamrnn.engine.compiled import compiler, series_step

    return series_step.step_series if xp is np and compiler.AVAILABLE else step_series


def _waves(slots: np.ndarray) -> list[np.ndarray]:
    """Cut steps into waves of distinct streams: the first step of each, then the second of each, ..."""
    order = np.argsort(slots, kind="stable")
    ordered = slots[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    if len(starts) == len(slots):
        return [np.arange(len(slots))]
    lengths = np.diff(np.append(starts, len(slots)))
    rank = np.empty(len(slots), np.int64)
    rank[order] = np.arange(len(slots)) - np.repeat(starts, lengths)
    by_rank = np.argsort(rank, kind="stable")
    return np.split(by_rank, np.cumsum(np.bincount(rank))[:-1])


class _Output:
    """The forecasts of a batch as they are made, and what is needed to put each where it belongs."""

    def __init__(
        self,
        batch: RecordBatch,
        record: np.ndarray,
        slot: np.ndarray,
        values: np.ndarray,
        shape: tuple[int, int, int],
        *,
        every_step: bool,
    ) -> None:
        M, P, _ = shape
        self.batch, self.record, self.values, self.every_step = batch, record, values, every_step
        self.slot = slot  # (K,) where a step's forecast is published, -1: nowhere
        self.times = batch.times.copy()
        self.mean, self.lower, self.upper = (np.full(shape, np.nan) for _ in range(3))
        self.surprise, self.anomaly = np.full(M, np.nan), np.full(M, np.nan)
        self.warm, self.model = np.zeros(M, bool), np.zeros(M, np.int64)
        self.scores = Scores.zero(P)

    def put(self, steps: np.ndarray, stepped: Stepped, updates: int) -> None:
        """Take the forecasts of steps whose series have just stepped."""
        self.scores.add(Scores(*stepped.scores))
        D = self.mean.shape[2]
        for name in ("surprise", "anomaly"):
            told, most = getattr(self, name), getattr(stepped, name).reshape(-1, D)
            where = steps if self.every_step else self.record[steps]
            told[where] = np.fmax(told[where], np.fmax.reduce(most, axis=1))
        slot = self.slot[steps]
        spoken = slot >= 0
        if not spoken.any():
            return
        _, P, D = self.mean.shape
        where = slot[spoken]
        for name in ("mean", "lower", "upper"):
            made = getattr(stepped, name).reshape(-1, D, P)[spoken]
            getattr(self, name)[where] = made.transpose(0, 2, 1)
        self.warm[where] = (stepped.scored.reshape(-1, D)[spoken] >= WARM_STEPS).all(1)
        self.model[where] = updates

    def result(self) -> ForecastBatch:
        batch = self.batch
        if self.every_step:
            times = self.times
        else:
            times = np.zeros(len(batch), np.int64)
            spoken = ~batch.forget
            times[spoken] = self.times[batch.first_step[1:][spoken] - 1]
        return ForecastBatch(
            every_step=self.every_step,
            mean=self.mean,
            lower=self.lower,
            upper=self.upper,
            times=times,
            surprise=self.surprise,
            anomaly=self.anomaly,
            warm=self.warm,
            model=self.model,
            scores=self.scores,
        )
