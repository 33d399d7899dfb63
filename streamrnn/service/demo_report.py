"""What the demo shows at its end: a table by horizon and variable, and a picture."""

from typing import BinaryIO

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn.service.demo import HORIZONS, Demo
from streamrnn.service.plot import draw

SHOWN = "JFK.temp"
SHOWN_ROWS = 10 * 24
UNITS = {"temp": "°F", "dewp": "°F", "humid": "%", "wind_speed": "mph", "pressure": "mbar"}


def show_demo(out: Console, demo: Demo) -> None:
    """Errors against persistence and the seasonal naive for each variable, coverage, and speed."""
    names = np.array([name.partition(".")[2] for name in demo.table.names])
    table = Table(title="Root mean squared error, 1 hour and 24 hours ahead", title_justify="left")
    table.add_column("hours", justify="right")
    table.add_column("variable")
    for heading in ("streamrnn", "persistence", "same hour yesterday", "gain", "coverage"):
        table.add_column(heading, justify="right")
    for p, horizon in enumerate(HORIZONS):
        for name in dict.fromkeys(names.tolist()):
            chosen = names == name
            squared = [sums.squared[p, chosen] * demo.score.scale[chosen] ** 2 for sums in demo.score.sums.values()]
            count = demo.score.sums["forecast"].count[p, chosen].sum()
            told = [f"{np.sqrt(rival.sum() / count):.2f} {UNITS[name]}" for rival in squared]
            table.add_row(str(horizon), name, *told, *_gain(demo, p, chosen))
        every = np.ones(len(names), bool)
        table.add_row(str(horizon), "all", "", "", "", *_gain(demo, p, every), style="bold", end_section=True)
    out.print(table)
    rate = demo.forecasts / demo.seconds
    out.print(
        f"{demo.forecasts:,} records of {len(names)} streams, each forecast and learnt from, in {demo.seconds:.1f} s:"
        f" {rate:,.0f} forecasts/s"
    )


def _gain(demo: Demo, p: int, chosen: np.ndarray) -> tuple[str, str]:
    """How much smaller the error is than persistence's, the mean over these streams; and the coverage."""
    sums = demo.score.sums
    ratio = np.sqrt(sums["forecast"].squared[p, chosen] / sums["persistence"].squared[p, chosen])
    covered = sums["forecast"].covered[p, chosen].sum() / sums["forecast"].count[p, chosen].sum()
    return f"{1 - ratio.mean():+.0%}", f"{covered:.1%}"


def draw_demo(demo: Demo, file: BinaryIO) -> None:
    """The last days of one stream, forecast an hour ahead."""
    column = demo.table.names.index(SHOWN)
    rows = len(demo.table.times)
    origins = np.arange(rows - SHOWN_ROWS, rows)
    draw(
        file,
        title="Temperature at JFK, forecast one hour ahead while learning",
        label=UNITS[SHOWN.partition(".")[2]],
        times=demo.table.times,
        values=demo.table.values[:, column],
        origins=origins,
        horizon=HORIZONS[0],
        bounds=demo.bounds[origins, column, 0],
        coverage=0.9,
    )
