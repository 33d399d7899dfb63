"""Where a GPU pays: forecasts a second on the CPU and on a device, and the batch from which on the device wins.

    python -m benchmarks.gpu [--hidden 32 64 ...] [--batches 256 1024 ...]

Records are made in memory, one step of each of so many streams a batch, learning on; nothing is decoded, encoded or
sent. On the CPU the compiled loops step where they are installed, on one core. The first batches are not counted: a
season is found, windows are learnt, kernels are compiled.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import numpy as np

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.errors import ConfigError
from streamrnn.records import single_steps
from streamrnn.service.backend import cupy_or_error

HIDDEN, BATCHES = (32, 64, 128, 256, 512), (64, 256, 1024, 4096, 16_384)
WARM, LEAST_SECONDS, LEAST_BATCHES = 40, 3.0, 5  # batches before the clock starts, and what is timed at least
HOUR = 3_600_000


def speed(xp: ModuleType, hidden: int, streams: int) -> float:
    """Forecasts a second, batches of one step of each stream."""
    forecaster, random = Forecaster(ForecastSettings(hidden=hidden), xp), np.random.default_rng(0)
    keys, phase = [b"%d" % i for i in range(streams)], random.uniform(0, 6.28, streams)
    batches = done = 0
    began = 0.0
    while batches < WARM + LEAST_BATCHES or time.perf_counter() - began < LEAST_SECONDS:
        if batches == WARM:
            began = time.perf_counter()
        values = np.sin(batches * 6.283 / 24 + phase) + 0.2 * random.standard_normal(streams)
        times = np.full(streams, batches * HOUR)
        forecaster.forecast(single_steps(keys, times, times, values[:, None], nested=False))
        batches += 1
        done += streams * (batches > WARM)
    return done / (time.perf_counter() - began)


def crossover(batches: Sequence[int], cpu: Sequence[float], gpu: Sequence[float]) -> str:
    """The smallest batch from which on the device is faster."""
    slower = [i for i in range(len(batches)) if gpu[i] <= cpu[i]]
    first = slower[-1] + 1 if slower else 0
    return f"from {batches[first]:,} streams a batch on" if first < len(batches) else "in none of these"


def main() -> None:
    """Read the options, print a table for each number of hidden units."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=HIDDEN)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    given = parser.parse_args()
    try:
        cupy = cupy_or_error("benchmarks.gpu")
    except ConfigError as error:
        sys.exit(str(error))
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    print(f"{device}, CuPy {cupy.__version__}, NumPy {np.__version__}, forecasts a second")
    for hidden in given.hidden:
        cpu, gpu = ([speed(xp, hidden, streams) for streams in given.batches] for xp in (np, cupy))
        print(f"\nH = {hidden:<6}{'streams a batch':>18}{'CPU':>12}{'GPU':>12}{'GPU / CPU':>12}")
        for streams, one, other in zip(given.batches, cpu, gpu, strict=True):
            print(f"{streams:28,}{one:12,.0f}{other:12,.0f}{other / one:12.2f}")
        print(f"the GPU wins {crossover(given.batches, cpu, gpu)}", flush=True)


if __name__ == "__main__":
    main()
