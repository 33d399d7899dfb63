"""What the commands show while they work and at their end: bars, tables, and where a file was written."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamrnn.cli_options import out
from streamrnn.errors import StreamRNNError


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to tell the number done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} at {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task(title, total=total, rate=0.0)

        def done(number: int) -> None:
            elapsed = bars.tasks[bar].elapsed or 0.0
            bars.update(bar, completed=number, rate=number / elapsed if elapsed else 0.0)

        yield done


def show_table(title: str, entries: list[dict[str, Any]]) -> None:
    """Entries as lines; of many only the first and the last."""
    table = Table(title=title, title_justify="left")
    for name, value in entries[0].items():
        table.add_column(name.replace("_", " "), justify="left" if isinstance(value, str) else "right")
    for entry in entries if len(entries) <= 24 else [*entries[:12], *entries[-12:]]:
        table.add_row(*(_cell(value) for value in entry.values()))
    out().print(table)


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write. Raises StreamRNNError where it cannot be."""
    try:
        with path.open("wb", buffering=1 << 20) as file:
            yield file
    except OSError as error:
        raise StreamRNNError(f"{path}: cannot be written: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Before the work, and not after it, say that what comes of it could not be written."""
    if path.is_dir():
        raise StreamRNNError(f"{path}: cannot be written: is a folder")
    if not path.absolute().parent.is_dir():
        raise StreamRNNError(f"{path}: cannot be written: there is no folder {path.absolute().parent}")


def say_where(plot: Path) -> None:
    """Name the file that was written."""
    out().print(f"plot: {plot.resolve()}", soft_wrap=True, highlight=False, markup=False)
