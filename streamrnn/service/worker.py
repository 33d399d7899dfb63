"""The daemon: joins the group, gives each partition a task, fetches for all of them, answers for their health."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable

from streamrnn.engine.warm_up import warm_up
from streamrnn.errors import FatalError, TransportError
from streamrnn.service.allocation import collect_garbage, settle_down
from streamrnn.service.compute import ComputeThread
from streamrnn.service.http import HttpServer, HttpSettings
from streamrnn.service.metrics import Metrics
from streamrnn.service.publisher import Publisher
from streamrnn.service.states import State
from streamrnn.service.systemd import ServiceManager
from streamrnn.service.task import Task
from streamrnn.service.task_settings import TaskSettings
from streamrnn.transport.contract import PartitionError, PartitionId, Transport

log = logging.getLogger(__name__)

FETCH_WAIT = 0.5
RETRY_EVERY = 1.0  # seconds between attempts to reach a broker that is away
TELL_EVERY = 30.0  # seconds between the lines that say so
COMPILED = 5.0  # seconds that machine code takes only where it was not kept by an earlier process
CLOSING_SHARE = 0.8  # of shutdown_timeout is for what is under way, the rest for hanging up
HOLD_TIMEOUT = (
    20.0  # a rebalance waits no longer for a task to finish; it is then dropped, and fenced by its successor
)


class Worker:
    """All tasks of this process. `run` returns the exit code."""

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        settings: TaskSettings,
        metrics: Metrics,
        *,
        shutdown_timeout: float,
        http: HttpSettings | None = None,
        manager: ServiceManager | None = None,
    ) -> None:
        self._make_transport, self._settings, self._metrics = make_transport, settings, metrics
        self._shutdown_timeout, self._manager = shutdown_timeout, manager
        self._server = HttpServer(http, self, metrics.render) if http else None
        self._compute = ComputeThread()
        self._copies: set[Publisher] = set()  # of tasks' states, on their way to being saved
        self._transport: Transport | None = None
        self.tasks: dict[PartitionId, Task] = {}
        self._lives: dict[PartitionId, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._fatal: FatalError | None = None
        self._joined = False
        self._trouble: str | None = "not connected yet"
        self._not_ready: str | None = None  # the reason, and when it was last looked at as new or told
        self._told = 0.0

    # Health, for the endpoints.

    def alive(self) -> str | None:
        """The loop answers, or nobody would ask; the thread may be stuck."""
        return self._compute.stuck()

    def ready(self) -> str | None:
        """Why this worker is not ready."""
        if self._trouble:
            return self._trouble
        if not self._joined:
            return "the consumer group is not joined yet"
        if stuck := self._compute.stuck():
            return stuck
        for name, task in self.tasks.items():
            if task.state is not State.RUNNING:
                return f"{name} is {task.state.value}" + (f": {task.reason}" if task.reason else "")
            if task.trouble:
                return f"{name}: {task.trouble}"
        return None

    def status(self) -> dict[str, object]:
        return {"tasks": [task.status() for _, task in sorted(self.tasks.items())], "skill": self._metrics.skill()}

    # Assignment, from the transport.

    async def revoked(self, partitions: frozenset[PartitionId]) -> None:
        """Hold every task concerned; those that do not come to rest in time are dropped."""
        self._joined = False
        tasks = [self.tasks[p] for p in partitions if p in self.tasks]
        for task in tasks:  # before anything else can run, such as one of them that is about to seek
            task.hold()
        await asyncio.gather(*map(self._held, tasks))

    async def _held(self, task: Task) -> None:
        try:
            async with asyncio.timeout(HOLD_TIMEOUT):
                await task.settled.wait()
        except TimeoutError:
            task.log.warning("did not come to rest in %.0f s", HOLD_TIMEOUT)
            self.tasks.pop(task.partition)
            life = self._lives.pop(task.partition)
            life.cancel()
            await asyncio.wait((life,))

    def assigned(self, partitions: frozenset[PartitionId]) -> None:
        """Tasks that are still ours go on, new ones begin, the others close."""
        self._joined = True
        for partition in [p for p in self.tasks if p not in partitions]:
            self._give_up(partition)
        for partition in sorted(partitions):
            life = self._lives.get(partition)
            if life is not None and not life.done():
                self.tasks[partition].resume()
            else:
                self._begin(partition)

    def _begin(self, partition: PartitionId) -> None:
        assert self._transport is not None
        task = Task(partition, self._transport, self._compute, self._settings, self._metrics, self._copies)
        self.tasks[partition] = task
        life = self._lives[partition] = asyncio.create_task(task.run(), name=str(partition))
        life.add_done_callback(self._ended)

    def _give_up(self, partition: PartitionId) -> None:
        task, life = self.tasks.pop(partition), self._lives.pop(partition)
        _close(task, life)
        self._leaving.add(life)
        life.add_done_callback(self._leaving.discard)
        self._metrics.drop(partition.topic, partition.partition)

    def _ended(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (error := life.exception()) is not None:
            if not isinstance(error, FatalError):
                error = FatalError(f"{life.get_name()}: {error!r}")
            self._fatal = self._fatal or error
            self._stop.set()

    # Life.

    async def run(self) -> int:
        """Work until told to stop, or until the input ends. Returns 0; raises FatalError."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        told = asyncio.create_task(self._manager.follow(self)) if self._manager else None
        collecting = asyncio.create_task(collect_garbage())
        warming = asyncio.create_task(self._warm_up())
        try:
            if self._server:
                await self._server.start()
            while not self._stop.is_set():
                if await self._connect() and await self._work():
                    break
            if self._fatal:
                raise self._fatal
            return 0
        finally:
            if self._manager:
                self._manager.stopping(self)
            await self._leave()
            if self._server:
                await self._server.stop()
            self._compute.close()
            collecting.cancel()
            warming.cancel()
            if told and self._manager:
                told.cancel()
                self._manager.close()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _warm_up(self) -> None:
        """While the group is joined; tasks wait for the compute thread."""
        began = time.monotonic()
        await self._compute.run(warm_up, self._settings.forecast, self._settings.xp)
        settle_down()
        if time.monotonic() - began > COMPILED:
            log.info("compiled in %.0f s what the forecasts run on", time.monotonic() - began)

    async def _connect(self) -> bool:
        """Join; False where the wish to stop came first."""
        told = 0.0
        while not self._stop.is_set():
            self._transport = self._make_transport()
            try:
                if await self._started(self._transport):
                    self._trouble = None
                    return True
            except TransportError as error:
                self._trouble = str(error)
                if time.monotonic() - told >= TELL_EVERY or not told:
                    told = time.monotonic()
                    log.warning("%s; trying again", error)
                await self._transport.stop()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_EVERY):
                        await self._stop.wait()
        return False

    async def _started(self, transport: Transport) -> bool:
        """Start it; False where the wish to stop came first, which waits for no broker."""
        starting, stopping = asyncio.create_task(transport.start(self)), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            return starting.done()
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.wait((starting, stopping))

    async def _work(self) -> bool:
        """Fetch for all tasks; True at the end of the input or when told to stop, False to connect again."""
        assert self._transport is not None
        transport = self._transport
        while not self._stop.is_set():
            self._tell_why_not_ready()
            if transport.ended and self._joined:
                if all(task.idle for task in self.tasks.values()):
                    return True
                await asyncio.sleep(0.005)
                continue
            try:
                for partition, batch in (await transport.fetch(FETCH_WAIT)).items():
                    if partition in self.tasks:
                        self.tasks[partition].feed(batch)
            except PartitionError as error:
                if error.partition in self.tasks:
                    self.tasks[error.partition].fail(error)
            except TransportError as error:
                log.warning("%s; connecting again", error)
                self._trouble = str(error)
                await self._abandon()
                return False
        return True

    def _tell_why_not_ready(self) -> None:
        """Once in a while, where it lasts: a group that nobody coordinates, say, gives no error."""
        reason, now = self.ready(), time.monotonic()
        if reason != self._not_ready:
            self._not_ready, self._told = reason, now
        elif reason and now - self._told >= TELL_EVERY:
            self._told = now
            log.warning("still not ready: %s", reason)

    async def _abandon(self) -> None:
        """The connection is of no more use: drop every task as it is, and the transport."""
        assert self._transport is not None
        lives = [*self._lives.values(), *self._leaving]
        for life in lives:
            life.cancel()
        if lives:
            await asyncio.wait(lives)
        for partition in list(self.tasks):
            self._metrics.drop(partition.topic, partition.partition)
        self.tasks.clear()
        self._lives.clear()
        self._joined = False
        await self._transport.stop()

    async def _leave(self) -> None:
        """Close every task, drop those that do not come to an end in time, then leave the group."""
        for partition, task in self.tasks.items():
            _close(task, self._lives[partition])
        lives = {*self._lives.values(), *self._leaving}
        if lives:
            _, late = await asyncio.wait(lives, timeout=CLOSING_SHARE * self._shutdown_timeout)
            for life in late:
                log.warning("did not come to an end in time", extra={"task": life.get_name()})
                life.cancel()
            if late:
                await asyncio.wait(late)  # a dropped task hangs up within a bounded time
        if self._transport is not None:
            await self._transport.stop()


def _close(task: Task, life: asyncio.Task[None]) -> None:
    """Let a task that works finish what is under way; one that does not work yet has nothing to finish.

    That one is cancelled. It is told to close as well: `asyncio.wait_for` may swallow a cancellation (Python 3.11).
    """
    task.close()
    if task.state not in (State.RUNNING, State.HELD):
        task.log.info("given up")
        life.cancel()
