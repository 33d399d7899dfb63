"""How good the forecasts are: errors on public data, each part of the recipe removed in turn, intervals, law 6.

    python -m benchmarks.forecast_quality --data FOLDER [errors] [intervals] [parts] [--readout exact] [--alone]
                                          [--cells NAME ...] [--missing -9999]
    python -m benchmarks.forecast_quality --csv FILE ...          the same defaults on tables of one's own

The defaults of the configuration, the same for all cells; --readout as `model.readout`; --alone: each column is a
stream of its own, else all columns are features of one stream, as `backtest --multivariate` has it. The score is the
mean over origins, horizons and columns of ((forecast - value) / s)², s the standard deviation of the first rows.
"""

import argparse
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from benchmarks.cells import CELLS, Cell, folder_with_data
from benchmarks.judging import intervals_of, squared_error, stretches_that_keep_law_6
from benchmarks.parts import PARTS, linear_alone
from streamrnn.core.backend import Array
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import table_steps
from streamrnn.transport.csv_table import read_csv

CHUNK = 512  # rows
kept_table = cache(read_csv)
PARTS_CELLS = ("ETTh2-H1", "ETTh2-H24", "ETTm1-H1", "Exchange-H1")


def forecasts_of(values: Array, times: Array, horizon: int, readout: str, *, alone: bool) -> Array:
    """Forecasts (T, D, P) made after each row of values (T, D), NaN missing, at times (T,) ms."""
    T, D = values.shape
    settings = ForecastSettings(features=1 if alone else D, horizons=tuple(range(1, horizon + 1)), readout=readout)
    forecaster, names = Forecaster(settings), [b"column %d" % d for d in range(D if alone else 1)]
    made = np.empty((T, D, horizon))
    for first in range(0, T, CHUNK):
        rows = slice(first, first + CHUNK)
        batch = table_steps(names, values[rows], times[rows], multivariate=not alone)
        mean = forecaster.forecast(batch).mean  # (records, P, features)
        made[rows] = mean.transpose(0, 2, 1).reshape(-1, D, horizon)
    return made


@dataclass(frozen=True, slots=True)
class Way:
    """How the cells are run."""

    folder: Path
    readout: str
    alone: bool
    missing: tuple[float, ...]  # declared sentinels

    def table(self, cell: Cell) -> tuple[Array, Array, int, int]:
        """Values with declared sentinels as NaN, times, rows to standardise, first scored target."""
        table = kept_table(self.folder / cell.file)
        train, start, rows = cell.rows(len(table.values))
        values = np.where(np.isin(table.values, self.missing), np.nan, table.values)
        return values[:rows], table.times[:rows], train, start

    def forecasts(self, cell: Cell) -> Array:
        """(T, D, P)."""
        values, times, *_ = self.table(cell)
        return forecasts_of(values, times, cell.horizon, self.readout, alone=self.alone)


@cache
def kept_forecasts(way: Way, cell: Cell) -> tuple[Array, float]:
    """Those of the cell with the whole recipe, and the seconds they took."""
    began = time.perf_counter()
    return way.forecasts(cell), time.perf_counter() - began


def errors(cells: list[Cell], way: Way) -> None:
    """A line a cell: the error beside the rivals', and law 6 at the first or the last horizon, whichever is less."""
    print("cell            error   best rival          persistence    linear published  law 6 kept in  seconds")
    for cell in cells:
        values, _, train, start = way.table(cell)
        made, seconds = kept_forecasts(way, cell)
        error, _ = squared_error(values, made, train, start)
        kept = [stretches_that_keep_law_6(values, made, p + 1, p) for p in sorted({0, cell.horizon - 1})]
        print(
            f"{cell.name:13} {error:7.4f}   {cell.best_rival:7.4f} ({error / cell.best_rival - 1:+6.1%})"
            f"   {cell.persistence:9.4f} {cell.linear:9.4f} {cell.published:9.4f}"
            f"  {min(kept):13.2%} {seconds:8.0f}",
            flush=True,
        )
        if way.missing and way.readout == "exact":
            with linear_alone():
                error, _ = squared_error(values, way.forecasts(cell), train, start)
            print(f"{cell.name:13} {error:7.4f}   by its linear readout alone", flush=True)


def intervals(cells: list[Cell], way: Way) -> None:
    """Four lines a cell and horizon: coverage over all, by series and by stretch; interval scores."""
    print("cell          horizon nominal  covered  repeating  series within 5   any 1,000 steps   score  rival's")
    for cell in cells:
        values, _, _, start = way.table(cell)
        made, _ = kept_forecasts(way, cell)
        for p in sorted({0, cell.horizon - 1}):
            for c in intervals_of(values, made, p + 1, p, start):
                repeating = "        -" if c.repeating is None else f"{c.repeating:9.3f}"
                print(
                    f"{cell.name:13} {p + 1:7} {c.nominal:7} {c.found:8.3f}  {repeating}  {c.within:15.0%}"
                    f"    {c.lowest:.3f} - {c.highest:.3f} {c.score:7.3f} {c.rival:8.3f}",
                    flush=True,
                )


def parts(cells: list[Cell], way: Way) -> None:
    """A line a part: the error of each cell without it, and how much worse that is."""
    print(f"{'without':26}" + "".join(f"{cell.name:>19}" for cell in cells))
    whole: dict[str, float] = {}
    for part, removed in PARTS.items():
        told = ""
        for cell in cells:
            values, _, train, start = way.table(cell)
            with removed():
                error, _ = squared_error(values, way.forecasts(cell), train, start)
            told += f"{error:10.4f} ({error / whole.setdefault(cell.name, error) - 1:+6.1%})"
        print(f"{part:26}{told}", flush=True)


TABLES = {"errors": errors, "intervals": intervals, "parts": parts}


def own_tables(files: list[Path], readout: str, *, alone: bool) -> None:
    """A line a table: one step ahead, beside persistence and the exact linear readout by itself."""
    print("table                 columns    rows    error   persistence          linear alone         law 6 kept in")
    for file in files:
        table = read_csv(file)
        made = forecasts_of(table.values, table.times, 1, readout, alone=alone)
        with linear_alone():
            linear = forecasts_of(table.values, table.times, 1, "exact", alone=alone)
        train = start = max(2, len(table.values) // 5)
        error, *rivals = (
            squared_error(table.values, each, train, start)[0] for each in (made, table.values[:, :, None], linear)
        )
        told = "".join(f"   {rival:7.4f} ({error / rival - 1:+6.1%})" for rival in rivals)
        share = stretches_that_keep_law_6(table.values, made, 1, 0)
        kept = "too short" if np.isnan(share) else f"{share:.2%}"
        size = f"{len(table.names):8} {len(table.values):7}"
        print(f"{file.name:21} {size}  {error:7.4f}{told}  {kept:>14}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help="errors (if none is named), intervals, parts")
    parser.add_argument("--data", type=Path, help="the folder with the public files")
    parser.add_argument("--csv", type=Path, nargs="+", default=[], help="tables of one's own instead")
    parser.add_argument("--readout", choices=("exact", "shared"), default="exact")
    parser.add_argument("--alone", action="store_true", help="each column a stream of its own")
    parser.add_argument("--cells", nargs="+", choices=[cell.name for cell in CELLS])
    parser.add_argument("--missing", type=float, nargs="+", default=[], help="sentinels, left out of the score")
    given = parser.parse_args()
    if unknown := set(given.tables) - set(TABLES):
        parser.error(f"{', '.join(unknown)}: choose among {', '.join(TABLES)}")
    if given.csv:
        own_tables(given.csv, given.readout, alone=given.alone)
        return
    if given.data is None:
        parser.error("--data FOLDER or --csv FILE is needed")
    way = Way(folder_with_data(given.data), given.readout, given.alone, tuple(given.missing))
    for table in given.tables or ["errors"]:
        names = given.cells or (PARTS_CELLS if table == "parts" else [cell.name for cell in CELLS])
        TABLES[table]([cell for cell in CELLS if cell.name in names], way)


if __name__ == "__main__":
    main()
