"""A table's forecasts, row by row, by the very Forecaster that the daemon runs."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import BinaryIO

import numpy as np

from streamrnn.engine.encoder import Encoder
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.warm_start import begin_with
from streamrnn.errors import RecordError
from streamrnn.records import ForecastBatch, table_steps
from streamrnn.service.plot import Panel
from streamrnn.service.score import Score, season_of
from streamrnn.transport.csv_table import CsvTable

CHUNK = 4096  # records
ANOMALOUS = 0.999  # and above: a new incident


@dataclass(slots=True)
class Backtest:
    """What came of one."""

    score: Score
    recent: np.ndarray  # (r, 3, P): lower, mean, upper of the first column's last rows, for a plot
    anomaly: np.ndarray  # (r,) of the same rows
    records: int
    seconds: float
    forecaster: Forecaster  # as it is after the last row


def backtest(
    table: CsvTable,
    settings: ForecastSettings,
    *,
    topic: str,
    stem: str,
    multivariate: bool,
    output: BinaryIO | None = None,
    keep: int = 0,
    initial: Mapping[str, np.ndarray] | None = None,
    xp: ModuleType = np,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Backtest:
    """Forecast after every cell (after every row with `multivariate`), score it, and write one line each.

    keep: rows of the first column's forecasts that are kept for a plot; initial: what a trained model passes on;
    xp: where the arrays live; on_rows: told the rows done.
    """
    began = time.perf_counter()
    names = [stem.encode()] if multivariate else [name.encode() for name in table.names]
    for name in names:
        if not 1 <= len(name) <= 256:
            raise RecordError("validate", f"the stream's name {name!r} has {len(name)} bytes, expected 1 to 256")
    forecaster, encoder = Forecaster(settings, xp), Encoder(topic, 0, settings.horizons)
    if initial is not None:
        begin_with(forecaster, initial)
    values = table.values
    if settings.missing:
        values = np.where(np.isin(values, settings.missing), np.nan, values)
    score = Score(values, settings.horizons, season_of(table.times))
    recent: list[tuple[np.ndarray, np.ndarray]] = []
    for first, stop in _chunks(len(values), len(names)):
        rows = slice(first, stop)
        batch = table_steps(names, table.values[rows], table.times[rows], multivariate=multivariate, first=first)
        made = forecaster.forecast(batch)
        if output is not None:
            lines = encoder.encode(batch, made)
            output.write(b"\n".join(line or b"" for line in lines) + b"\n")
        lower, mean, upper = _by_column(made, stop - first)
        score.add(first, mean, lower, upper)
        if keep:
            bounds = np.stack([lower[:, 0], mean[:, 0], upper[:, 0]], axis=1)
            recent = [*recent, (bounds, made.anomaly[:: len(names)])]
            recent = recent[-(1 + keep * len(names) // CHUNK + 1) :]
        on_rows(stop)
    none = np.zeros((0, 3, len(settings.horizons))), np.zeros(0)
    kept, anomaly = (np.concatenate(each)[-keep:] for each in zip(*recent, strict=True)) if recent else none
    records = len(values) * len(names)
    return Backtest(score, kept, anomaly, records, time.perf_counter() - began, forecaster)


def last_rows(made: Backtest, table: CsvTable, settings: ForecastSettings, title: str) -> Panel:
    """A picture's panel of the first column, for its first horizon, with what was kept."""
    horizon, kept = settings.horizons[0], len(made.recent)
    told = max(0, kept - horizon)  # rows of which there is a forecast
    rows = slice(len(table.values) - told, None)
    return Panel(
        title=f"{title}, {horizon} step{'s' * (horizon > 1)} ahead",
        label=table.names[0],
        times=table.times[rows],
        values=table.values[rows, 0],
        bounds=made.recent[:told, :, 0],
        odd=made.anomaly[kept - told :] >= ANOMALOUS,
        coverage=settings.coverage,
    )


def _chunks(rows: int, streams: int) -> Iterator[tuple[int, int]]:
    size = max(1, CHUNK // streams)
    return ((first, min(rows, first + size)) for first in range(0, rows, size))


def _by_column(made: ForecastBatch, rows: int) -> list[np.ndarray]:
    """(r, C, P) each: the records of a row are its columns, or its one record holds them as features."""
    P = made.mean.shape[1]
    return [getattr(made, name).transpose(0, 2, 1).reshape(rows, -1, P) for name in ("lower", "mean", "upper")]
