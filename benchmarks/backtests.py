"""Values a second of a backtest of a wide table, by the compiled loops and in plain NumPy.

    python -m benchmarks.backtests [--columns 7 1000] [--values 100000]

One step ahead, with the defaults (whose readout is shared by all streams) and with the exact readout of
config/score.yaml; errors are counted, forecasts are written down nowhere. One core.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from unittest.mock import patch

import numpy as np

from streamrnn.engine.compiled import compiler
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_up import warm_up
from streamrnn.service.allocation import keep_freed_memory
from streamrnn.service.backtest import backtest
from streamrnn.transport.csv_table import CsvTable

HOUR_MS = 3_600_000
COLUMNS, VALUES = (7, 1000), 200_000


def table(columns: Sequence[int], values: int) -> Iterator[str]:
    """A line for each width and readout."""
    keep_freed_memory()  # as the command does
    yield "| columns | readout | compiled, values/s | plain NumPy, values/s |"
    yield "|---:|---|---:|---:|"
    for width in columns:
        for readout in ("shared", "exact"):
            rates = [f"{_rate(width, values, readout, numpy=numpy):,.0f}" for numpy in (False, True)]
            yield f"| {width:,} | {readout} | {' | '.join(rates)} |"


def _rate(width: int, values: int, readout: str, *, numpy: bool) -> float:
    """Values a second of one run."""
    if not numpy and not compiler.AVAILABLE:
        return float("nan")
    rows, random = values // width, np.random.default_rng(0)
    daily = 5.0 * np.sin(np.arange(rows)[:, None] * (2 * np.pi / 24) + random.uniform(0, 6, width))
    made = CsvTable(
        tuple(f"column{i}" for i in range(width)),
        HOUR_MS * np.arange(rows),
        daily + np.cumsum(random.standard_normal((rows, width)), axis=0),
    )
    settings = ForecastSettings(readout=readout)
    with patch.object(compiler, "AVAILABLE", compiler.AVAILABLE and not numpy):
        warm_up(settings, np)
        began = time.perf_counter()
        backtest(made, settings, topic="table", stem="table", multivariate=False)
        return rows * width / (time.perf_counter() - began)


def main() -> None:
    """Read the options, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, nargs="+", default=COLUMNS)
    parser.add_argument("--values", type=int, default=VALUES)
    given = parser.parse_args()
    for line in table(given.columns, given.values):
        print(line, flush=True)


if __name__ == "__main__":
    main()
