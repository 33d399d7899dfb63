"""Labelled incidents found and false alarms raised, on real files with known incidents.

    python -m benchmarks.incidents --data FOLDER [--threshold 0.999]

The folder holds tables of a time and one value each, and `windows.json`: {file name: [[first, last], ...]}, as the
Numenta Anomaly Benchmark publishes them (https://github.com/numenta/NAB, data/ and labels/combined_windows.json). An
incident is found where a record within its window reaches the threshold; a record that reaches it outside all
windows, after the first 15 % of the file (at most 750 records), is a false alarm.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import table_steps
from streamrnn.transport.csv_table import read_csv

PROBATION, LONGEST_PROBATION = 0.15, 750


def anomalies(values: Array, times: Array) -> Array:
    """The anomaly score (T,) of each record of one stream: values (T, 1), times (T,) ms."""
    batch = table_steps([b"stream"], values, times)
    return np.nan_to_num(Forecaster(ForecastSettings(readout="exact")).forecast(batch).anomaly)


def milliseconds(time: str) -> float:
    """Of a time without an offset, which is UTC."""
    return datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.999)
    given = parser.parse_args()
    labels = given.data / "windows.json"
    if not labels.exists():
        parser.error(f"{labels} does not exist: see https://github.com/numenta/NAB for data and labels")
    windows = msgspec.json.decode(labels.read_bytes(), type=dict[str, list[tuple[str, str]]])
    found = labelled = false = records = 0
    print(f"{'file':50} incidents found  false alarms  records")
    for name, spans in sorted(windows.items()):
        table = read_csv(given.data / name)
        alarms = table.times[anomalies(table.values, table.times) >= given.threshold]
        late = table.times[int(np.ceil(min(PROBATION * len(table.times), LONGEST_PROBATION)))]
        alarms = alarms[alarms >= late]
        within = [(alarms >= milliseconds(first)) & (alarms <= milliseconds(last)) for first, last in spans]
        hits, outside = sum(bool(each.any()) for each in within), int((~np.any(within, axis=0)).sum())
        print(f"{name:50} {hits:9} of {len(spans):2} {outside:13} {len(table.times):8}", flush=True)
        found, labelled = found + hits, labelled + len(spans)
        false, records = false + outside, records + len(table.times)
    print(f"{'in all':50} {found:9} of {labelled:2} {false:13} {records:8}")


if __name__ == "__main__":
    main()
