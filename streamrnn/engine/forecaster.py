"""Predict, then learn, over a batch of records: the whole of a task's state, as a function of what it has read."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from streamrnn.core.backend import to_host
from streamrnn.core.season import Season
from streamrnn.engine.layout import BOUNDARY_STEPS, START_STRIDE, Layout, expert_names, series_layout
from streamrnn.engine.output import Output
from streamrnn.engine.readouts import Readouts
from streamrnn.engine.season_search import SeasonSearch
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.shared_model import Learnt, SharedModel
from streamrnn.engine.stream_table import StreamTable
from streamrnn.engine.waves import in_waves
from streamrnn.records import ForecastBatch, RecordBatch

FEW, SEVERAL = 128, 512  # series up to which windows start every 4 and every 8 steps; beyond that every 16
CLOCK_RECORDS = 4096  # `ttl` goes by the median timestamp of so many records
SAMPLES = 1024  # feature vectors of series that one boundary adds to the shared moments, at most
FROZEN_EVERY = 16  # steps of each stream between two counts of those that stand still
POOL_EVERY = 64  # boundaries after which newborn streams are given the present average
COUNTERS = ("step_number", "boundaries", "last_boundary", "next_boundary", "known", "last_timestamp")


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
        self._way = fastest_way(xp)
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
        made = Output(batch, record, slot_of_step, values, (M, P, D), every_step=every_step)

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

    def _segment(self, made: Output, first: int, stop: int) -> None:
        """Step all streams through steps first .. stop - 1, which hold no boundary: in one of the two ways."""
        batch, table = made.batch, self.table
        records = made.record[first:stop]
        low, high = int(records[0]), int(records[-1]) + 1
        slot_of_record = table.slots(batch.keys[low:high])
        slots = slot_of_record[records - low]
        self._progress.learnt.rollbacks += self._way(self, made, first, slots)
        table.last_step[slots] = self.step_number + np.arange(stop - first)
        table.last_seen[slot_of_record] = batch.timestamps[low:high]
        table.touched[slots] = True
        self.step_number += stop - first

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


def fastest_way(xp: ModuleType) -> Callable[["Forecaster", Output, int, np.ndarray], int]:
    """What makes many steps: loops where there is a compiler for them, which takes a second to load."""
    from streamrnn.engine.compiled import compiler, walk

    return walk.walk if xp is np and compiler.AVAILABLE else in_waves
