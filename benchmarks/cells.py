"""The public data sets by which online forecasters are compared, and what is known of each.

A cell is a file, the rows of it that count, and a horizon: the score of horizon H is over steps 1 to H. `linear` is
the best of a family of online linear models chosen in hindsight, `published` the best published online model that
was scored without the labels that had not arrived yet (D3A, DSOF and LSTD papers).
"""

from dataclasses import dataclass
from pathlib import Path

ETT = "https://github.com/zhouhaoyi/ETDataset (Zhou et al. 2021)"
SOURCES = {
    "ETTh2.csv": ETT,
    "ETTm1.csv": ETT,
    "WTH.csv": "https://github.com/zhouhaoyi/Informer2020 (NOAA local climatological data)",
    "weather.csv": "https://www.bgc-jena.mpg.de/wetter (Max Planck Institute for Biogeochemistry, Jena)",
    "exchange_rate.csv": "https://github.com/laiguokun/multivariate-time-series-data (Lai et al. 2018)",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Borders in rows; None: 20 % of the rows to standardise, the last 75 % to score."""

    name: str
    file: str
    borders: tuple[int, int, int] | None  # rows to standardise, first scored target, all rows
    horizon: int
    persistence: float
    linear: float
    published: float

    def rows(self, available: int) -> tuple[int, int, int]:
        """Rows to standardise, the first scored target, and all rows."""
        return self.borders or (int(available * 0.2), available - int(available * 0.75), available)

    @property
    def best_rival(self) -> float:
        return min(self.persistence, self.linear, self.published)


SHORT, LONG = (2880, 3600, 14400), (11520, 14400, 57600)
CELLS = (
    Cell("ETTh2-H1", "ETTh2.csv", SHORT, 1, 0.4043, 0.3356, 0.362),
    Cell("ETTh2-H24", "ETTh2.csv", SHORT, 24, 1.818, 1.631, 1.694),
    Cell("ETTm1-H1", "ETTm1.csv", SHORT, 1, 0.0914, 0.0733, 0.081),
    Cell("ETTm1x4-H1", "ETTm1.csv", LONG, 1, 0.1200, 0.0980, 0.096),
    Cell("ETTm1x4-H24", "ETTm1.csv", LONG, 24, 1.495, 0.4158, 0.418),
    Cell("ETTm1x4-H48", "ETTm1.csv", LONG, 48, 2.640, 0.5412, 0.554),
    Cell("WTH-H1", "WTH.csv", None, 1, 0.2071, 0.1480, 0.153),
    Cell("Weather-H1", "weather.csv", None, 1, 0.3788, 0.3076, 0.296),
    Cell("Weather-H24", "weather.csv", None, 24, 1.399, 0.6885, 0.671),
    Cell("Exchange-H1", "exchange_rate.csv", None, 1, 0.0089, 0.0090, 0.009),
    Cell("Exchange-H24", "exchange_rate.csv", None, 24, 0.0861, 0.0880, 0.093),
)


def folder_with_data(folder: Path) -> Path:
    """The folder, if all files are there; else leave with a message that says where each is from."""
    lacking = sorted({cell.file for cell in CELLS if not (folder / cell.file).exists()})
    if lacking:
        told = "\n".join(f"  {name}: {SOURCES[name]}" for name in lacking)
        raise SystemExit(f"{folder} lacks files that are not ours to pass on:\n{told}")
    return folder
