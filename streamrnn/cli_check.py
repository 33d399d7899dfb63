"""`streamrnn check`: what a configuration comes to, before anything is done with it."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import click
from rich.table import Table

from streamrnn.cli_options import configured, load, out


@click.command()
@configured
def check(path: Path, sets: tuple[str, ...]) -> None:
    """Validate the configuration, show what it comes to, and reach the broker or open the files.

    First all settings, secrets masked, and which of them differ from the defaults; then what would be read, written,
    learnt and kept in memory; then what there is of it and what `run` would create. No topic is created here.

    Example: streamrnn check -c config/streamrnn.yaml
    """
    from streamrnn.service import assembly, memory
    from streamrnn.service.backend import backend
    from streamrnn.service.config import differences, effective_yaml
    from streamrnn.service.introduction import introduction
    from streamrnn.service.reach import reach

    config = load(path, sets)
    settings = assembly.forecast_settings(config)
    out().print(effective_yaml(config), end="", style="dim", highlight=False, markup=False, soft_wrap=True)
    changed = [(key, value, f"default: {default}") for key, value, default in differences(config)]
    _show("Differs from the defaults" if changed else "Nothing differs from the defaults", changed)
    sentences = introduction(config, backend(config, daemon=True))
    kept = zip(("keeps", "", ""), memory.told(settings), strict=True)
    _show("`streamrnn run`", [*sentences, *kept])
    reached = asyncio.run(reach(config))
    _show("What there is", [(place.holds, place.name, place.found) for place in reached.places])
    if reached.partitions > 1:
        most = memory.at_most(settings, reached.partitions)
        out().print(f"One worker that has all {reached.partitions} partitions: {most} at most.", highlight=False)


def _show(title: str, rows: Iterable[tuple[str, ...]]) -> None:
    """A title, and rows in columns below it."""
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        if not grid.columns:
            grid.add_column(style="bold", no_wrap=True)
            for _ in row[1:]:
                grid.add_column(overflow="fold")
        grid.add_row(*row)
    console = out()
    console.print(f"\n{title}", style="bold underline", highlight=False, markup=False)
    if grid.rows:
        console.print(grid, highlight=False, markup=False)
