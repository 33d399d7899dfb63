"""One input partition: its state, its position and its handle on the transport, from taking over to giving up.

    fence → restore → position → replay → run (→ hold → run) → close

Whatever fails, the task throws away its state and its handle and begins again: what is durable is the truth. The
state may run ahead of a transaction that is under way, never of one that failed.
"""

import asyncio
import logging
import time

from streamrnn.engine.encoder import published_before
from streamrnn.errors import FatalError, RefusedError, SnapshotError, StreamRNNError, TransportError
from streamrnn.service.back_off import BackOff
from streamrnn.service.compute import ComputeThread
from streamrnn.service.metrics import Metrics
from streamrnn.service.processor import Processor, Slice
from streamrnn.service.publisher import NEVER, Publisher
from streamrnn.service.slices import SliceQueue
from streamrnn.service.states import State, TaskState
from streamrnn.service.takeover import plan
from streamrnn.service.task_log import TaskLog
from streamrnn.service.task_settings import TaskSettings
from streamrnn.transport.contract import Partition, PartitionId, RawBatch, Transport

log = logging.getLogger(__name__)

SLICES_A_COMMIT = 4  # what is queued is computed this often, or when a whole slice is there
REFUSED_EVERY = 30.0  # seconds before a refused one does
LAG_EVERY = 5.0
ANSWER_WITHIN = 10.0  # else the broker is away, which an idle task would not notice otherwise


class Task:
    """The life of one partition in this process. `run` ends when `close` was asked for and done."""

    def __init__(
        self,
        partition: PartitionId,
        transport: Transport,
        compute: ComputeThread,
        settings: TaskSettings,
        metrics: Metrics,
        copies: set[Publisher],
    ) -> None:
        """copies: see `Publisher`."""
        self.partition, self.settings, self._copies = partition, settings, copies
        self.log = TaskLog(log, partition, lambda: self.position)
        self._transport, self._compute, self._all_metrics = transport, compute, metrics
        self._metrics = metrics.partition(partition.topic, partition.partition)
        self._state = TaskState(self._moved)
        self._metrics.state(State.CREATED)
        self._closing = self._holding = False
        self._undelivered = False  # a rebalance has begun since the last seek: nothing arrives, even if it is over
        self._changed = asyncio.Event()  # new records, a wish to hold, resume or close, a commit that ended
        self.settled = asyncio.Event()  # held, or not running at all
        self.settled.set()
        self.reason: str | None = None  # why it failed or was refused
        self._queue = SliceQueue()
        self._paused = False
        self._begin()

    def _begin(self) -> None:
        """The state of a task that has read nothing."""
        s = self.settings
        self._processor = Processor(
            self.partition,
            s.forecast,
            s.form,
            every_step=s.every_step,
            initial=s.initial,
            anomalous_from=s.anomalous_from,
            xp=s.xp,
        )
        self._failure: StreamRNNError | None = None
        self._publisher: Publisher | None = None
        self._slice_due = 0.0
        self.position: int | None = None  # next offset to compute
        self.end: int | None = None
        self.trouble: str | None = None  # why it may get nothing to do, though it runs

    # What the worker calls.

    @property
    def state(self) -> State:
        return self._state.current

    @property
    def idle(self) -> bool:
        """All that was fetched has been computed and committed."""
        committed = self._publisher and self._publisher.committed
        return self.state is State.RUNNING and committed is not None and committed == self._queue.next_offset

    def feed(self, batch: RawBatch) -> None:
        """Take in what was fetched."""
        try:
            self._queue.put(batch)
        except TransportError as error:
            self.fail(error)
        if self._queue.full and not self._paused:
            self._paused = True
            self._transport.pause(self.partition)
        self._changed.set()

    def fail(self, error: StreamRNNError) -> None:
        """What was fetched, or could not be, means that the task must begin again."""
        self._failure = error
        self._changed.set()

    def hold(self) -> None:
        """A rebalance has begun: `settled` tells when nothing of this task is on its way any more."""
        self._holding = self._undelivered = True
        self._changed.set()

    def resume(self) -> None:
        """The rebalance has left the partition here."""
        self._holding = False
        self._changed.set()

    def close(self) -> None:
        """Finish what is under way, write a snapshot, end."""
        self._closing = True
        self._changed.set()

    def status(self) -> dict[str, object]:
        """The task's entry in /status."""
        lag = None if self.end is None or self.position is None else max(0, self.end - self.position)
        return {
            "topic": self.partition.topic,
            "partition": self.partition.partition,
            "state": self.state.value,
            "position": self.position,
            "committed": self._publisher and self._publisher.committed,
            "snapshot": self._publisher and self._publisher.snapshot,
            "lag": lag,
            "streams": self._processor.streams,
        }

    # Its life.

    async def run(self) -> None:
        """Live until closed. Raises FatalError where no task of this process can go on."""
        back_off = BackOff()
        while True:
            began = time.monotonic()
            try:
                await self._live()
                return
            except (FatalError, asyncio.CancelledError):
                await self._drop()
                raise
            except (RefusedError, SnapshotError) as error:
                await self._drop()
                self._state.move(State.REFUSED)
                self._tell(logging.ERROR, error)
                wait = REFUSED_EVERY
            except StreamRNNError as error:
                wait = await self._fail(error, back_off, began)
            except Exception as error:  # a mistake of ours in one task must not end the others
                self.log.exception("a mistake of streamrnn's own: %s", type(error).__name__)
                wait = await self._fail(error, back_off, began)
            if await self._closed_within(wait):
                self._end()
                return
            self._begin()
            self._state.move(State.CREATED)
            self._metrics.restarted()

    async def _fail(self, error: Exception, back_off: BackOff, began: float) -> float:
        """Returns the seconds to wait."""
        fenced = self.state is not State.FENCING
        await self._drop()
        self._state.move(State.FAILED)
        self._tell(logging.WARNING, error)
        return back_off.after(time.monotonic() - began, fenced=fenced)

    async def _live(self) -> None:
        """From CREATED to CLOSED."""
        await self._rebalanced()
        if self._closing:
            return self._end()
        self._state.move(State.FENCING)
        handle = self._transport.partition(self.partition)
        self._publisher = publisher = self._publisher_of(handle)
        self._queue.next_offset = None
        await handle.fence()
        self._state.move(State.RESTORING)
        began = time.monotonic()
        stored = await handle.restore()
        if stored is not None:
            publisher.snapshot = await self._compute.run(self._processor.restore, stored)
            del stored
            self._metrics.streams(self._processor.streams, self._processor.frozen)
            self._all_metrics.restore.observe(time.monotonic() - began)
        await self._take_position(handle, publisher)
        if not self._closing:
            self._state.move(State.RUNNING)
            self.reason = None
            await self._run(handle, publisher)
        await self._close(publisher)
        return None

    def _publisher_of(self, handle: Partition) -> Publisher:
        s = self.settings
        return Publisher(
            handle,
            lambda offset: self._compute.run(self._processor.capture, offset),
            self._compute.run,
            (self._all_metrics, self._metrics),
            commit_interval=s.commit_interval,
            snapshot_interval=s.snapshot_interval if self._transport.recoverable else None,
            copies=self._copies,
            ended=self._changed.set,
        )

    async def _take_position(self, handle: Partition, publisher: Publisher) -> None:
        """Seek where the plan says, and read again what was committed since the snapshot."""
        self._state.move(State.REPLAYING)
        while True:
            await self._rebalanced()
            if self._closing:
                return
            self._undelivered = False
            offsets = await handle.offsets()
            outputs = await handle.newest_outputs()
            published = published_before(outputs, self.partition.topic, self.partition.partition)
            start = plan(str(self.partition), publisher.snapshot, offsets, self.settings.start, published)
            publisher.committed = offsets.committed
            seek = start.seek
            if start.rebuild:
                seek = max(offsets.earliest, await handle.offset_before(seek, self.settings.rebuild))
            if start.fresh:
                if self._transport.recoverable:
                    await publisher.save(seek)
                await handle.commit([], [], seek)
                publisher.committed = seek
            if not self._undelivered:
                break  # else another worker may have had the partition meanwhile: look again
        if start.warning:
            self.log.warning("%s", start.warning)
        self.position = seek
        self._listen(seek)
        await handle.seek(seek)
        replayed = await self._replay(handle, publisher, start.replay_to)
        if replayed:
            self.log.info("replayed %d records from %d to %d", replayed, seek, start.replay_to)
        now = time.monotonic()
        # after a replay at once, else a crash loop makes each replay longer than the one before
        publisher.snapshot_at(now if replayed else now + self.settings.snapshot_interval)
        if not self._closing and await self._compute.run(self._processor.adopt_settings):
            # before the first record, or a replay would take it in with the settings of the snapshot before
            await publisher.save_anew(self.position)

    async def _replay(self, handle: Partition, publisher: Publisher, end: int) -> int:
        """Take in records before `end` without publishing; returns their number."""
        assert self.position is not None
        replayed = 0
        while self.position < end and not self._closing:
            if self._undelivered:
                await self._rest(handle, publisher)
            self._look()
            if not self._queue:
                await self._wait(1.0)
                continue
            raw = self._queue.take(end, self._processor.slice_records)
            if raw.next_offset < 0:  # the next record lies behind the end
                self.position = end
                break
            made = await self._compute.run(self._processor.process, raw, 1 << 62, publish=False)
            replayed += len(raw)
            self.position = min(end, made.next_offset)
            self._metrics.replayed(len(raw))
            self._flow()
        return replayed

    async def _run(self, handle: Partition, publisher: Publisher) -> None:
        """Compute, commit and snapshot until told to close."""
        assert self.position is not None
        self.settled.clear()
        lag = asyncio.create_task(self._watch_lag(handle))
        try:
            while not self._closing:
                self._look()
                if self._undelivered:
                    await self._hold(handle, publisher)
                    continue
                if self._slice_is_due() and publisher.may_run_ahead:
                    self._slice_due = time.monotonic() + self.settings.commit_interval / SLICES_A_COMMIT
                    await self._slice(handle, publisher)
                await publisher.advance(self.position)
                if not (self._slice_is_due() and publisher.may_run_ahead):
                    await self._wait(self._pause(publisher))
        finally:
            lag.cancel()
            self.settled.set()

    async def _slice(self, handle: Partition, publisher: Publisher) -> None:
        """Compute what is queued, at most one slice."""
        raw = self._queue.take(most=self._processor.slice_records)
        made = await self._compute.run(self._processor.process, raw, handle.max_output_bytes)
        self.position = made.next_offset
        publisher.add(made, len(raw))
        self._flow()
        self._account(raw, made)

    async def _hold(self, handle: Partition, publisher: Publisher) -> None:
        """Finish what is on its way, then wait for the end of the rebalance."""
        assert self.position is not None
        await publisher.finish()
        await publisher.hand_over(self.position)
        self._state.move(State.HELD)
        self.settled.set()
        await self._rest(handle, publisher)
        if not self._closing:
            self.settled.clear()
            self._state.move(State.RUNNING)

    async def _rest(self, handle: Partition, publisher: Publisher) -> None:
        """Until the rebalance is over; then go on where this task was, if nobody else had the partition."""
        while self._undelivered:
            self._queue.next_offset = None
            await self._rebalanced()
            if self._closing:
                return
            self._undelivered = False
            offsets = await handle.offsets()
        if offsets.committed != publisher.committed:
            raise TransportError(
                f"{self.partition}: the committed offset is {offsets.committed}, this task left it at "
                f"{publisher.committed}: another worker had the partition meanwhile"
            )
        assert self.position is not None
        self._listen(self.position)
        await handle.seek(self.position)

    async def _close(self, publisher: Publisher) -> None:
        """The orderly end: everything computed is committed, the state is saved as of the committed offset."""
        running = self.state in (State.RUNNING, State.HELD)
        if self.state is State.RUNNING:
            await publisher.finish()
        self._state.move(State.CLOSING)
        if running and self.position is not None and self.position == publisher.committed:
            try:
                await publisher.save(self.position)
            except TransportError as error:
                if not self._holding:
                    raise
                self.log.info("no last snapshot, its new owner was faster (%s)", error)
        await publisher.close()
        self._state.move(State.CLOSED)

    def _end(self) -> None:
        """Closed while nothing was running."""
        self._state.move(State.CLOSING)
        self._state.move(State.CLOSED)

    async def _drop(self) -> None:
        """Throw away everything that is on its way."""
        publisher, self._publisher = self._publisher, None
        self._queue.clear(0)
        self._queue.next_offset = None
        if publisher is not None:
            await publisher.drop()

    # Small things.

    async def _rebalanced(self) -> None:
        """Wait until no rebalance is on, or the partition is gone."""
        while self._holding and not self._closing:
            await self._wait(60.0)

    def _look(self) -> None:
        """Raise what `fail` was told."""
        if self._failure is not None:
            raise self._failure

    def _slice_is_due(self) -> bool:
        return bool(self._queue) and (self._queue.ready or time.monotonic() >= self._slice_due)

    def _listen(self, offset: int) -> None:
        """What is fetched from now on begins at this offset."""
        self._queue.clear(offset)
        self._paused = False

    def _flow(self) -> None:
        if self._paused and self._queue.low:
            self._paused = False
            self._transport.resume(self.partition)

    def _pause(self, publisher: Publisher) -> float:
        """How long there is nothing to do, unless something changes."""
        slice_due = self._slice_due - time.monotonic() if self._queue and publisher.may_run_ahead else NEVER
        return max(0.0, min(slice_due, publisher.due(self.position)))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
        self._changed.clear()

    async def _closed_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._closing and (left := end - time.monotonic()) > 0:
            await self._wait(left)
        return self._closing

    async def _watch_lag(self, handle: Partition) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_WITHIN):
                    offsets = await handle.offsets()
            except TimeoutError:
                self.trouble = f"no answer from the broker in {ANSWER_WITHIN:.0f} s"
            except StreamRNNError as error:
                self.trouble = str(error)
            else:
                self.trouble = None
                if offsets.end < 1 << 62:
                    self.end = offsets.end
                    self._metrics.lag(max(0, offsets.end - (self.position or 0)))
            await asyncio.sleep(LAG_EVERY)

    def _account(self, raw: RawBatch, made: Slice) -> None:
        m, learnt, scores = self._metrics, made.progress.learnt, made.scores
        m.consumed(len(raw))
        m.streams(self._processor.streams, self._processor.frozen)
        for reason, number in made.progress.evicted.items():
            m.evicted(reason, number)
        told = learnt.updates > 0
        m.learnt(
            learnt.updates, learnt.rollbacks, learnt.gradient_norm if told else None, learnt.loss if told else None
        )
        self._all_metrics.compute.observe(made.seconds)
        self._all_metrics.scored(scores.scored, scores.covered, scores.absolute, scores.naive)

    def _tell(self, level: int, error: Exception) -> None:
        """Log a failure, and the same one only once."""
        reason = str(error) or type(error).__name__
        if reason != self.reason:
            self.log.log(level, "%s", reason)
        self.reason = reason

    def _moved(self, before: State, after: State) -> None:
        self._metrics.state(after)
        self.log.info("%s → %s", before.value, after.value)
        if after not in (State.RUNNING, State.HELD):
            self.settled.set()
