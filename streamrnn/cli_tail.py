"""`streamrnn tail`: forecasts beside what then happened."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamrnn.cli_options import configured, load

if TYPE_CHECKING:
    from streamrnn.cli_tail_screen import Screen
    from streamrnn.service.comparison import Compared

LAST = 10  # lines of what was there before, as the other `tail` shows them


@click.command()
@configured
@click.option(
    "--stream",
    "streams",
    multiple=True,
    metavar="NAME",
    help="Only this stream, or those of a pattern such as 'pump-*' (repeatable).",
)
@click.option(
    "--horizon",
    "horizons",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="H",
    help="Only forecasts of so many steps ahead (repeatable).",
)
@click.option("--anomalies", is_flag=True, help="Only records at or above anomalies.threshold.")
@click.option(
    "--from-beginning", is_flag=True, help=f"Begin with the oldest forecast instead of the last {LAST} lines."
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N lines.")
@click.option("--no-follow", is_flag=True, help="End with what is there now.")
def tail(
    path: Path,
    sets: tuple[str, ...],
    streams: tuple[str, ...],
    horizons: tuple[int, ...],
    anomalies: bool,
    from_beginning: bool,
    count: int | None,
    no_follow: bool,
) -> None:
    """Follow forecasts beside what then happened.

    A line for each value and each forecast of it: the value's time, its stream, how many steps ahead it was
    forecast, the mean, the interval, the value, and whether that lay inside. ANOMALY marks a new incident. On a
    terminal the newest forecasts, whose values are to come, stand below. No group is joined and nothing is changed;
    Ctrl-C ends it.

    Example: streamrnn tail -c config/streamrnn.yaml --stream 'pump-*' --horizon 1
    """
    from streamrnn.cli_tail_screen import Pipe, Terminal

    config = load(path, sets)
    # what matters of it is told by the error that ends this
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    chosen = Chosen(frozenset(horizons), config.anomalies.threshold if anomalies else None, count)
    threshold = config.anomalies.threshold
    coverage = None if anomalies else config.forecast.coverage
    screen = Terminal(coverage, threshold) if sys.stdout.isatty() else Pipe(threshold)
    with screen, contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_follow(config, streams, chosen, screen, from_beginning=from_beginning, follow=not no_follow))


async def _follow(
    config: Any, streams: Sequence[str], chosen: "Chosen", screen: "Screen", *, from_beginning: bool, follow: bool
) -> None:
    """Until the last line that was asked for, or until cancelled."""
    from streamrnn.service import assembly
    from streamrnn.service.following import Follower

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    tap = assembly.tap(config)
    follower = Follower(tap, assembly.input_format(config), missing=config.input.missing, streams=streams)
    before: deque[Compared] | None = None if from_beginning else deque(maxlen=LAST)
    try:
        async with contextlib.aclosing(follower.news(from_beginning=from_beginning)) as every:
            async for news in every:
                found = chosen.of(news.compared)
                if before is not None:
                    before += found
                    found = list(before) if news.caught_up else []
                    before = None if news.caught_up else before
                screen.show(chosen.cut(found), news)
                if chosen.left == 0 or (news.caught_up and not follow):
                    return
    finally:
        await tap.stop()


@dataclass(slots=True)
class Chosen:
    """Which lines were asked for, and how many more."""

    horizons: frozenset[int]  # none: all
    anomalous_from: float | None  # None: anomalies or not
    left: int | None  # None: for ever

    def of(self, compared: Sequence["Compared"]) -> list["Compared"]:
        return [each for each in compared if self._has(each)]

    def _has(self, one: "Compared") -> bool:
        if self.anomalous_from is not None and (one.anomaly is None or one.anomaly < self.anomalous_from):
            return False
        if one.horizon is None:  # that it was not forecast is told where it is an incident
            return self.anomalous_from is not None
        return not self.horizons or one.horizon in self.horizons

    def cut(self, compared: list["Compared"]) -> list["Compared"]:
        """Those that are left to be shown; counts them."""
        if self.left is None:
            return compared
        shown = compared[: self.left]
        self.left -= len(shown)
        return shown
