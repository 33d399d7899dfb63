"""Writes snapshot-VERSION.safetensors: a snapshot of this version and how it goes on, for later versions to read.

    python -m tests.reference.make_snapshot

Run it once for each release; what is there stays. A version that cannot read one of them needs a new FORMAT, and a
word in the changelog that state is built anew.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from streamrnn import __version__
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotWriter
from streamrnn.records import RecordBatch, single_steps

SETTINGS = ForecastSettings(hidden=4, window=8, horizons=(1, 3), max_streams=100)
BEFORE, AFTER, STREAMS = 200, 60, 3  # steps of each stream


def steps(first: int, stop: int) -> RecordBatch:
    """Oscillations with some noise, an hour between two steps, so that there is a season of a day."""
    values = np.random.default_rng(1).normal(scale=0.1, size=(BEFORE + AFTER, STREAMS))
    at = np.arange(BEFORE + AFTER)[:, None]
    values = (values + np.sin(at * 2 * np.pi / 24 + np.arange(STREAMS)))[first:stop]
    offsets = np.arange(first * STREAMS, stop * STREAMS)
    times = np.repeat(np.arange(first, stop) * 3_600_000, STREAMS)
    names = [b"s%d" % i for i in range(STREAMS)] * (stop - first)
    return single_steps(names, offsets, times, values.reshape(-1, 1), nested=False)


def main() -> None:
    """Live, capture, go on."""
    forecaster = Forecaster(SETTINGS)
    forecaster.forecast(steps(0, BEFORE))
    pages = SnapshotWriter(forecaster).capture(BEFORE * STREAMS)
    stored = {f"page.{key}": np.frombuffer(page, np.uint8) for key, page in pages.pages.items()}
    stored["header"] = np.frombuffer(pages.header, np.uint8)
    made = forecaster.forecast(steps(BEFORE, BEFORE + AFTER))
    for name in ("mean", "lower", "upper", "anomaly"):
        stored[f"after.{name}"] = getattr(made, name)
    save_file(stored, Path(__file__).with_name(f"snapshot-{__version__}.safetensors"))


if __name__ == "__main__":
    main()
