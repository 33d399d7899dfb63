"""The thread in which forecasts are computed, so that the loop goes on answering the broker meanwhile."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STUCK = 60.0  # seconds that one call may take before the process counts as not alive
NAME = "compute"
ENDS_WITHIN = 1.0  # seconds that an idle thread takes to end, and far more


class ComputeThread:
    """One thread for all tasks of a process: it keeps one core busy, more of them would only wait for each other."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=NAME)
        self._busy_since: float | None = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, computed in the thread after what was asked for before."""

        def timed() -> T:
            self._busy_since = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self._busy_since = None

        return await asyncio.get_running_loop().run_in_executor(self._executor, timed)

    def stuck(self) -> str | None:
        """Why the thread does not count as alive, None if it does."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > STUCK:
            return f"the compute thread has not come back for more than {STUCK:.0f} s"  # the same words each time
        return None

    def close(self) -> None:
        """Let the present call end and take no other."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def still_computing() -> bool:
    """Whether a thread that was closed is at it yet: Python would not end before it."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(NAME)]
    for thread in threads:
        thread.join(ENDS_WITHIN)
    return any(thread.is_alive() for thread in threads)
