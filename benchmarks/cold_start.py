"""How well streams are forecast that appear late: their first records, beside persistence.

    python -m benchmarks.cold_start [--csv FILE ...]      without a file: the weather that comes with the package

Every other column is a stream from the first row on. The others appear at three later rows, each time under new
names. "late": in the company of the old streams, from what those have taught; "trained": in a process of their own,
which begins with a model learnt from the old streams (`train`, `model.initial`); "alone": without it.
"""

import argparse
from pathlib import Path

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_start import begin_with, learnt
from streamrnn.records import table_steps
from streamrnn.service.demo import weather
from streamrnn.service.score import held
from streamrnn.transport.csv_table import read_csv

APPEAR = (1000, 1800, 2600)  # rows
ROWS = 400  # that a late stream lives
SPANS = ((0, 5), (5, 12), (12, 25), (25, 50), (0, 50), (50, 150), (150, 400))


def fed(forecaster: Forecaster, names: list[bytes], values: Array, times: Array) -> Array:
    """Forecasts (T, D) of one step ahead made after each row of values (T, D)."""
    return forecaster.forecast(table_steps(names, values, times)).mean[:, 0, 0].reshape(values.shape)


def late_streams(values: Array, times: Array) -> tuple[Array, dict[str, Array]]:
    """The late streams' values and their forecasts by the way they began: (ROWS, D') each."""
    old, new = values[:, ::2], values[:, 1::2]
    forecaster, done = Forecaster(ForecastSettings()), 0
    truth: list[Array] = []
    made: dict[str, list[Array]] = {"late": [], "trained": [], "alone": []}
    known = [b"old %d" % d for d in range(old.shape[1])]
    for row in APPEAR:
        fed(forecaster, known, old[done:row], times[done:row])
        done = row + ROWS
        lived, when = slice(row, done), times[row:done]
        names = [b"from row %d: %d" % (row, d) for d in range(new.shape[1])]
        trained = Forecaster(ForecastSettings())
        begin_with(trained, learnt(forecaster))
        both = np.concatenate([old[lived], new[lived]], axis=1)
        made["late"].append(fed(forecaster, known + names, both, when)[:, len(known) :])
        made["trained"].append(fed(trained, names, new[lived], when))
        made["alone"].append(fed(Forecaster(ForecastSettings()), names, new[lived], when))
        truth.append(new[lived])
    return np.concatenate(truth, 1), {way: np.concatenate(each, 1) for way, each in made.items()}


def beside_persistence(truth: Array, made: Array, first: int, stop: int) -> float:
    """Squared error over persistence's, of the forecasts made at a stream's records first .. stop - 1."""
    size = np.nanstd(truth, axis=0)
    error, naive = ((forecast[:-1] - truth[1:]) / size for forecast in (made, held(truth)))
    known = ~np.isnan(error) & ~np.isnan(naive)
    known[:first] = known[stop:] = False
    return float((error[known] ** 2).sum() / (naive[known] ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, nargs="+", default=[])
    given = parser.parse_args()
    tables = {file.stem: read_csv(file) for file in given.csv} or {"weather": weather()}
    print("squared error over persistence's at records" + "".join(f"{f'{a}-{b}':>9}" for a, b in SPANS))
    for name, table in tables.items():
        truth, made = late_streams(table.values[:3000], table.times[:3000])
        for way, forecasts in made.items():
            told = "".join(f"{beside_persistence(truth, forecasts, *span):9.3f}" for span in SPANS)
            print(f"{name:20} {way:22}{told}", flush=True)


if __name__ == "__main__":
    main()
