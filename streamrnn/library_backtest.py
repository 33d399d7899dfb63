"""`streamrnn.backtest`: how good the forecasts of a table would have been, from arrays and data frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamrnn.errors import ConfigError
from streamrnn.library import Forecaster
from streamrnn.library_forecasts import as_written, scores_as_written
from streamrnn.library_settings import Chosen
from streamrnn.library_tables import table_of
from streamrnn.service.backtest import backtest as run

STREAM = "data"  # the name of the one stream whose features are the columns


@dataclass(frozen=True, slots=True, repr=False)
class BacktestResult:
    """What came of one: forecasts made after each of R rows, for C columns and P horizons."""

    names: tuple[str, ...]  # of the columns
    times: np.ndarray  # (R,) int64, epoch ms
    horizons: tuple[int, ...]
    values: np.ndarray  # (R, C) float64, NaN missing
    mean: np.ndarray  # (R, C, P) float64, NaN until the column's first value
    lower: np.ndarray
    upper: np.ndarray
    surprise: np.ndarray  # (R, C), with `multivariate` (R, 1); NaN until the score is warm
    anomaly: np.ndarray
    errors: list[dict[str, float | int | None]]  # an entry a horizon, as in `streamrnn backtest --report`
    records_per_second: float
    forecaster: Forecaster  # as it is after the last row, to go on with

    def columns(self) -> dict[str, np.ndarray]:
        """All of it as columns with a row for each cell, row by row: what a data frame is made of."""
        R, C = self.values.shape
        made = {
            "time": np.repeat(self.times.astype("datetime64[ms]"), C),
            "stream": np.tile(np.array(self.names), R),
            "value": self.values.ravel(),
        }
        for p, horizon in enumerate(self.horizons):
            for name in ("mean", "lower", "upper"):
                made[f"{name}_{horizon}"] = getattr(self, name)[:, :, p].ravel()
        for name in ("surprise", "anomaly"):
            made[name] = np.broadcast_to(getattr(self, name), (R, C)).ravel()
        return made

    def __repr__(self) -> str:
        R, C = self.values.shape
        lines = [f"<backtest of {R:,} rows, {C:,} columns; errors in standard deviations of each column"]
        for entry in self.errors:
            told = (f"{name} {'-' if value is None else format(value, '.4g')}" for name, value in entry.items())
            lines.append("  " + ", ".join(told))
        return "\n".join(lines) + ">"


def backtest(
    data: Any,
    horizons: Any = 1,
    *,
    times: Any = None,
    time: str | None = None,
    stream: str | None = None,
    value: str | None = None,
    multivariate: bool = False,
    **settings: Any,
) -> BacktestResult:
    """Forecast after every cell as a Forecaster would have, learning all the while, and tell how good it was.

        streamrnn.backtest(df, horizons=[1, 24], readout="exact").errors

    data: an array (rows,) or (rows, columns), every column a stream; or a data frame of pandas, polars or pyarrow:
    wide, with the times in the first column, in the column `time` or in pandas' index, and every other column a
    stream; or long, with the columns `time`, `stream` and `value`, of which a table is made with a row for each time:
    what lacks in it is missing. times (rows,): where no column has them; an array without them has a row a second.
    multivariate: the columns are the features of one stream, named "data". settings: those of Forecaster. Raises
    ConfigError, RecordError.
    """
    if "features" in settings:
        raise ConfigError(
            "argument features: is told by data. Pass multivariate=True where its columns are features of one stream"
        )
    table = table_of(data, times=times, time=time, stream=stream, value=value)
    chosen = Chosen.by({**settings, "horizons": horizons, "features": len(table.names) if multivariate else 1})
    made = run(
        table,
        chosen.settings,
        topic="",
        stem=STREAM,
        multivariate=multivariate,
        keep=len(table.values),
        initial=chosen.initial,
        xp=chosen.xp,
    )
    kept = made.kept
    mean, lower, upper = as_written(kept.mean, kept.lower, kept.upper)
    return BacktestResult(
        names=table.names,
        times=table.times,
        horizons=chosen.settings.horizons,
        values=table.values,
        mean=mean,
        lower=lower,
        upper=upper,
        surprise=scores_as_written(kept.surprise),
        anomaly=scores_as_written(kept.anomaly),
        errors=made.score.report(),
        records_per_second=made.records / max(made.seconds, 1e-9),
        forecaster=Forecaster.of_engine(made.forecaster),
    )
