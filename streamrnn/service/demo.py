"""The demo: a year of real weather through the real task loop, from file to file, then a look at what came of it."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import as_file
from pathlib import Path

import numpy as np
import orjson

from streamrnn.data import WEATHER
from streamrnn.errors import StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.backtest import ANOMALOUS
from streamrnn.service.linear_rival import linear_forecasts
from streamrnn.service.quantities import Horizons
from streamrnn.service.score import Score, season_of
from streamrnn.service.settings import Config, FileSettings, ForecastSettings
from streamrnn.transport.csv_table import CsvTable, read_csv

HORIZONS = (1, 24)
COVERAGE = 0.9
POLL = 0.1


@dataclass(slots=True)
class Demo:
    """What a pass over the data gave."""

    table: CsvTable
    score: Score
    bounds: np.ndarray  # (R, C, P, 3) lower, mean, upper
    anomaly: np.ndarray  # (R, C), NaN before the score is warm
    forecasts: int
    seconds: float

    def incidents(self) -> list[tuple[int, int]]:
        """Row and column of each cell at or above ANOMALOUS, the most anomalous first."""
        found = np.argwhere(self.anomaly >= ANOMALOUS)  # NaN never is
        return [(int(row), int(column)) for row, column in found[np.argsort(-self.anomaly[tuple(found.T)])]]


def configuration(folder: Path) -> Config:
    """The demo's: the defaults, from file to file, one hour and one day ahead."""
    return Config(
        app_id="demo",
        transport="file",
        file=FileSettings(
            input=str(folder / "weather.jsonl"),
            output=str(folder / "forecasts.jsonl"),
            state=str(folder / "state"),
        ),
        forecast=ForecastSettings(horizons=Horizons(HORIZONS), coverage=COVERAGE),
    )


def weather() -> CsvTable:
    """The data that come with the package."""
    with as_file(WEATHER) as path:
        return read_csv(path)


def run_once(table: CsvTable, on_records: Callable[[int], None]) -> Demo:
    """Replay the table through a worker over files; on_records is told the records done."""
    with tempfile.TemporaryDirectory(prefix="streamrnn-demo-") as name:
        config = configuration(Path(name))
        write_lines(table, Path(config.file.input))
        began = time.perf_counter()
        asyncio.run(_work(config, on_records))
        seconds = time.perf_counter() - began
        bounds, anomaly = read_forecasts(Path(config.file.output), table)
    score = Score(table.values, HORIZONS, season_of(table.times), rivals=("linear",))
    linear = linear_forecasts(table.values, score.held, HORIZONS, score.season)
    score.add(0, bounds[..., 1], bounds[..., 0], bounds[..., 2], linear=linear)
    return Demo(table, score, bounds, anomaly, table.values.size, seconds)


def write_lines(table: CsvTable, path: Path) -> None:
    """The table as the file transport reads it: a line a cell, row by row."""
    names = [orjson.dumps(name).decode() for name in table.names]
    with path.open("w") as file:
        for moment, row in zip(table.times.tolist(), table.values.tolist(), strict=True):
            file.writelines(
                f'{{"stream":{name},"time":{moment},"value":{"null" if value != value else value}}}\n'
                for name, value in zip(names, row, strict=True)
            )


def read_forecasts(path: Path, table: CsvTable) -> tuple[np.ndarray, np.ndarray]:
    """What the worker wrote: (R, C, P, 3) lower, mean, upper, and the anomalies (R, C).

    Raises StreamRNNError where it was told to stop before the end.
    """
    with path.open("rb") as file:
        lines = [orjson.loads(line) for line in file]
    if len(lines) < table.values.size:
        raise StreamRNNError(f"the demo was stopped after {len(lines):,} of {table.values.size:,} records")
    made = np.array([[line["lower"], line["mean"], line["upper"]] for line in lines], float)  # (R·C, 3, P)
    bounds = made.reshape(*table.values.shape, 3, -1).transpose(0, 1, 3, 2)
    return bounds, np.array([line["anomaly"] for line in lines], float).reshape(table.values.shape)


async def _work(config: Config, on_records: Callable[[int], None]) -> None:
    worker = assembly.worker(config, http=False)

    async def watch() -> None:
        while True:
            await asyncio.sleep(POLL)
            on_records(sum(task.position or 0 for task in worker.tasks.values()))

    watching = asyncio.create_task(watch())
    try:
        await worker.run()
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
