"""What the demo shows at its end: errors by horizon and variable, what was odd, and a picture."""

from datetime import UTC, datetime
from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn.service.backtest import ANOMALOUS
from streamrnn.service.demo import COVERAGE, HORIZONS, Demo
from streamrnn.service.plot import Panel, draw

RIVALS = {"persistence": "persistence", "seasonal": "same hour yesterday", "linear": "linear, refit daily"}
UNITS = {"temp": "°F", "dewp": "°F", "humid": "%", "wind_speed": "mph", "pressure": "mbar"}
NAMED = 5  # anomalies
SHOWN = "JFK.temp"
BEFORE, AFTER = 4 * 24, 3 * 24  # rows of the picture, around the oddest one


def show_demo(out: Console, demo: Demo) -> None:
    """Errors beside those of the rivals for each variable, coverage, anomalies, and speed."""
    variables = np.array([name.partition(".")[2] for name in demo.table.names])
    table = Table(title="Root mean squared error, 1 hour and 24 hours ahead", title_justify="left")
    table.add_column("hours", justify="right")
    table.add_column("variable")
    for heading in ("streamrnn", *RIVALS.values(), "gain", "on linear", "coverage"):
        table.add_column(heading, justify="right")
    for p, horizon in enumerate(HORIZONS):
        for name in dict.fromkeys(variables.tolist()):
            chosen = variables == name
            errors = [f"{_error(demo, each, p, chosen):.2f} {UNITS[name]}" for each in ("forecast", *RIVALS)]
            table.add_row(str(horizon), name, *errors, *_gains(demo, p, chosen))
        every = np.ones(len(variables), bool)
        empty = [""] * (1 + len(RIVALS))
        table.add_row(str(horizon), "all", *empty, *_gains(demo, p, every), style="bold", end_section=True)
    out.print(table)
    show_anomalies(out, demo)
    rate = demo.forecasts / demo.seconds
    out.print(
        f"{demo.forecasts:,} records of {len(variables)} streams, each forecast and learnt from, in "
        f"{demo.seconds:.1f} s: {rate:,.0f} forecasts/s"
    )


def show_anomalies(out: Console, demo: Demo) -> None:
    """How many records were new incidents, and which were the oddest."""
    found = demo.incidents()
    table = Table(title=f"{len(found)} anomalies (at or above {ANOMALOUS}), the plainest first", title_justify="left")
    for heading in ("time (UTC)", "stream", "came", "expected an hour before", "anomaly"):
        table.add_column(heading, justify="left" if heading in ("time (UTC)", "stream") else "right")
    for row, column in found[:NAMED]:
        name = demo.table.names[column]
        unit = UNITS[name.partition(".")[2]]
        lower, _, upper = demo.bounds[row - 1, column, 0]
        moment = datetime.fromtimestamp(int(demo.table.times[row]) / 1000, UTC)
        table.add_row(
            f"{moment:%Y-%m-%d %H:%M}",
            name,
            f"{demo.table.values[row, column]:.1f} {unit}",
            f"{lower:.1f}..{upper:.1f} {unit}",
            f"{demo.anomaly[row, column]:.6g}",
        )
    out.print(table)


def draw_demo(demo: Demo, file: BinaryIO) -> None:
    """The week around one stream's oddest hour, forecast an hour and a day ahead."""
    column = demo.table.names.index(SHOWN)
    oddest = int(np.nanargmax(demo.anomaly[:, column]))
    rows = np.arange(max(HORIZONS[-1], oddest - BEFORE), min(len(demo.anomaly), oddest + AFTER))
    panels = [
        Panel(
            title=f"Temperature at JFK, forecast {ahead}",
            label=UNITS[SHOWN.partition(".")[2]],
            times=demo.table.times[rows],
            values=demo.table.values[rows, column],
            bounds=demo.bounds[rows - horizon, column, p],
            odd=demo.anomaly[rows, column] >= ANOMALOUS,
            coverage=COVERAGE,
        )
        for p, (horizon, ahead) in enumerate(zip(HORIZONS, ("an hour ahead", "a day ahead"), strict=True))
    ]
    draw(file, panels)


def _error(demo: Demo, name: str, p: int, chosen: np.ndarray) -> float:
    """Root mean squared error over these streams (C,), in their unit."""
    sums = demo.score.sums[name]
    squared = sums.squared[p, chosen] * demo.score.scale[chosen] ** 2
    return float(np.sqrt(squared.sum() / sums.count[p, chosen].sum()))


def _gains(demo: Demo, p: int, chosen: np.ndarray) -> tuple[str, str, str]:
    """How much smaller the error is than persistence's and the linear rival's, means over streams; the coverage."""
    sums = demo.score.sums
    ours = sums["forecast"]
    gains = [
        1 - np.sqrt(ours.squared[p, chosen] / sums[rival].squared[p, chosen]).mean()
        for rival in ("persistence", "linear")
    ]
    covered = ours.covered[p, chosen].sum() / ours.count[p, chosen].sum()
    return f"{gains[0]:+.0%}", f"{gains[1]:+.0%}", f"{covered:.1%}"
