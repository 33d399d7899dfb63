"""How good forecasts were, told afterwards from the values that came: beside persistence and the seasonal naive.

Errors are in units of each column's standard deviation over the whole table, so that columns can be averaged.
"""

from dataclasses import dataclass, field

import numpy as np

DAY = 86_400_000


def season_of(times: np.ndarray) -> int | None:
    """Rows a day, where the table's steps divide a day; None where a day has no season to speak of."""
    if len(times) < 2:
        return None
    step = int(np.median(np.diff(times)))
    return DAY // step if step > 0 and DAY % step == 0 and 2 <= DAY // step <= 1440 else None


def held(values: np.ndarray) -> np.ndarray:
    """Each column with its last value in place of a missing one: (R, C) -> (R, C)."""
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


@dataclass(slots=True)
class Sums:
    """Sums over forecasts, by horizon and column (P, C)."""

    count: np.ndarray
    squared: np.ndarray
    absolute: np.ndarray
    covered: np.ndarray
    width: np.ndarray


@dataclass
class Score:
    """Scores a table's forecasts, chunk of rows by chunk of rows."""

    values: np.ndarray  # (R, C), NaN missing
    horizons: tuple[int, ...]
    season: int | None
    rivals: tuple[str, ...] = ()  # whose forecasts are given to `add` beside ours
    sums: dict[str, Sums] = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.horizons), self.values.shape[1])
        names = ["forecast", "persistence", *(["seasonal"] if self.season else []), *self.rivals]
        self.sums = {name: Sums(*(np.zeros(shape) for _ in range(5))) for name in names}
        known = ~np.isnan(self.values)
        spread = (
            np.nanstd(np.where(known.any(0), self.values, 0.0), axis=0) if len(self.values) else np.ones(shape[1])
        )
        self.scale = np.where(spread > 0, spread, 1.0)
        self.held = held(self.values)

    def add(self, first: int, mean: np.ndarray, lower: np.ndarray, upper: np.ndarray, **rivals: np.ndarray) -> None:
        """Forecasts (r, C, P) made after the rows first .. first + r - 1, and those of the rivals."""
        for p, h in enumerate(self.horizons):
            rows = np.arange(first, min(first + len(mean), len(self.values) - h))
            truth, made = self.values[rows + h], slice(0, len(rows))
            forecast = {"forecast": mean[made, :, p], "persistence": self.held[rows]}
            if self.season:
                back = rows + h - self.season * -(-h // self.season)
                seasonal = np.where(back[:, None] >= 0, self.held[np.maximum(back, 0)], np.nan)
                forecast["seasonal"] = np.where(np.isnan(seasonal), self.held[rows], seasonal)
            forecast |= {name: rivals[name][made, :, p] for name in self.rivals}
            known = ~np.isnan(truth) & ~np.isnan(forecast["forecast"]) & ~np.isnan(forecast["persistence"])
            for name, guess in forecast.items():
                error = np.where(known, (guess - truth) / self.scale, 0.0)
                s = self.sums[name]
                s.count[p] += known.sum(0)
                s.squared[p] += (error * error).sum(0)
                s.absolute[p] += np.abs(error).sum(0)
            s = self.sums["forecast"]
            inside = known & (lower[made, :, p] <= truth) & (truth <= upper[made, :, p])
            s.covered[p] += inside.sum(0)
            s.width[p] += np.where(known, (upper - lower)[made, :, p] / self.scale, 0.0).sum(0)

    def report(self, columns: np.ndarray | None = None) -> list[dict[str, float | int | None]]:
        """One entry a horizon, over these columns (C,) bool or all: the figures of `backtest --report`."""
        chosen = np.ones(self.values.shape[1], bool) if columns is None else columns
        made = []
        for p, h in enumerate(self.horizons):
            count = self.sums["forecast"].count[p, chosen].sum()
            entry: dict[str, float | int | None] = {"horizon": h, "forecasts": int(count)}
            for name, s in self.sums.items():
                prefix = "" if name == "forecast" else f"{name}_"
                entry[f"{prefix}mse"] = _mean(s.squared[p, chosen], count)
                entry[f"{prefix}mae"] = _mean(s.absolute[p, chosen], count)
            entry["coverage"] = _mean(self.sums["forecast"].covered[p, chosen], count)
            entry["width"] = _mean(self.sums["forecast"].width[p, chosen], count)
            made.append(entry)
        return made


def _mean(sums: np.ndarray, count: float) -> float | None:
    return float(sums.sum() / count) if count else None
