"""A table's forecasts, row by row, by the very Forecaster that the daemon runs."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
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
class Rows:
    """Forecasts made after r rows of a table of C columns: those of C streams, or the features of one (S = 1)."""

    lower: np.ndarray  # (r, C, P)
    mean: np.ndarray
    upper: np.ndarray
    surprise: np.ndarray  # (r, S)
    anomaly: np.ndarray

    @classmethod
    def of(cls, made: ForecastBatch, rows: int) -> "Rows":
        """The records of a row are its columns, or its one record holds them as features."""
        P = made.mean.shape[1]
        bounds = (each.transpose(0, 2, 1).reshape(rows, -1, P) for each in (made.lower, made.mean, made.upper))
        return cls(*bounds, *(score.reshape(rows, -1) for score in (made.surprise, made.anomaly)))

    @classmethod
    def none(cls, columns: int, streams: int, horizons: int) -> "Rows":
        """Of no row."""
        bounds = (np.zeros((0, columns, horizons)) for _ in range(3))
        return cls(*bounds, *(np.zeros((0, streams)) for _ in range(2)))

    @classmethod
    def last(cls, parts: list["Rows"], rows: int) -> "Rows":
        """The last rows of all these parts together."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts])[-rows:] for each in fields(cls)))


@dataclass(slots=True)
class Backtest:
    """What came of one."""

    score: Score
    kept: Rows  # those of the last `keep` rows
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

    keep: how many of the last rows' forecasts are kept; initial: what a trained model passes on;
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
    recent = [Rows.none(len(table.names), len(names), len(settings.horizons))]
    size = max(1, CHUNK // len(names))
    for first in range(0, len(values), size):
        stop = min(len(values), first + size)
        rows = slice(first, stop)
        batch = table_steps(names, table.values[rows], table.times[rows], multivariate=multivariate, first=first)
        made = forecaster.forecast(batch)
        if output is not None:
            lines = encoder.encode(batch, made)
            output.write(b"\n".join(line or b"" for line in lines) + b"\n")
        by_row = Rows.of(made, stop - first)
        score.add(first, by_row.mean, by_row.lower, by_row.upper)
        if keep:
            recent.append(by_row)
            del recent[: -(keep // size + 2)]
        on_rows(stop)
    return Backtest(score, Rows.last(recent, keep), len(values) * len(names), time.perf_counter() - began, forecaster)


def last_rows(made: Backtest, table: CsvTable, settings: ForecastSettings, title: str) -> Panel:
    """A picture's panel of the first column, for its first horizon, with what was kept."""
    horizon, kept = settings.horizons[0], made.kept
    told = max(0, len(kept.mean) - horizon)  # rows of which there is a forecast
    rows = slice(len(table.values) - told, None)
    return Panel(
        title=f"{title}, {horizon} step{'s' * (horizon > 1)} ahead",
        label=table.names[0],
        times=table.times[rows],
        values=table.values[rows, 0],
        bounds=np.stack([bound[:told, 0, 0] for bound in (kept.lower, kept.mean, kept.upper)], axis=1),
        odd=kept.anomaly[len(kept.anomaly) - told :, 0] >= ANOMALOUS,
        coverage=settings.coverage,
    )
