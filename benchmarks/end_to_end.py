"""All figures of speed, in one run: `make benchmark`. They are printed and written into docs/performance.md.

    python -m benchmarks.end_to_end [--only PART ...] [--write PAGE]

Each part is a program of its own beside this one, which says what it measures and how. The parts run one after the
other, so that none disturbs another; nothing else should run on the machine.
"""

import argparse
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks import (
    backtests,
    latency,
    long_runs,
    record_profile,
    rival_speeds,
    snapshots,
    speed_picture,
    throughput,
)

BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"
PICTURE = Path("pictures") / "speed.png"  # beside the page
RESTORED = [1000, 100_000, 1_000_000]


def machine() -> str:
    """What it runs on, in a line."""
    cpuinfo, memory = Path("/proc/cpuinfo").read_text(), Path("/proc/meminfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    gib = int(re.search(r"MemTotal:\s*(\d+)", memory).group(1)) / 2**20  # type: ignore[union-attr]
    return (
        f"{model.group(1) if model else platform.machine()}, {os.cpu_count()} cores, {gib:.0f} GiB, "
        f"Python {platform.python_version()}, NumPy {np.__version__}"
    )


def throughput_part() -> Iterator[str]:
    """Cases beside the bare pass-through."""
    with throughput.kafka() as broker:
        measured = throughput.Throughput(broker)
        yield from throughput.HEAD
        for case in throughput.CASES:
            yield str(measured.measure(case))


def latency_part() -> Iterator[str]:
    """By commit interval and rate."""
    with throughput.kafka() as broker:
        yield from latency.HEAD
        for interval in latency.INTERVALS:
            yield from map(str, latency.latencies(broker, interval, latency.RATES, latency.SECONDS))


def profile_part() -> Iterator[str]:
    """Microseconds of a record."""
    yield from record_profile.table(100_000, 100 * record_profile.SLICE)


def recovery_part() -> Iterator[str]:
    """Starts, and the rate of a replay."""
    yield from long_runs.recovery(RESTORED)
    yield ""
    yield from long_runs.replay(100_000, 1_000_000)


PARTS: dict[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "throughput": ("Forecasts a second", throughput_part),
    "rivals": ("Beside others", rival_speeds.table),
    "latency": ("From a record to its forecast", latency_part),
    "profile": ("Where a record's time goes", profile_part),
    "backtests": ("Backtests", lambda: backtests.table(backtests.COLUMNS, backtests.VALUES)),
    "snapshots": ("Snapshots", lambda: snapshots.table(snapshots.STREAMS)),
    "recovery": ("Coming back", recovery_part),
}


def written(path: Path, figures: str) -> None:
    """Put the figures where the page has its marks."""
    before, _, rest = path.read_text().partition(BEGIN)
    path.write_text(before + BEGIN + figures + END + rest.partition(END)[2])


def main() -> None:
    """Run the parts asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", type=Path, help="a page with the marks for figures")
    given = parser.parse_args()
    print(machine(), flush=True)
    printed: dict[str, list[str]] = {}
    for name in given.only:
        title, part = PARTS[name]
        began = time.perf_counter()
        print(f"\n### {title}\n", flush=True)
        printed[name] = []
        for line in part():
            printed[name].append(line)
            print(line, flush=True)
        print(f"({time.perf_counter() - began:.0f} s)", flush=True)
    if given.write:
        chapters = [f"### {PARTS[name][0]}\n\n" + "\n".join(lines) + "\n" for name, lines in printed.items()]
        if {"throughput", "rivals"} <= printed.keys():
            picture = given.write.parent / PICTURE
            speed_picture.draw(picture, *(speed_picture.rates(printed[name]) for name in ("throughput", "rivals")))
            chapters.insert(0, f"![Forecasts a second]({PICTURE})\n")
        written(given.write, "\n".join([f"{machine()}.\n", *chapters]))


if __name__ == "__main__":
    main()
