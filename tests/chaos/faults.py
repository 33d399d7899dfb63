"""What can happen to a daemon in production, each a function that lets it happen to the chamber and undoes it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.chaos.cluster import WORKERS
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from tests.chaos.chamber import Chamber

Fault = Callable[["Chamber"], Awaitable[None]]
STOPPED_WITHIN = 15.0  # seconds: shutdown_timeout and some room


async def kill(chamber: "Chamber") -> None:
    """Kill -9, and after a while the supervisor starts it again."""
    worker = chamber.some_worker()
    await asyncio.to_thread(worker.kill)
    await chamber.pause(0, 2)
    worker.start()


async def terminate(chamber: "Chamber") -> None:
    """SIGTERM: exit code 0 in time."""
    worker = chamber.some_worker()
    await chamber.up(worker)
    worker.send(signal.SIGTERM)
    code = await asyncio.to_thread(worker.wait, STOPPED_WITHIN)
    if code != 0:
        chamber.wrong.append(f"a worker ended with {code} after SIGTERM: see {worker.log}")
    await chamber.pause(0, 2)
    worker.start()


async def freeze(chamber: "Chamber") -> None:
    """Hang for less than the session timeout."""
    await _frozen(chamber, 0.3, 2.0)


async def zombie(chamber: "Chamber") -> None:
    """Hang beyond the session and the transaction timeout, then come back and go on."""
    await _frozen(chamber, 4.0, 9.0)


async def _frozen(chamber: "Chamber", least: float, most: float) -> None:
    worker = chamber.some_worker()
    worker.send(signal.SIGSTOP)
    await chamber.pause(least, most)
    worker.send(signal.SIGCONT)


async def join(chamber: "Chamber") -> None:
    """One more worker, or one less where there are enough."""
    absent = [worker for worker in chamber.workers if not worker.running]
    if absent:
        absent[0].start()
        await chamber.joined(absent[0])
    else:
        await leave(chamber)


async def leave(chamber: "Chamber") -> None:
    """One worker less, while two are left."""
    if sum(worker.running for worker in chamber.workers) < 3:
        await join(chamber)
        return
    worker = chamber.some_worker()
    await chamber.up(worker)
    worker.send(signal.SIGTERM)
    await asyncio.to_thread(worker.wait, STOPPED_WITHIN)


async def rebalance_storm(chamber: "Chamber") -> None:
    """Workers come and go before the group has come to rest."""
    for _ in range(chamber.random.randrange(3, 6)):
        absent = [worker for worker in chamber.workers if not worker.running]
        if absent and chamber.random.random() < 0.5:
            absent[0].start()
        else:
            await leave(chamber)
        await chamber.pause(0.2, 2.5)


async def refused_network(chamber: "Chamber") -> None:
    """Connections are cut and refused."""
    await _network(chamber, lambda proxy: proxy.refuse(), 0.2, 6.0)


async def stalled_network(chamber: "Chamber") -> None:
    """Connections stay, nothing gets through."""
    await _network(chamber, lambda proxy: proxy.stall(), 0.2, 6.0)


async def slow_network(chamber: "Chamber") -> None:
    """Everything takes its time."""
    delay = chamber.random.uniform(0.01, 0.15)
    await _network(chamber, lambda proxy: proxy.slow(delay), 1.0, 5.0)


async def cut_network(chamber: "Chamber") -> None:
    """Connections are reset in the middle of an answer, some times in a row."""
    for _ in range(chamber.random.randrange(1, 5)):
        for proxy in _some_network(chamber):
            proxy.cut_after(chamber.random.randrange(2000))
        await chamber.pause(0.0, 1.0)


async def _network(chamber: "Chamber", fail: Callable[[Proxy], None], least: float, most: float) -> None:
    failing = _some_network(chamber)
    for proxy in failing:
        fail(proxy)
    await chamber.pause(least, most)
    for proxy in failing:
        await proxy.heal()


def _some_network(chamber: "Chamber") -> list[Proxy]:
    """One worker's way to all brokers, all workers' to one broker, or every way there is."""
    networks, draw = chamber.cluster.networks, chamber.random
    return draw.choice(
        [
            networks[draw.randrange(WORKERS)],
            [network[draw.randrange(len(network))] for network in networks],
            chamber.cluster.proxies(),
        ]
    )


async def broker_crash(chamber: "Chamber") -> None:
    """Kill -9 of a broker, of a partition's leader where there are three."""
    broker = await chamber.some_broker()
    await asyncio.to_thread(broker.kill)
    await chamber.pause(0, 3)
    await asyncio.to_thread(broker.start)


async def broker_restart(chamber: "Chamber") -> None:
    """A broker is stopped and started, as a rolling upgrade does."""
    broker = await chamber.some_broker()
    await asyncio.to_thread(broker.restart)


async def broker_freeze(chamber: "Chamber") -> None:
    """A broker hangs, its connections stay open."""
    broker = await chamber.some_broker()
    broker.freeze()
    await chamber.pause(0.5, 7.0)
    broker.thaw()


SINGLE: dict[str, tuple[Fault, float]] = {
    # the name in the report, what happens, how often beside the others
    "worker killed (SIGKILL)": (kill, 4),
    "worker stopped (SIGTERM)": (terminate, 2),
    "worker hangs, within the session": (freeze, 1),
    "worker hangs, beyond session and transaction": (zombie, 3),
    "worker added": (join, 1),
    "worker removed": (leave, 1),
    "workers come and go": (rebalance_storm, 1),
    "network refused": (refused_network, 2),
    "network stalled": (stalled_network, 2),
    "network slow": (slow_network, 1),
    "network cut within an answer": (cut_network, 3),
    "broker killed": (broker_crash, 2),
    "broker restarted": (broker_restart, 1),
    "broker hangs": (broker_freeze, 1),
}
SEVERAL = "several at once"
