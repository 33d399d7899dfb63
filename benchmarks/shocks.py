"""What happens when something breaks: six kinds of break in synthetic series, and how long recovery takes.

    python -m benchmarks.shocks [--picture shocks.png] [--seed 0]

Sixteen hourly series a kind, a daily wave with autoregressive noise; the break comes at step 2,000. Beside the
forecaster: persistence, and its exact linear readout by itself. Recovery is the number of steps after the break
until the squared error, averaged over 16 series and 25 steps, stays for 100 steps within 1.5 times the mean of the
1,000 steps before the break (after a change of the size, times the square of that change).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.forecast_quality import forecasts_of
from benchmarks.parts import linear_alone
from streamrnn.core.backend import Array

STEPS, BREAK, SERIES, PERIOD, HOUR_MS = 3000, 2000, 16, 24, 3_600_000
BEFORE, SMOOTH, STAYS, RECOVERED = 1000, 25, 100, 1.5


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break: values (T, N) and the time of each row, changed in place from step BREAK on."""

    name: str
    does: Callable[[Array, Array], None]
    size: float = 1.0  # of the errors afterwards, where they cannot be what they were


def level_shift(x: Array, _: Array) -> None:
    x[BREAK:] += 15.0


def scale_change(x: Array, _: Array) -> None:
    x[BREAK:] *= 5.0


def season_change(x: Array, _: Array) -> None:
    """The wave comes six hours earlier, as after a move to another shift."""
    x[BREAK:-6] = x[BREAK + 6 :]


def frozen(x: Array, _: Array) -> None:
    """The sensor repeats its last value for 100 steps, then is well again."""
    x[BREAK : BREAK + 100] = x[BREAK - 1]


def sentinels(x: Array, _: Array) -> None:
    """Five undeclared -9999, an hour to a day apart."""
    x[[BREAK, BREAK + 1, BREAK + 5, BREAK + 20, BREAK + 44]] = -9999.0


def long_gap(x: Array, times: Array) -> None:
    """Nothing comes for ten days and six hours."""
    times[BREAK:] += 246 * HOUR_MS
    x[BREAK:-6] = x[BREAK + 6 :]


KINDS = (
    Kind("level shift of 15 deviations", level_shift),
    Kind("five times the scale", scale_change, size=5.0),
    Kind("season six hours earlier", season_change),
    Kind("frozen for 100 steps", frozen),
    Kind("five sentinels of -9999", sentinels),
    Kind("gap of ten days", long_gap),
)


def series(kind: Kind, seed: int) -> tuple[Array, Array]:
    """Values (T, N) and times (T,)."""
    random = np.random.default_rng(seed)
    noise = 0.5 * random.normal(size=(STEPS, SERIES))
    for t in range(1, STEPS):
        noise[t] += 0.6 * noise[t - 1]
    x = 20.0 + 3.0 * np.sin((np.arange(STEPS)[:, None] / PERIOD + random.random(SERIES)) * 2 * np.pi) + noise
    times = np.arange(STEPS) * HOUR_MS
    kind.does(x, times)
    return x, times


def recovery(squared: Array, size: float) -> int | None:
    """Steps after the break until the error is what it was; None: not before the end."""
    usual = squared[BREAK - 1 - BEFORE : BREAK - 1].mean() * size**2  # [t] is the error at step t + 1
    smooth = np.convolve(squared.mean(1), np.full(SMOOTH, 1 / SMOOTH), "valid")  # [i]: steps i .. i + 24
    within = smooth[BREAK - 1 :] <= RECOVERED * usual
    for i in range(len(within) - STAYS):
        if within[i : i + STAYS].all():
            return i
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{'steps until the error is what it was':36}{'streamrnn':>14}{'linear alone':>14}{'persistence':>14}")
    drawn: list[tuple[str, Array, dict[str, Array]]] = []
    for kind in KINDS:
        x, times = series(kind, given.seed)
        made = {"streamrnn": forecasts_of(x, times, 1, "exact", alone=True)[:, :, 0]}
        with linear_alone():
            made["linear alone"] = forecasts_of(x, times, 1, "exact", alone=True)[:, :, 0]
        made["persistence"] = x
        told = [recovery((forecast[:-1] - x[1:]) ** 2, kind.size) for forecast in made.values()]
        print(f"{kind.name:36}" + "".join(f"{'never' if n is None else n:>14}" for n in told), flush=True)
        drawn.append((kind.name, x, made))
    if given.picture:
        draw(drawn, given.picture)
        print(f"picture: {given.picture}")


def draw(drawn: list[tuple[str, Array, dict[str, Array]]], path: Path) -> None:
    """For each kind one series around the break, and the rolling errors of all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 2.6 * len(drawn)), layout="constrained")
    axes = figure.subplots(len(drawn), 2)
    shown = np.arange(BREAK - 72, BREAK + 200)
    for (name, x, made), (left, right) in zip(drawn, axes, strict=True):
        left.plot(shown, x[shown, 0], "k.", ms=3, label="came")
        left.plot(shown, made["streamrnn"][shown - 1, 0], lw=1, label="forecast one step before")
        low, high = np.quantile(x[shown, 0], [0.02, 0.98])
        left.set(title=name, ylim=(low - 0.3 * (high - low) - 2, high + 0.3 * (high - low) + 2))
        for way, forecast in made.items():
            squared = ((forecast[:-1] - x[1:]) ** 2).mean(1)
            rolled = np.sqrt(np.convolve(squared, np.full(SMOOTH, 1 / SMOOTH), "valid"))
            steps = np.arange(len(rolled)) + SMOOTH
            near = (steps > BREAK - 200) & (steps < BREAK + 600)
            right.semilogy(steps[near], rolled[near], lw=1.2, label=way)
        right.set_title("root mean squared error over 25 steps")
    axes[0, 0].legend(loc="upper left")
    axes[0, 1].legend(loc="upper right")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
