"""How a process that computes batch after batch keeps its memory."""

import ctypes
import gc

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt(3), glibc
BATCH_ARRAY = 4 << 20  # bytes: the arrays of a batch are smaller, the slabs of many streams larger
KEPT = 64 << 20  # bytes of freed memory that are not given back


def keep_freed_memory() -> None:
    """Keep what a batch frees for the next one.

    glibc maps large arrays one by one and gives them back, so that each batch takes them anew, a page fault for every
    4 KiB: a seventh of all time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, BATCH_ARRAY)
        mallopt(TRIM_THRESHOLD, KEPT)


def collect_seldom() -> None:
    """Leave alone what lives long; the many records of a slice do not start a collection each."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
