"""Where the microseconds of a record go, from its bytes to those of its forecast.

    python -m benchmarks.record_profile [--streams 100000] [--records 409600]

In memory, on one core, learning on, with the defaults: plain NumPy and the compiled loops side by side. A part's time
is that of its functions, measured while all of it runs. The client's share (fetching, sending, commits) is what
benchmarks/pass_through.py needs for the same records; end_to_end.py adds it.
"""

import argparse
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.recipe_cost import Part, clocked
from streamrnn.core import anomaly, intervals, mixture
from streamrnn.engine import series_step
from streamrnn.engine.compiled import compiler
from streamrnn.engine.compiled import walk as loops
from streamrnn.engine.decoder import Decoder
from streamrnn.engine.encoder import Encoder
from streamrnn.engine.readouts import ExactReadout, Readouts, SharedReadouts
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.season_search import SeasonSearch
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.shared_model import SharedModel
from streamrnn.engine.stream_table import StreamTable
from streamrnn.service.allocation import keep_freed_memory
from streamrnn.service.processor import Processor
from streamrnn.transport.contract import PartitionId, RawBatch

SLICE = 4096
LONGEST_PAST = 16  # steps in the first record of a stream, at most
REST = "the rest"
PARTS: tuple[Part, ...] = (
    ("parse", Decoder, ("decode",)),
    ("key to row", StreamTable, ("slots",)),
    ("gather and scatter", StreamTable, ("gather", "scatter")),
    ("scale, season, features", series_step, ("take_in", "seasonal", "linear_features", "panel", "network_inputs")),
    ("anomaly", anomaly, ("judge",)),
    ("readouts", ExactReadout, ("predict", "learn")),
    ("readouts", SharedReadouts, ("predict", "learn", "directions")),
    ("readouts", Readouts, ("predict", "learn")),
    ("network", SharedModel, ("step",)),
    ("mixture", mixture, ("mix", "learn", "shock")),
    ("intervals", intervals, ("bounds", "learn")),
    ("windows", series_step, ("remember_inputs", "remember_targets")),
    ("windows", SharedModel, ("collect",)),
    ("all of a series' step, in loops", loops, ("_walk",)),
    ("truncated back-propagation", SharedModel, ("_update",)),
    ("what streams share", SharedModel, ("contribute", "learn")),
    ("what streams share", SeasonSearch, ("remember", "look")),
    ("encode", Encoder, ("encode",)),
    (REST, Processor, ("process",)),
)


def profile(streams: int, records: int, *, numpy: bool) -> dict[str, float]:
    """Microseconds a record of each part, and of all of it."""
    keep_freed_memory()  # as the daemon does
    random = np.random.default_rng(0)
    phase, keys = random.uniform(0, 6.28, streams), [b"sensor-%d" % i for i in range(streams)]
    lengths = random.integers(1, LONGEST_PAST + 1, streams)

    def slices(texts: Callable[[range], list[bytes | None]], total: int) -> Any:
        for first in range(0, total, SLICE):
            numbers = range(first, min(first + SLICE, total))
            names: list[bytes | None] = [keys[i % streams] for i in numbers]
            stamps = [1000 * (i // streams) for i in numbers]
            yield RawBatch(list(numbers), stamps, names, texts(numbers), [()] * len(names), numbers.stop)

    def pasts(numbers: range) -> list[bytes | None]:
        rows = [np.sin(phase[i] + np.arange(lengths[i]) / 3.8).round(3).tolist() for i in numbers]
        return [b'{"values":[%b]}' % b",".join([b"[%r]" % value for value in row]) for row in rows]

    def singles(numbers: range) -> list[bytes | None]:
        i = np.arange(numbers.start, numbers.stop)
        wave = np.sin(phase[i % streams] + i // streams / 3.8) + 0.2 * random.standard_normal(len(i))
        return [b'{"value":%r}' % value for value in wave.round(3).tolist()]

    with patch.object(compiler, "AVAILABLE", compiler.AVAILABLE and not numpy):
        processor = Processor(PartitionId("sensors", 0), ForecastSettings(), InputFormat(), every_step=False)
        for each in slices(pasts, streams):
            processor.process(each, 1 << 20)
        waiting = list(slices(singles, records))
        with clocked(PARTS) as clock:
            for each in waiting:
                processor.process(each, 1 << 20)
    return {part: 1e6 * seconds / records for part, seconds in clock.spent.items()}


def table(streams: int, records: int) -> list[str]:
    """Lines of a table: parts, microseconds of each way."""
    ways = [profile(streams, records, numpy=True)]
    if compiler.AVAILABLE:
        ways.append(profile(streams, records, numpy=False))
    lines = ["| µs a record | plain NumPy |" + " compiled |" * (len(ways) - 1), "|---|" + "---:|" * len(ways)]
    for part in dict.fromkeys(part for part, _, _ in PARTS):
        cells = [f"{way[part]:.2f}" if part in way else "" for way in ways]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines.append("| all of it | " + " | ".join(f"{sum(way.values()):.2f}" for way in ways) + " |")
    return lines


def main() -> None:
    """Read the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--records", type=int, default=100 * SLICE)
    given = parser.parse_args()
    print(*table(given.streams, given.records), sep="\n")


if __name__ == "__main__":
    main()
