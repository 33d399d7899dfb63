"""Where the time of a step goes: each part of the recipe, and what the whole costs above the network itself.

    python -m benchmarks.recipe_cost [--streams 256] [--steps 400] [--horizon 1] [--features 1] [--readout shared]

All streams step together, on one core, in plain NumPy. A part's time is that of its functions, measured inside the
forecaster while it runs (the clock costs under 1 % of it); the least of five runs, so that a busy machine does not
count. What the network needs for itself: its inputs, its step, its windows and their truncated back-propagation.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np

from streamrnn.core import anomaly, intervals, mixture
from streamrnn.engine import forecaster, series_step, waves
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.readouts import ExactReadout, Readouts, SharedReadouts
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.shared_model import SharedModel
from streamrnn.engine.stream_table import StreamTable
from streamrnn.records import single_steps

HOUR_MS = 3_600_000
WARM = 200  # steps before the clock starts: a season is found, windows are learnt
RUNS = 5
NETWORK = "network"
Part = tuple[str, Any, tuple[str, ...]]  # what it is called, and the functions that are it
PARTS: tuple[Part, ...] = (
    ("scale, levels", series_step, ("take_in",)),
    ("season, profiles", series_step, ("seasonal",)),
    ("features", series_step, ("linear_features", "panel")),
    ("exact readouts", ExactReadout, ("predict", "learn")),
    ("shared readouts", SharedReadouts, ("predict", "learn", "fold")),
    ("mixture", mixture, ("mix", "learn", "shock")),
    ("pooled standing", SharedModel, ("contribute",)),
    ("intervals", intervals, ("bounds", "learn")),
    ("anomaly", anomaly, ("judge",)),
    ("gather and scatter", StreamTable, ("gather", "scatter")),
    (NETWORK, SharedModel, ("step", "collect", "_update")),
    (NETWORK, series_step, ("network_inputs", "remember_inputs", "remember_targets")),
    ("labels, rings, the rest", waves, ("step_series",)),
    ("labels, rings, the rest", Readouts, ("predict", "learn")),
)


class Clock:
    """Time spent in each part, less that of the parts inside it."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._inside = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts for this part."""

        def call(*given: Any, **named: Any) -> Any:
            self._inside.append(0.0)
            began = time.perf_counter()
            made = function(*given, **named)
            took = time.perf_counter() - began
            self.spent[part] = self.spent.get(part, 0.0) + took - self._inside.pop()
            self._inside[-1] += took
            return made

        return call


@contextmanager
def clocked(parts: Sequence[Part]) -> Iterator[Clock]:
    """All parts timed."""
    clock = Clock()
    with ExitStack() as stack:
        for part, owner, names in parts:
            for name in names:
                stack.enter_context(patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        yield clock


def measured(streams: int, steps: int, settings: ForecastSettings) -> dict[str, float]:
    """Microseconds a series-step of each part, the least of five runs."""
    random, D = np.random.default_rng(0), settings.features
    phase, keys = random.uniform(0, 6.28, (streams, D)), [b"stream-%d" % i for i in range(streams)]
    with patch.object(forecaster, "fastest_way", lambda _: waves.in_waves):
        made = Forecaster(settings)
    step = 0

    def go_on(count: int) -> None:
        nonlocal step
        for _ in range(count):
            values = np.sin(step * 6.283 / 24 + phase) + 0.2 * random.standard_normal((streams, D))
            times = np.full(streams, step * HOUR_MS)
            made.forecast(single_steps(keys, np.full(streams, step), times, values, nested=False))
            step += 1

    go_on(WARM)
    runs = []
    for _ in range(RUNS):
        with clocked(PARTS) as clock:
            go_on(steps // RUNS)
        runs.append({part: 1e6 * s / (streams * D * (steps // RUNS)) for part, s in clock.spent.items()})
    return {part: min(run[part] for run in runs) for part in runs[0]}


def main() -> None:
    """Read the options, print a line a part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=256)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--horizon", type=int, default=1)
    parser.add_argument("--features", type=int, default=1)
    parser.add_argument("--readout", choices=("shared", "exact"), default="shared")
    given = parser.parse_args()
    horizons = tuple(range(1, given.horizon + 1))
    settings = ForecastSettings(features=given.features, horizons=horizons, readout=given.readout)
    spent = measured(given.streams, given.steps, settings)
    print(f"{given.streams} streams of {given.features}, horizons 1-{given.horizon}, {given.readout} readout")
    for part in dict.fromkeys(part for part, _, _ in PARTS):
        if part != NETWORK:
            print(f"{part:26}{spent[part]:8.2f} µs a step of a series")
    above = sum(spent.values()) - spent[NETWORK]
    print(f"{'the recipe':26}{above:8.2f} µs above the network's own {spent[NETWORK]:.2f}, learning included")


if __name__ == "__main__":
    main()
