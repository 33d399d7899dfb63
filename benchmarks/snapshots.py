"""How long a snapshot keeps the forecasts of its partition waiting, and what it costs.

    python -m benchmarks.snapshots [--streams 1000 100000 1000000]

In memory, with the defaults, every stream touched since the snapshot before; the streams are spread over four
partitions, of which one is looked at. While the state is copied nothing is computed. Then it is checked in portions,
between which slices are; the client's share, sending, is on the loop. The next snapshot is due 20 times all of that
later, so that they never take more than a twentieth of the CPU.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np

from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import single_steps
from streamrnn.service.allocation import keep_freed_memory
from streamrnn.service.processor import Processor
from streamrnn.transport.contract import PartitionId

PARTITIONS, ROUNDS = 4, 3
STREAMS = (1000, 100_000, 1_000_000)


def table(numbers: Sequence[int]) -> Iterator[str]:
    """A line for each number of streams: the middle one of three snapshots, after a first one."""
    keep_freed_memory()  # as the daemon does
    yield "| streams | a partition's state | forecasts wait | then at most | CPU without sending |"
    yield "|---:|---:|---:|---:|---:|"
    for streams in numbers:
        made = sorted(_snapshots(streams // PARTITIONS))
        waits, portion, cpu, size = made[len(made) // 2]
        yield (
            f"| {streams:,} | {size / 1e6:,.0f} MB | {1e3 * waits:.1f} ms | {1e3 * portion:.1f} ms "
            f"| {1e3 * cpu:,.0f} ms |"
        )


def _snapshots(streams: int) -> list[tuple[float, float, float, int]]:
    """Of each: seconds of the copy, of the longest portion, of CPU, and bytes."""
    processor = Processor(PartitionId("sensors", 0), ForecastSettings(), InputFormat(), every_step=False)
    keys, random = [b"sensor-%d" % i for i in range(streams)], np.random.default_rng(0)
    made = []
    for step in range(1 + ROUNDS):
        values, offsets = random.standard_normal((streams, 1)), np.arange(streams)
        processor.forecaster.forecast(
            single_steps(keys, offsets, np.full(streams, 1000 * step), values, nested=False)
        )
        began = time.perf_counter()
        captured = processor.capture(step)
        copied, longest = time.perf_counter() - began, 0.0
        while not captured.checked:
            began = time.perf_counter()
            captured.check()
            longest = max(longest, time.perf_counter() - began)
        size = captured.capture.finished().nbytes
        made.append((copied, longest, captured.cpu, size))
        del captured
    return made[1:]


def main() -> None:
    """Read the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="+", default=STREAMS)
    for line in table(parser.parse_args().streams):
        print(line, flush=True)


if __name__ == "__main__":
    main()
