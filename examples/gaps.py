"""Gaps in a weather record, filled from what came before and from what came after: two directions against one.

    python examples/gaps.py [--output gaps.png]

The record is a year of hourly weather at New York's three airports. Of every three days twelve hours in the middle
are hidden, and a network is to say what the temperature was. One reads forward only, and knows what came before the
gap. The other has a second direction, which reads from the end, and about as many weights.

Prints the root of the mean squared error over weeks that neither has learnt from, beside that of a straight line
across the gap, and by how much two directions are better than one; draws some of these gaps.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from streamrnn import Network
from streamrnn.core.optimisers import adam_init, adam_update, clip_by_global_norm
from streamrnn.service.demo import weather

STEPS = 72  # hours
GAP = slice(30, 42)
VARIABLES = ("temp", "dewp", "humid", "pressure")
WEEK = 168
UPDATES = 400
BATCH = 64


def airports() -> np.ndarray:
    """The weather (3, hours, 4) of all airports, temperature first, in °F; what is missing lies on straight lines."""
    table = weather()
    hours, columns = np.arange(len(table.times)), {}
    for name, values in zip(table.names, table.values.T, strict=True):
        there = np.isfinite(values)
        columns[name] = np.interp(hours, hours[there], values[there])
    return np.stack([np.stack([columns[f"{at}.{v}"] for v in VARIABLES], 1) for at in ("EWR", "JFK", "LGA")])


def starts(hours: int) -> tuple[np.ndarray, np.ndarray]:
    """The hours at which windows can start: those to learn from, and those that lie in every fourth week."""
    first = np.arange(hours - STEPS)
    new = (first // WEEK % 4 == 3, (first + STEPS - 1) // WEEK % 4 == 3)
    return first[~new[0] & ~new[1]], first[new[0] & new[1]]


def windows(record: np.ndarray, airport: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The windows of the record (3, hours, 4) at airports (B,) and hours (B,): what a network sees, and the whole.

    x (B, T, 7) is the weather, 0 in the gap; 1 in the gap, else 0; and the hour of the day as a point on a circle.
    """
    hours = start[:, None] + np.arange(STEPS)  # (B, T)
    whole = record[airport[:, None], hours]  # (B, T, 4)
    seen = whole.copy()
    seen[:, GAP] = 0
    gap = np.zeros(hours.shape)
    gap[:, GAP] = 1
    angle = 2 * np.pi / 24 * hours
    return np.concatenate([seen, np.stack([gap, np.sin(angle), np.cos(angle)], 2)], 2), whole


def learn(network: Network, record: np.ndarray, possible: np.ndarray) -> None:
    """Teach the network what was in the gaps of windows that start at the possible hours."""
    random, state = np.random.default_rng(0), adam_init(network.parameters)
    for update in range(UPDATES):
        x, whole = windows(record, random.integers(0, 3, BATCH), random.choice(possible, BATCH))
        _, gradients, _ = network.loss_and_gradients(x, whole[:, :, :1], weight=x[:, :, 4])  # the gap alone counts
        gradients, _ = clip_by_global_norm(gradients, 1.0)
        rate = 0.01 * (1 - update / UPDATES)
        network.parameters, state = adam_update(network.parameters, gradients, state, rate)


def straight_lines(true: np.ndarray) -> np.ndarray:
    """The temperatures true (B, T), those in the gap replaced by a straight line across it."""
    made, edges = true.copy(), [GAP.start - 1, GAP.stop]
    made[:, GAP] = [np.interp(np.arange(GAP.start, GAP.stop), edges, row[edges]) for row in true]
    return made


def draw(path: Path, true: np.ndarray, fillings: dict[str, np.ndarray]) -> None:
    """Four of the windows: the temperatures true (B, T), and those of each filling."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 6.5), dpi=110, sharex=True, layout="constrained")
    hours, edged = np.arange(STEPS), slice(GAP.start - 1, GAP.stop + 1)
    for axes, b in zip(panels.flat, np.linspace(0, len(true) - 1, 6, dtype=int)[1:-1], strict=True):
        axes.axvspan(GAP.start - 0.5, GAP.stop - 0.5, color="0.93", label="hidden")
        axes.plot(hours, true[b], ".", color="black", ms=4, label="measured")
        for name, made in fillings.items():
            drawn = np.where((hours >= GAP.start) & (hours < GAP.stop), made[b], true[b])
            axes.plot(hours[edged], drawn[edged], label=name)
        axes.locator_params(axis="y", nbins=6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("temperature (°F)")
    for axes in panels[1]:
        axes.set_xlabel("hour of the window")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fill gaps in a year of weather.")
    parser.add_argument("--output", type=Path, default=Path("gaps.png"), help="the picture to write")
    path = parser.parse_args().output
    record = airports()
    mean, deviation = record.mean((0, 1)), record.std((0, 1))
    record = (record - mean) / deviation
    possible, new = starts(record.shape[1])
    x, whole = windows(record, np.repeat([0, 1, 2], len(new[::6])), np.tile(new[::6], 3))
    true = whole[:, :, 0] * deviation[0] + mean[0]  # (B, T) °F
    fillings = {"straight line": straight_lines(true)}
    for name, bidirectional, hidden in (("forward only", False, 46), ("both directions", True, 32)):
        network = Network("gru", inputs=7, hidden=hidden, bidirectional=bidirectional, outputs=1)
        learn(network, record, possible)
        fillings[name] = network.forward(x)[0][:, :, 0] * deviation[0] + mean[0]
    errors = {name: np.sqrt(((made - true)[:, GAP] ** 2).mean()) for name, made in fillings.items()}
    for name, error in errors.items():
        print(f"{name:<16} {error:.2f} °F")
    print(
        f"both directions err by {1 - errors['both directions'] / errors['forward only']:.0%} less than one; {path}"
    )
    draw(path, true, fillings)


if __name__ == "__main__":
    main()
