"""One picture: what was forecast, how sure it was, what came, and what was odd.

Needs the extra `plot` (matplotlib).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, BinaryIO

import numpy as np

HOW_TO_GET_IT = "no plot: matplotlib is not installed. `pip install matplotlib` brings it"

INTERVAL, FORECAST, CAME, ODD = "#9ecae1", "#08519c", "#111111", "#d62728"


@dataclass(frozen=True, slots=True)
class Panel:
    """A stretch of one series, of n steps, each beside the forecast of it."""

    title: str  # with how far ahead the forecasts were made
    label: str  # of the values, with their unit
    times: np.ndarray  # (n,) epoch ms
    values: np.ndarray  # (n,) what came, NaN missing
    bounds: np.ndarray  # (n, 3) lower, mean, upper of the forecast of that step, NaN where there is none
    odd: np.ndarray  # (n,) bool: an anomaly
    coverage: float


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(file: BinaryIO, panels: Sequence[Panel]) -> None:
    """Write a PNG with these panels, one above the other, over the same times."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import dates
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(11, 1 + 2.8 * len(panels)),
        dpi=120,
        layout="constrained",
        sharex=True,
        squeeze=False,
    )
    for panel, own in zip(panels, axes[:, 0], strict=True):
        _fill(own, panel)
    locator = dates.AutoDateLocator(maxticks=12)  # type: ignore[no-untyped-call]
    axes[-1, 0].xaxis.set_major_locator(locator)
    axes[-1, 0].xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    axes[0, 0].legend(frameon=False, ncols=4, **above)
    figure.savefig(file, format="png")
    plt.close(figure)


def _fill(axes: Any, panel: Panel) -> None:
    """Draw one panel."""
    at = panel.times.astype("datetime64[ms]")
    lower, mean, upper = panel.bounds.T
    axes.fill_between(at, lower, upper, color=INTERVAL, alpha=0.7, lw=0, label=f"{panel.coverage:.0%} interval")
    axes.plot(at, mean, color=FORECAST, lw=1.4, label="forecast")
    axes.plot(at, panel.values, color=CAME, lw=0, marker=".", ms=4, label="observed")
    if panel.odd.any():
        ring = {"marker": "o", "ms": 13, "mfc": "none", "mec": ODD, "mew": 2}
        axes.plot(at[panel.odd], panel.values[panel.odd], lw=0, label="anomaly", **ring)
    axes.set_title(panel.title, loc="left", fontweight="bold")
    axes.set_ylabel(panel.label)
    axes.grid(axis="y", color="#e5e5e5", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    drawn = np.concatenate([lower, upper, panel.values])
    if np.isfinite(drawn).any():
        low, high = np.nanmin(drawn), np.nanmax(drawn)
        room = high - low or abs(high) or 1.0
        axes.set_ylim(low - 0.05 * room, high + 0.05 * room)
