"""How `tail` shows what it knows: lines into a pipe, or on a terminal lines with the newest forecasts below."""

import contextlib
import math
import select
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streamrnn.engine.forecast_line import ForecastLine
from streamrnn.service.comparison import Compared
from streamrnn.service.following import News

NARROWEST, WIDEST = 8, 32  # characters of the column of streams
WAITING_ROWS, WAITING_HORIZONS = 8, 3  # what is shown of the newest forecasts
COLOURS = {"inside": "green", "above": "yellow", "below": "yellow", "missing": "dim"}
TOO_MANY = (
    "too many forecasts wait for their values: new ones are not compared until there is room. --stream asks for fewer"
)


class Screen(Protocol):
    """Where `tail` shows its lines."""

    def show(self, compared: Sequence[Compared], news: News) -> None:
        """Show these lines, and of the news what has a place of its own."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""


class Pipe:
    """A plain line each."""

    def __init__(self, threshold: float) -> None:
        self._lines = Lines(threshold)
        self._warned = False
        self._reader = select.poll()
        with contextlib.suppress(OSError):  # not a descriptor
            self._reader.register(sys.stdout.fileno(), 0)  # errors are always told

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        pass

    def show(self, compared: Sequence[Compared], news: News) -> None:
        if news.left_out and not self._warned:
            self._warned = True
            click.echo(f"streamrnn: {TOO_MANY}", err=True)
        if compared:
            sys.stdout.write("".join(f"{self._lines.of(each).plain.rstrip()}\n" for each in compared))
            sys.stdout.flush()
        elif self._reader.poll(0):
            raise BrokenPipeError  # as the next line would, which may take long to come


class Terminal:
    """Coloured lines that scroll; below them the newest forecasts and the count."""

    def __init__(self, coverage: float | None, threshold: float) -> None:
        """coverage: the share of values that should lie inside; None where what is shown is no fair sample."""
        self._coverage = coverage
        self._lines = Lines(threshold)
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._newest: dict[str, ForecastLine] = {}
        self._known = self._inside = self._shown = 0
        self._warned = False

    def __enter__(self) -> Self:
        self._console.print(self._lines.heading())
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, at)
        if self._shown:
            self._console.print(self._count())

    def show(self, compared: Sequence[Compared], news: News) -> None:
        if news.left_out and not self._warned:
            self._warned = True
            self._console.print(Text(TOO_MANY, "yellow"))
        for each in compared:
            self._shown += 1
            self._known += each.inside is not None
            self._inside += each.inside is True
        for line in news.forecasts:
            self._newest.pop(line.stream, None)
            self._newest[line.stream] = line
        self._newest = dict(list(self._newest.items())[-WAITING_ROWS:])
        if compared:
            lines = Text("\n").join(map(self._lines.of, compared))
            self._console.print(lines, no_wrap=True, overflow="ellipsis", crop=False)
        if compared or news.forecasts or news.caught_up:
            self._live.update(Group(self._waiting(), self._count()), refresh=True)

    def _waiting(self) -> Table:
        table = Table("to come for", "after", box=None, header_style="dim", padding=(0, 2, 0, 0))
        horizons = list(self._newest.values())[-1].horizons[:WAITING_HORIZONS] if self._newest else ()
        for horizon in horizons:
            table.add_column(f"{horizon} ahead")
        for stream, line in self._newest.items():
            cells = []
            for p, _ in zip(range(len(line.horizons)), horizons, strict=False):
                bounds = (float(each[-1, p, 0]) for each in (line.lower, line.mean, line.upper))
                cells.append("  ".join(_bounds(*bounds)))
            table.add_row(Text(_short(stream)), _time(int(line.times[-1])), *cells)
        return table

    def _count(self) -> Text:
        told = f"{self._shown:,} compared"
        if self._known and self._coverage is not None:
            told += f", {self._inside / self._known:.1%} of the values inside (asked: {self._coverage:.0%})"
        return Text(told, "dim")


class Lines:
    """Forecasts beside their values as lines of equal columns; the column of streams grows as it must."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._width = NARROWEST

    def heading(self) -> Text:
        return Text(self._columns("time", "stream", "ahead", "forecast", "interval", "came"), "bold")

    def of(self, one: Compared) -> Text:
        """A line, with colours for whoever shows them."""
        name = _short(one.stream if one.feature is None else f"{one.stream}[{one.feature}]")
        self._width = max(self._width, len(name))
        ahead = "-" if one.horizon is None else f"+{one.horizon}"
        text = Text(
            self._columns(_time(one.time), name, ahead, *_bounds(one.lower, one.mean, one.upper), _number(one.value))
        )
        verdict = _verdict(one)
        text.append(f"  {verdict:<7}", COLOURS.get(verdict, ""))
        if one.anomaly is not None and one.anomaly >= self._threshold:
            text.append(f"  ANOMALY {one.anomaly:.5g}", "bold red")
        return text

    def _columns(self, time: str, stream: str, ahead: str, mean: str, interval: str, value: str) -> str:
        return f"{time:<20}  {stream:<{self._width}}  {ahead:>5}  {mean:>10}  {interval:<22}  {value:>10}"


def _verdict(one: Compared) -> str:
    if one.value != one.value:
        return "missing"
    if one.inside is None:
        return ""
    return "inside" if one.inside else "above" if one.value > one.upper else "below"


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.6g}"


def _bounds(lower: float, mean: float, upper: float) -> tuple[str, str]:
    """The mean and the interval, with two digits of its width."""
    if mean != mean:
        return "-", "-"
    width = upper - lower
    if not 1e-12 < width < 1e12 or abs(mean) > 1e15:
        return _number(mean), f"{_number(lower)}..{_number(upper)}"
    places = max(0, 1 - math.floor(math.log10(width)))
    return f"{mean:z.{places}f}", f"{lower:z.{places}f}..{upper:z.{places}f}"


def _short(name: str) -> str:
    """On one line and in one column, whatever characters somebody put into it."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)
    return shown if len(shown) <= WIDEST else f"{shown[: WIDEST - 1]}…"


def _time(milliseconds: int) -> str:
    """RFC 3339, in UTC."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return str(milliseconds)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
