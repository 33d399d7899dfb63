"""`streamrnn state`: stored state looked at, exported, forgotten."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from streamrnn.cli_options import configured, load, out
from streamrnn.errors import StreamRNNError

F = TypeVar("F", bound=Callable[..., Any])

AGES = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def _of_partition(function: F) -> F:
    option = click.option(
        "--partition", "number", type=click.IntRange(min=0), metavar="N", help="Only this one; else all."
    )
    return option(function)


@click.group()
def state() -> None:
    """Look at the stored snapshots, export what is in them, or forget them.

    A snapshot holds what a partition's streams have taught, as of an offset. `run` refuses one that is damaged or
    does not fit; these commands tell why and get it out of the way.

    Example: streamrnn state show -c config/streamrnn.yaml
    """


@state.command()
@configured
@_of_partition
def show(path: Path, sets: tuple[str, ...], number: int | None) -> None:
    """Tell whether each snapshot is sound and fits.

    Changes nothing, also while a daemon runs. Every checksum, shape and number is looked at, so it takes as long and
    as much memory as a start. Ends with 1 where a task would be refused.

    Example: streamrnn state show -c config/streamrnn.yaml --partition 3
    """
    from streamrnn.service import assembly, stored_state

    config = load(path, sets)
    reports = asyncio.run(stored_state.show(config, number))
    console = out()
    table = Table(title=f"{reports[0].partition.topic}, as app {config.app_id}", title_justify="left")
    for name in ("partition", "state", "next offset", "committed", "log end", "streams", "size", "written", "layout"):
        table.add_column(name, justify="left" if name in ("state", "layout") else "right")
    for report in reports:
        facts = report.facts
        table.add_row(
            str(report.partition.partition),
            report.verdict,
            *map(_number, (facts.offset if facts else None, report.committed, report.end, report.streams)),
            _size(facts.nbytes) if facts else "-",
            _age(time.time() - report.written) if report.written else "-",
            f"{facts.layout}, format {facts.format}" if facts else "-",
        )
    console.print(table)
    for report in reports:
        if report.remark:
            console.print(report.remark, highlight=False, markup=False, soft_wrap=True)
    settings = stored_state.compared(reports, assembly.forecast_settings(config))
    if settings:
        table = Table(*settings[0], title="Settings that touch forecasts", title_justify="left")
        for row in settings:
            table.add_row(*row.values())
        console.print(table)
    refused = [report for report in reports if report.verdict == stored_state.REFUSED]
    if refused:
        told = (
            f"{len(refused)} of {len(reports)} partitions would be refused"
            if len(reports) > 1
            else f"{refused[0].partition} would be refused"
        )
        raise StreamRNNError(
            f"{told}. Mend what is named above, or go on without the snapshot: streamrnn state drop -c {path} "
            f"--partition {refused[0].partition.partition}{' and the same --set' if sets else ''}"
        )


@state.command()
@configured
@_of_partition
@click.option(
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="FOLDER",
    help="Made if missing; a file a partition goes there, TOPIC-PARTITION.safetensors.",
)
def export(path: Path, sets: tuple[str, ...], number: int | None, folder: Path) -> None:
    """Write each snapshot to a file of its own.

    The files are safetensors: arrays by name, readable without streamrnn.

    slot/NAME has a row for each stream (with D features D rows, side by side), shared/NAME is what they share.
    stream_ids[i, :stream_id_bytes[i]] are the bytes of stream i's id, none where the slot is free. The file's
    metadata name topic, partition, offset and, as JSON, the settings. In Python:
    safetensors.numpy.load_file("sensors-0.safetensors")["slot/levels"]

    Example: streamrnn state export -c config/streamrnn.yaml --output exported
    """
    from streamrnn.service import stored_state

    _tell(stored_state.export(load(path, sets), number, folder))


@state.command()
@configured
@_of_partition
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(path: Path, sets: tuple[str, ...], number: int | None, yes: bool) -> None:
    """Forget the snapshot of one partition or of all.

    What was learnt is lost, but for what the last `state.rebuild` of input teaches again; no forecast is lost.

    On Kafka a task that runs loses the right to write snapshots; as soon as it notices, or within 30 s where it was
    refused, it begins again and goes on where it was. With files stop the daemon first.

    Example: streamrnn state drop -c config/streamrnn.yaml --partition 3
    """
    from streamrnn.service import assembly, stored_state

    config = load(path, sets)
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on. Pass --yes to forget the state without a question")
    meant = asyncio.run(stored_state.chosen(assembly.state_store(config), number))
    if not yes:
        named = str(meant[0]) if len(meant) == 1 else f"all {len(meant)} partitions of {meant[0].topic}"
        click.confirm(f"Forget what was learnt from {named} as app {config.app_id}?", abort=True)
    _tell(stored_state.drop(config, number))


def _tell(lines: AsyncIterator[str]) -> None:
    """Print each line as soon as it is there."""
    console = out()

    async def follow() -> None:
        async for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    asyncio.run(follow())


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _size(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB" if size >= 1 << 20 else f"{size / 2**10:,.1f} KiB"


def _age(seconds: float) -> str:
    """In the largest unit that fits."""
    for unit, worth in AGES:
        if seconds >= worth:
            return f"{seconds / worth:.0f} {unit} ago"
    return "now"
