"""One picture: what was forecast, how sure it was, and what came. Needs the extra `plot` (matplotlib)."""

from importlib.util import find_spec
from typing import BinaryIO

import numpy as np

HOW_TO_GET_IT = "no plot: matplotlib is not installed. `pip install 'streamrnn[plot]'` brings it"


def available() -> bool:
    """Whether matplotlib is there."""
    return find_spec("matplotlib") is not None


def draw(
    file: BinaryIO,
    *,
    title: str,
    label: str,
    times: np.ndarray,
    values: np.ndarray,
    origins: np.ndarray,
    horizon: int,
    bounds: np.ndarray,
    coverage: float,
) -> None:
    """Write a PNG: values (R,) at times (R,) ms; bounds (r, 3) lower, mean, upper made after the rows `origins` (r,).

    Each forecast stands at the time it speaks of, the row `horizon` after its origin.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    told = origins + horizon < len(times)
    at = times[origins[told] + horizon].astype("datetime64[ms]")
    lower, mean, upper = bounds[told].T
    shown = slice(len(times) - len(at), len(times))
    figure, axes = plt.subplots(figsize=(11, 4.5), dpi=120, layout="constrained")
    axes.fill_between(at, lower, upper, color="#9ecae1", alpha=0.7, lw=0, label=f"{coverage:.0%} interval")
    axes.plot(at, mean, color="#08519c", lw=1.6, label=f"forecast, {horizon} step{'s' * (horizon > 1)} before")
    axes.plot(
        times[shown].astype("datetime64[ms]"), values[shown], color="#111111", lw=0, marker=".", ms=4, label="came"
    )
    axes.set_title(title, loc="left")
    axes.set_ylabel(label)
    axes.legend(frameon=False, ncols=3, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    drawn = np.concatenate([lower, upper, values[shown]])
    if np.isfinite(drawn).any():
        low, high = np.nanmin(drawn), np.nanmax(drawn)
        room = high - low or abs(high) or 1.0
        axes.set_ylim(low - 0.05 * room, high + 0.2 * room)
    figure.savefig(file, format="png")
    plt.close(figure)
