"""The figures of `end_to_end` as a picture: forecasts a second, ours and others', on a logarithmic scale."""

from collections.abc import Iterable
from pathlib import Path

OURS, OTHERS, LIMIT = "#08519c", "#9ecae1", "#bdbdbd"
COLOURS = {"streamrnn": OURS, "others": OTHERS, "records only copied": LIMIT}


def rates(lines: Iterable[str]) -> dict[str, float]:
    """Of a table's lines: what stands first in a row, and the number behind it."""
    cells = (line.strip("| ").split(" | ") for line in lines)
    return {row[0]: float(row[1].replace(",", "")) for row in cells if len(row) > 1 and row[1].strip()[:1].isdigit()}


def draw(path: Path, cases: dict[str, float], others: dict[str, float]) -> None:
    """Write a PNG: cases are ours; others by name, `streamrnn` and `bare pass-through` among them."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = [(name, rate, OURS) for name, rate in cases.items()]
    rows += [(name, rate, LIMIT if "pass-through" in name else OTHERS) for name, rate in others.items() if rate]
    rows = [row for row in rows if row[0] != "streamrnn"][::-1]
    figure, axes = plt.subplots(figsize=(10, 0.32 * len(rows) + 1.0), dpi=110, layout="constrained")
    bars = axes.barh([name for name, *_ in rows], [rate for _, rate, _ in rows], color=[color for *_, color in rows])
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=8)
    patches = [mpl.patches.Patch(color=color, label=told) for told, color in COLOURS.items()]
    axes.legend(handles=patches, frameon=False, ncols=3, fontsize=8, loc="lower right")
    axes.set_xscale("log")
    axes.set_xlim(left=100, right=4 * max(rate for _, rate, _ in rows))
    axes.set_title("Forecasts a second, exactly once, logarithmic", loc="left")
    axes.title.set_fontsize(10)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)
