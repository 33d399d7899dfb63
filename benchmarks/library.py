"""What a record costs in `streamrnn.Forecaster`, one by one and many at once: µs of CPU, learning on, one horizon.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.library

With NUMBA_DISABLE_JIT=1 it is NumPy's cost, else that of the compiled loops where the extra is installed.
"""

import time
from collections.abc import Callable

import numpy as np

from streamrnn import Forecaster

STREAMS = (1, 7, 1000)
SETTLED = 40  # steps a stream makes first, so that all that is learnt each step is there
RECORDS, MANY = 3_000, 100_000
MINUTE = 60_000


def cost(run: Callable[[], object], records: int) -> float:
    """µs of CPU a record."""
    began = time.process_time()
    run()
    return 1e6 * (time.process_time() - began) / records


def costs(streams: int) -> tuple[float, float]:
    """Of `update` and of `update_many`."""
    settled, many = SETTLED * streams, max(MANY * streams // STREAMS[-1], RECORDS)
    steps = np.arange(settled + RECORDS + many) // streams
    names = [f"stream-{i % streams}" for i in range(len(steps))]
    times = steps * MINUTE
    values = np.sin(steps / 7) + 0.1 * np.random.default_rng(0).normal(size=len(steps))
    f = Forecaster()
    f.update_many(names[:settled], times[:settled], values[:settled])

    first, last = slice(settled, settled + RECORDS), slice(settled + RECORDS, None)
    records = list(zip(names[first], times[first].tolist(), values[first].tolist(), strict=True))

    def one_by_one() -> None:
        for record in records:
            f.update(*record)

    single = cost(one_by_one, RECORDS)
    return single, cost(lambda: f.update_many(names[last], times[last], values[last]), many)


def main() -> None:
    print("| streams | update, µs | update_many, µs a record |\n|---:|---:|---:|")
    for streams in STREAMS:
        single, many = costs(streams)
        print(f"| {streams:,} | {single:,.0f} | {many:,.1f} |", flush=True)


if __name__ == "__main__":
    main()
