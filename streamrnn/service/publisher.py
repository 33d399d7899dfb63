"""What a task has computed, on its way to being durable: one commit and one snapshot at a time, in the background.

The state may run ahead of a commit that is under way. A snapshot is captured as of an offset S and saved once S is
committed, so that what is stored never runs ahead of what is published.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamrnn.service.metrics import Metrics, PartitionMetrics
from streamrnn.service.processor import Captured, Slice
from streamrnn.service.slices import FULL_BYTES, FULL_RECORDS
from streamrnn.transport.contract import DeadLetter, EncodedBatch, Partition

SNAPSHOT_SHARE = 20.0  # the next snapshot is due no earlier than so many times the last one's CPU seconds
SEND_SECONDS_A_BYTE = 3.2e-9  # CPU of writing a snapshot, measured; it is spent on the loop, where it has no clock
NEVER = 60.0  # seconds: nothing is due, look again
LOOK_AGAIN = 0.2  # seconds, while another partition's state is being saved
HAND_OVER = 1.0  # seconds that a rebalance may be held up by a snapshot, so that nothing need be replayed after it

Capture = Callable[[int], Awaitable[Captured]]  # the state, which is that of this offset
Check = Callable[[Callable[[], None]], Awaitable[None]]  # calls it where states are computed


@dataclass(slots=True)
class _Pending:
    """Computed and not yet committed."""

    outputs: list[EncodedBatch] = field(default_factory=list)
    anomalies: list[EncodedBatch] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    next_offset: int | None = None
    records: int = 0
    bytes: int = 0


class Publisher:
    """Commits and snapshots of one life of a task, on one handle."""

    def __init__(
        self,
        handle: Partition,
        capture: Capture,
        check: Check,
        metrics: tuple[Metrics, PartitionMetrics],
        *,
        commit_interval: float,
        snapshot_interval: float | None,
        copies: set["Publisher"],
        ended: Callable[[], None],
    ) -> None:
        """snapshot_interval None: state is saved only when asked for. ended: told when something under way ends.

        copies: the publishers of this process that hold a copy of a state. Each may be as large as the state, so one
        that is merely due waits until there is none; those of a hand-over or of the end do not wait.
        """
        self._handle, self._capture, self._check, self._ended = handle, capture, check, ended
        self._all_metrics, self._metrics = metrics
        self._commit_interval, self._snapshot_interval = commit_interval, snapshot_interval
        self._copies = copies
        self._pending = _Pending()
        self._commit: asyncio.Task[None] | None = None
        self._save: asyncio.Task[None] | None = None
        self._captured: Captured | None = None
        self._commit_due = self._snapshot_due = 0.0
        self._save_seconds: float | None = None  # the last one took
        self.committed: int | None = None
        self.snapshot: int | None = None

    @property
    def may_run_ahead(self) -> bool:
        """While a commit is under way computing goes on, but only so far."""
        pending = self._pending
        return self._commit is None or (pending.records < FULL_RECORDS and pending.bytes < FULL_BYTES)

    def add(self, made: Slice, records: int) -> None:
        """Take what came of one more slice."""
        pending = self._pending
        pending.outputs.append(made.outputs)
        if len(made.anomalies):
            pending.anomalies.append(made.anomalies)
        pending.dead_letters += made.dead_letters
        pending.next_offset = made.next_offset
        pending.records += records
        for batch in (made.outputs, made.anomalies):
            pending.bytes += sum(map(len, filter(None, batch.values)))
        pending.bytes += sum(len(letter.value or b"") for letter in made.dead_letters)

    def snapshot_at(self, due: float) -> None:
        """The next snapshot is due then (monotonic seconds)."""
        self._snapshot_due = due
        if self._snapshot_interval is not None:
            self._metrics.snapshot_due(self._snapshot_interval)

    def collect(self) -> None:
        """Take note of what has ended in the background. Raises what it raised."""
        for name in ("_commit", "_save"):
            running: asyncio.Task[None] | None = getattr(self, name)
            if running is not None and running.done():
                setattr(self, name, None)
                running.result()

    async def advance(self, position: int) -> None:
        """Start what is due, the state being that of `position`."""
        self.collect()
        now = time.monotonic()
        if now >= self._commit_due:
            self._start_commit(now)
        if self._snapshot_interval is None or self._save is not None:
            return
        if self._captured is None and now >= self._snapshot_due and self._is_new(position) and not self._copies:
            self._copies.add(self)
            self._captured = await self._capture(position)
        if self._captured is not None and (self.committed or 0) >= self._captured.offset:
            captured, self._captured = self._captured, None
            self._save = self._background(self._save_one(captured))

    def due(self, position: int | None) -> float:
        """Seconds until `advance` has something to do; the end of what is under way is told by `ended`."""
        now = time.monotonic()
        due = now + NEVER
        if self._pending.next_offset is not None and self._commit is None:
            due = self._commit_due
        if self._snapshot_interval is not None and self._is_new(position) and not (self._save or self._captured):
            due = min(due, max(self._snapshot_due, now + LOOK_AGAIN) if self._copies else self._snapshot_due)
        return max(0.0, due - now)

    def _is_new(self, position: int | None) -> bool:
        """The state of this position is not saved, and is or will be committed without any further record."""
        under_way = self._commit is not None or self._pending.next_offset is not None
        return position != self.snapshot and (under_way or (position or 0) <= (self.committed or 0))

    async def finish(self) -> None:
        """Commit all that was computed and wait for what is under way."""
        while self._commit is not None or self._pending.next_offset is not None:
            self._start_commit(time.monotonic())
            if self._commit is not None:
                await asyncio.wait((self._commit,))
            self.collect()
        if self._save is not None:
            await asyncio.wait((self._save,))
            self.collect()

    async def save(self, position: int) -> None:
        """Save the state now, which is that of `position`; everything before it is committed."""
        if self._captured is not None:  # its pages count as written: the next capture builds on them
            captured, self._captured = self._captured, None
            await self._save_one(captured)
        if position != self.snapshot:
            await self._save_one(await self._capture(position))

    async def hand_over(self, position: int) -> None:
        """All is committed: save the state too if that is quick, for whoever goes on with it."""
        if self._snapshot_interval is not None and (self._save_seconds or NEVER) < HAND_OVER:
            await self.save(position)

    async def save_anew(self, position: int) -> None:
        """Save the state now although one of `position` is stored: its settings have changed."""
        await self._save_one(await self._capture(position))

    async def drop(self) -> None:
        """Throw away everything that is on its way, and the handle, also where this is cancelled meanwhile."""
        running = [task for task in (self._commit, self._save) if task is not None]
        for task in running:
            task.cancel()
            task.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # one of them may be told already
        try:
            if running:
                await asyncio.wait(running)
        finally:
            await self.close()

    async def close(self) -> None:
        """Nothing is on its way any more: hang up."""
        self._copies.discard(self)
        await self._handle.close()

    def _start_commit(self, now: float) -> None:
        """Commit in the background what is pending, if no commit is under way."""
        pending = self._pending
        if self._commit is None and pending.next_offset is not None:
            self._pending = _Pending()
            self._commit_due = now + self._commit_interval
            self._commit = self._background(self._commit_one(pending, pending.next_offset))

    async def _commit_one(self, pending: _Pending, next_offset: int) -> None:
        began = time.monotonic()
        await self._handle.commit(pending.outputs, pending.dead_letters, next_offset, pending.anomalies)
        self.committed = next_offset
        self._all_metrics.commit.observe(time.monotonic() - began)
        self._metrics.published(sum(map(len, pending.outputs)))
        for letter in pending.dead_letters:
            self._metrics.dead_lettered(letter.stage, 1)
        now = time.time()
        for batch in pending.outputs:
            self._all_metrics.forecast_latency.observe(now - np.array(batch.timestamps, float) / 1000)

    async def _save_one(self, captured: Captured) -> None:
        began = time.monotonic()
        while not captured.checked:
            await self._check(captured.check)
        pages, cpu = captured.capture.finished(), captured.cpu
        await self._handle.save(pages)
        self._copies.discard(self)
        self.snapshot = pages.offset
        self._save_seconds = time.monotonic() - began + cpu
        self._all_metrics.snapshot.observe(time.monotonic() - began)
        self._metrics.snapshot_written(pages.nbytes, time.time())
        if self._snapshot_interval is not None:
            cost = cpu + SEND_SECONDS_A_BYTE * pages.nbytes
            interval = max(self._snapshot_interval, SNAPSHOT_SHARE * cost)
            self._snapshot_due = time.monotonic() + interval
            self._metrics.snapshot_due(interval)

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._ended())
        return task
