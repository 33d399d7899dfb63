"""The state of every stream of a task: slabs of rows, found by key, gathered, stepped, scattered, evicted.

A stream has a slot; its D series are the rows slot·D .. slot·D + D - 1 of every slab.
"""

from types import ModuleType

import numpy as np

from streamrnn.core import anomaly, intervals, readout, shared_curvature, tails
from streamrnn.core.backend import Array, chosen, to_host
from streamrnn.core.season import Season
from streamrnn.engine.key_index import KeyIndex
from streamrnn.engine.layout import SEEN, SQUARE, TIME, VALUE, Layout, profile_fields

FIRST_CAPACITY = 64
POOL_STREAMS, POOL_LABELS, LEAST_POOL = 256, 300, 3  # streams that are asked, labels they must have, how many must
FROZEN_STEPS, FROZEN_REACH = 100, 1e-3  # steps in which a value comes so near its level, in S, if it stands still
INSERTION_SLACK = 4096  # between two boundaries the table may hold this many streams above max_streams


class StreamTable:
    """Slabs of per-series state. Between learning boundaries it only grows; at them it evicts."""

    def __init__(self, layout: Layout, xp: ModuleType = np) -> None:
        self.layout, self.xp = layout, xp
        self.index = KeyIndex()
        self.capacity = 0  # slots
        self.slabs: dict[str, Array] = {f.name: xp.zeros((0, *f.shape), f.dtype) for f in layout.fields}
        self.rings: dict[str, Array] = {}  # slabs of rings (N, slots, ...) as one row of slots, (N·slots, ...)
        self.live = np.zeros(0, bool)  # (C,)
        self.last_step = np.zeros(0, np.int64)  # (C,) number of the task's step at which the stream last stepped
        self.last_seen = np.zeros(0, np.int64)  # (C,) Kafka timestamp of its last record, ms
        self.touched = np.zeros(0, bool)  # (C,) changed since the last snapshot
        self.season: Season | None = None
        self.pooled: dict[str, Array] = {}  # what newborn streams begin with, (D, ...) by slab
        self._features = np.arange(layout.settings.features)
        self.horizons: Array = xp.asarray(layout.settings.horizons, "int64")  # (P,)
        self.horizon_offsets: Array = xp.asarray(layout.horizon_offsets)  # (P,)

    def __len__(self) -> int:
        return len(self.index)

    def slots(self, keys: list[bytes]) -> np.ndarray:
        """The slot of each key (R,) int64; streams that are new get one with the state of a newborn."""
        slots = self.index.look_up(keys)
        unknown = np.flatnonzero(slots < 0)
        if unknown.size:
            born: dict[bytes, int] = {}
            for i in unknown.tolist():
                key = keys[i]
                if key not in born:
                    born[key] = self.index.insert(key)
                slots[i] = born[key]
            self._reset(np.array(list(born.values())))
        return slots

    def row_numbers(self, slots: np.ndarray) -> np.ndarray:
        """Row numbers of all series of these streams (B·D,), a stream's D features side by side."""
        if len(self._features) == 1:
            return slots
        return (slots[:, None] * len(self._features) + self._features).ravel()

    def rows(self, slots: np.ndarray) -> Array:
        """The row numbers where the slabs are."""
        return self.xp.asarray(self.row_numbers(slots))

    def step_times(self, rows: np.ndarray, times: np.ndarray, left: np.ndarray) -> np.ndarray:
        """The time of each step (B,) ms, for rows (B·D,) about to make it.

        A step whose `times` is that of a later one, `left` - 1 steps on, is spread evenly between the stream's
        previous step and that one; where the stream has no previous step it happens then.
        """
        if (left == 1).all():
            return times
        xp, lead = self.xp, self.xp.asarray(rows[:: len(self._features)])
        last = to_host(xp.where(self.slabs["steps"][lead] > 0, self.slabs["moments"][lead, TIME], xp.nan))
        previous = np.where(np.isnan(last), times, last).astype(np.int64)
        return previous + (times - previous) // left

    def gather(self, names: tuple[str, ...], rows: Array) -> dict[str, Array]:
        """Copies of these rows of these slabs, name -> (B, ...)."""
        return {name: self.slabs[name].take(rows, axis=0) for name in names}

    def scatter(self, gathered: dict[str, Array], rows: Array) -> None:
        """Write back what was gathered."""
        for name, values in gathered.items():
            self.slabs[name][rows] = values

    def set_season(self, season: Season) -> None:
        """Give every series profiles of this season, none of them visited yet."""
        self.season = season
        rows = self.capacity * len(self._features)
        for f in profile_fields(season.phases):
            self.slabs[f.name] = self.xp.zeros((rows, *f.shape), f.dtype)
        self._view_rings()
        self.touched[: len(self.index.keys)] = True

    def touch(self, rows: Array) -> None:
        """These rows have changed since the last snapshot."""
        self.touched[to_host(rows) // len(self._features)] = True

    def mend(self, rows: Array) -> int:
        """Give the streams of these rows a newborn's state wherever a number is not finite; returns their number."""
        D, mended = len(self._features), set()
        for name, slab in self.slabs.items():
            mine = slab[rows]
            if not self.finite(name, mine):
                broken = ~self.xp.isfinite(mine).reshape(len(mine), -1).all(1)
                for slot in np.unique(to_host(rows[broken]) // D).tolist():
                    slab[slot * D : (slot + 1) * D] = self._newborn(name, 1)
                    mended.add(slot)
        return len(mended)

    def finite(self, name: str, values: Array) -> bool:
        """Whether all values of this slab are numbers, apart from those that need not be."""
        return name == "window_targets" or bool(self.xp.isfinite(values).all())

    def forget(self, slot: int) -> None:
        """Drop one stream. Its slot rests until the next boundary, so that nothing learnt reaches a successor."""
        self.index.remove(slot)
        self.live[slot] = False
        self.touched[slot] = True

    def evict(self, clock: int) -> dict[str, int]:
        """At a learning boundary: drop what `ttl` and `max_streams` say; returns the number by reason."""
        settings, dropped = self.layout.settings, {"ttl": 0, "max_streams": 0}
        if settings.ttl_ms is not None:
            stale = np.flatnonzero(self.live & (clock - self.last_seen > settings.ttl_ms))
            dropped["ttl"] = len(stale)
            self._drop(stale)
        excess = len(self) - settings.max_streams
        if excess > 0:
            live = np.flatnonzero(self.live)
            oldest = live[np.argpartition(self.last_step[live], excess - 1)[:excess]]
            dropped["max_streams"] = excess
            self._drop(oldest)
        self.index.release()
        return dropped

    def frozen(self) -> int:
        """How many streams have a value that has not changed in about FROZEN_STEPS steps.

        Nobody counts those: the last differences are all zero, and the level of the shortest memory has come so near
        the value as it does in that time.
        """
        numbers = self.row_numbers(np.flatnonzero(self.live))
        rows = self.xp.asarray(numbers)
        quiet = self.slabs["differences"][rows, 0] == 0.0
        some = chosen(quiet)  # few
        rows = rows[some]
        g = self.gather(("differences", "moments", "levels"), rows)
        moments = g["moments"]
        still = (g["differences"] == 0.0).all(1) & (moments[:, SEEN] > FROZEN_STEPS)
        away = self.xp.abs(moments[:, VALUE] - g["levels"][:, 0])
        still &= away <= FROZEN_REACH * self.xp.sqrt(moments[:, SQUARE])
        return len(np.unique(numbers[some][to_host(still & quiet[some])] // len(self._features)))

    def _drop(self, slots: np.ndarray) -> None:
        for slot in slots.tolist():
            self.forget(slot)

    def pool(self, names: tuple[str, ...]) -> None:
        """Let newborn streams begin with what these slabs hold on average, in streams that have learnt for long."""
        slots = np.flatnonzero(self.live)[:POOL_STREAMS]
        if not slots.size:
            return
        D = len(self._features)
        old = to_host(self.slabs["scored"][self.rows(slots)])[:, 0].reshape(-1, D).min(1) >= POOL_LABELS
        if old.sum() < LEAST_POOL:
            return
        rows = self.rows(slots[old])
        for name in names:
            slab = self.slabs[name][rows]
            self.pooled[name] = slab.reshape(-1, D, *slab.shape[1:]).mean(0)

    def _reset(self, slots: np.ndarray) -> None:
        if slots.max() >= self.capacity:
            self.grow(int(slots.max()) + 1)
        rows = self.rows(slots)
        for name, slab in self.slabs.items():
            slab[rows] = self._newborn(name, len(slots))
        self.live[slots] = True
        self.touched[slots] = True

    def _newborn(self, name: str, streams: int) -> Array | float:
        if name in self.pooled:
            pooled = self.pooled[name]
            return self.xp.concatenate([pooled] * streams) if streams > 1 else pooled
        if name.endswith("_curvature"):
            curvature: Array = readout.PRIOR * self.xp.eye(self.slabs[name].shape[1], dtype="float32")
            return curvature
        if name == "quantiles":
            return intervals.initial_quantile(self.layout.settings.coverage)
        if name == "strength":
            return shared_curvature.POOLED if self.pooled else shared_curvature.ALONE
        if name == "alarm_memory":
            return self.xp.asarray(anomaly.newborn())
        if name == "tail_fitted":
            return self.xp.asarray(tails.newborn())
        return float("nan") if name == "window_targets" else 0.0

    def grow(self, slots: int) -> None:
        """Make room for at least this many slots."""
        capacity = max(FIRST_CAPACITY, self.capacity)
        while capacity < slots:
            capacity += capacity // 2
        limit = self.layout.settings.max_streams + INSERTION_SLACK
        capacity = max(min(capacity, limit), slots)
        features = len(self._features)
        for name, slab in self.slabs.items():
            larger = self.xp.zeros((capacity * features, *slab.shape[1:]), slab.dtype)
            larger[: len(slab)] = slab
            self.slabs[name] = larger
        self._view_rings()
        for name in ("live", "last_step", "last_seen", "touched"):
            old = getattr(self, name)
            new = np.zeros(capacity, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
        self.capacity = capacity

    def _view_rings(self) -> None:
        for name, slab in self.slabs.items():
            if slab.ndim > 1:
                self.rings[name] = slab.reshape(slab.shape[0] * slab.shape[1], *slab.shape[2:])
