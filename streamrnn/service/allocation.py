"""How a process that computes batch after batch keeps its memory."""

import asyncio
import ctypes
import gc
import itertools

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt(3), glibc
BATCH_ARRAY = 4 << 20  # bytes: the arrays of a batch are smaller, the slabs of many streams larger
KEPT = 256 << 20  # bytes of freed memory that are not given back: the copy of a large state is made in it, too
COLLECT_EVERY, ALL_EVERY = 1.0, 10  # seconds between collections of the young; each tenth one is of all
YOUNG, OLDEST = 1, 2  # generations


def keep_freed_memory() -> None:
    """Keep what a batch frees for the next one.

    glibc maps large arrays one by one and gives them back, so that each batch takes them anew, a page fault for every
    4 KiB: a seventh of all time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, BATCH_ARRAY)
        mallopt(TRIM_THRESHOLD, KEPT)


async def collect_garbage() -> None:
    """Collect garbage here, in the loop's thread, and nowhere else, until cancelled.

    Left to itself Python collects wherever one allocation is one too many. In the compute thread that may be amid a
    deeply nested text, where not one call more fits, and what is finalised there may be the loop's own: connections
    that the client has forgotten (aiokafka 0.14), which are not for other threads to close.
    """
    gc.disable()
    try:
        for turn in itertools.count(1):
            await asyncio.sleep(COLLECT_EVERY)
            gc.collect(OLDEST if turn % ALL_EVERY == 0 else YOUNG)
    finally:
        gc.unfreeze()
        gc.enable()


def settle_down() -> None:
    """What is there by now, libraries above all, stays, and is not looked through again and again."""
    gc.collect()
    gc.freeze()
