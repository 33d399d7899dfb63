"""The command line: reads what was asked for, hands it on, turns errors into one clear line and an exit code."""

import os

# One process a core is the unit of scale: BLAS threads would only get in each other's way. Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamrnn import __version__
from streamrnn.cli_options import configured, load, out
from streamrnn.cli_state import state
from streamrnn.errors import ConfigError, StreamRNNError
from streamrnn.service.allocation import keep_freed_memory
from streamrnn.service.compute import still_computing

F = TypeVar("F", bound=Callable[..., Any])

DONE, FAILED, WRONG_USAGE = 0, 1, 2
PLOT_ROWS = 240


def main() -> NoReturn:
    """The entry point. Every foreseen error ends in one message on stderr and the contract's exit code."""
    keep_freed_memory()
    code = _done()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    if still_computing():  # it compiles, say, for a minute, and nothing can make it stop
        os._exit(code)
    sys.exit(code)


def _done() -> int:
    """Do what the command line asks for; the exit code."""
    try:
        commands(prog_name="streamrnn", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        return FAILED
    except ConfigError as error:
        _complain(error)
        return WRONG_USAGE
    except StreamRNNError as error:
        _complain(error)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 118})
@click.version_option(__version__, prog_name="streamrnn")
def commands() -> None:
    """Forecasts for numbers that flow through Apache Kafka, learnt as they flow.

    Try it without a broker: streamrnn demo --once
    """


def _reads_csv(function: F) -> F:
    """The arguments of every command that reads a table."""
    for option in (
        click.option(
            "--time-format", help="strptime format of the first column, where it is none of the usual ones."
        ),
        click.option("--multivariate", is_flag=True, help="The columns are the features of one stream."),
        click.argument("data", type=click.Path(path_type=Path)),
    ):
        function = option(function)
    return function


@commands.command()
@configured
def run(path: Path, sets: tuple[str, ...]) -> None:
    """Run the daemon until SIGTERM, or until the input file ends.

    Example: streamrnn run -c config/streamrnn.yaml --set kafka.bootstrap_servers=broker:9092
    """
    from streamrnn.service import assembly, log

    config = load(path, sets)
    log.setup(config.log.level, config.log.format)
    with _last_words(config.log.format):
        worker = assembly.worker(config)
        _introduce(config)
        asyncio.run(worker.run())


@commands.command()
@configured
@_reads_csv
@click.option("--output", type=click.Path(path_type=Path), help="Write one line of JSON per forecast here.")
@click.option("--report", type=click.Path(path_type=Path), help="Write errors, coverage and speed here, as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the first column's last rows here, as PNG.")
def backtest(
    path: Path,
    sets: tuple[str, ...],
    data: Path,
    multivariate: bool,
    time_format: str | None,
    output: Path | None,
    report: Path | None,
    plot: Path | None,
) -> None:
    """Forecast a CSV as the daemon would have, and tell how good the forecasts were.

    Example: streamrnn backtest -c config/score.yaml data.csv --plot plot.png
    """
    from streamrnn.service import plot as drawing

    table, stem, config = _table_and_config(path, sets, data, time_format, multivariate=multivariate)
    if plot is not None and not drawing.available():
        raise ConfigError(drawing.HOW_TO_GET_IT)
    for path_written in (report, plot):
        if path_written is not None:
            _check_writable(path_written)
    with _writing(output) if output else contextlib.nullcontext() as sink:
        options = {"output": sink, "keep": PLOT_ROWS if plot else 0}
        made = _replayed("backtest", table, config, data, stem, multivariate=multivariate, **options)
    entries = made.score.report()
    _show_table(f"{data.name}: errors in standard deviations of each column", entries)
    rate = made.records / max(made.seconds, 1e-9)
    out().print(f"{made.records:,} records in {made.seconds:.1f} s: {rate:,.0f} records/s")
    if report is not None:
        body = {"records": made.records, "seconds": made.seconds, "records_per_second": rate, "horizons": entries}
        with _writing(report) as file:
            file.write(json.dumps(body, indent=1).encode() + b"\n")
    if plot is not None:
        import numpy as np

        kept = made.kept
        first = len(table.values) - len(kept.mean)
        with _writing(plot) as picture:
            drawing.draw(
                picture,
                title=f"{table.names[0]}, {data.name}",
                label=table.names[0],
                times=table.times,
                values=table.values[:, 0],
                origins=np.arange(first, len(table.values)),
                horizon=config.forecast.horizons[0],
                bounds=np.stack([kept.lower[:, 0, 0], kept.mean[:, 0, 0], kept.upper[:, 0, 0]], axis=1),
                coverage=config.forecast.coverage,
            )
        _say_where(plot)


@commands.command()
@configured
@_reads_csv
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Write the model here.")
def train(
    path: Path, sets: tuple[str, ...], data: Path, multivariate: bool, time_format: str | None, output: Path
) -> None:
    """Learn from history, so that new streams begin with what others taught: `model.initial: MODEL`.

    Example: streamrnn train -c config/streamrnn.yaml history.csv --output model.safetensors
    """
    from streamrnn.service.model_file import write_model

    table, stem, config = _table_and_config(path, sets, data, time_format, multivariate=multivariate)
    _check_writable(output)
    made = _replayed("train", table, config, data, stem, multivariate=multivariate)
    _show_table(f"{data.name}: errors in standard deviations of each column", made.score.report())
    with _writing(output) as file:
        write_model(made.forecaster, file)
    updates = made.forecaster.model.updates
    out().print(f"{made.records:,} records, {updates:,} weight updates. Go on with: --set model.initial={output}")


@commands.command()
@configured
def check(path: Path, sets: tuple[str, ...]) -> None:
    """Validate the configuration, show what will be used, and reach the broker or open the files.

    Example: streamrnn check -c config/streamrnn.yaml
    """
    from streamrnn.service import assembly
    from streamrnn.service.backend import backend
    from streamrnn.service.config import effective_yaml
    from streamrnn.service.memory import CONFIGURED, DAY, account
    from streamrnn.service.reach import reach

    config = load(path, sets)
    console = out()
    console.print(effective_yaml(config), end="", highlight=False, markup=False)
    console.print(f"`streamrnn run` computes with {backend(config, daemon=True).__name__}.")
    settings = assembly.forecast_settings(config)
    bytes_by_part = account(settings)
    _show_table(f"Bytes of a series, season of {DAY} steps", bytes_by_part)
    largest = bytes_by_part[-1][CONFIGURED] * config.input.features * config.state.max_streams / 2**20
    console.print(f"At state.max_streams = {config.state.max_streams:,}: {largest:,.0f} MiB for each partition.")
    console.print(asyncio.run(reach(config)))


@commands.command()
@configured
@_reads_csv
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="Times as fast as the rows' own times.")
def produce(
    path: Path, sets: tuple[str, ...], data: Path, multivariate: bool, time_format: str | None, speed: float | None
) -> None:
    """Replay a CSV into the input topic, as fast as it goes or X times as fast as it happened.

    Example: streamrnn produce -c config/streamrnn.yaml data.csv --speed 3600
    """
    from streamrnn.service import assembly
    from streamrnn.service.produce import produce as send

    config = load(path, sets)
    if config.transport != "kafka":
        raise ConfigError(f"{path}: transport: is {config.transport!r}, produce needs 'kafka'")
    table, stem = _read(data, time_format)
    with _progress("produce", len(table.values)) as done:
        records = asyncio.run(
            send(
                assembly.kafka_settings(config),
                table,
                stem=stem,
                multivariate=multivariate,
                speed=speed,
                on_rows=done,
            )
        )
    out().print(f"{records:,} records sent to {config.input.topic}")


@commands.command()
@click.option("--once", is_flag=True, help="Stop at the end of the data instead of starting again.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    default=Path("streamrnn-demo.png"),
    show_default=True,
    help="Draw the last ten days of one stream here, as PNG.",
)
def demo(once: bool, plot: Path) -> None:
    """Forecast a year of real weather, with no broker: 15 streams from New York's airports.

    Example: streamrnn demo --once
    """
    from streamrnn.service import demo as show
    from streamrnn.service import plot as drawing
    from streamrnn.service.demo_report import draw_demo, show_demo

    table = show.weather()
    if drawing.available():
        _check_writable(plot)
    while True:
        with _progress("forecasting", table.values.size) as done:
            made = show.run_once(table, done)
        show_demo(out(), made)
        if drawing.available():
            with _writing(plot) as picture:
                draw_demo(made, picture)
            _say_where(plot)
        else:
            out().print(drawing.HOW_TO_GET_IT, markup=False)  # it has brackets of its own
        if once:
            return


def _not_yet(name: str) -> click.Command:
    @click.command(name, context_settings={"ignore_unknown_options": True}, help="Not available in this version.")
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:  # noqa: ARG001
        raise click.UsageError(f"`streamrnn {name}` is not available in version {__version__}")

    return command


commands.add_command(_not_yet("tail"))
commands.add_command(state)


def _table_and_config(
    path: Path, sets: tuple[str, ...], data: Path, time_format: str | None, *, multivariate: bool
) -> Any:
    """The table, the file's stem, and the configuration with the features that the table has."""
    table, stem = _read(data, time_format)
    features = [f"input.features={len(table.names)}"] if multivariate else []
    config = load(path, (*sets, *features))
    if not multivariate and config.input.features != 1:
        raise ConfigError(
            f"{path}: input.features: is {config.input.features}, but each column of {data} is a stream of one "
            "feature. Pass --multivariate to make the columns the features of one stream"
        )
    return table, stem, config


def _replayed(
    title: str, table: Any, config: Any, data: Path, stem: str, *, multivariate: bool, **options: Any
) -> Any:
    """What a backtest of the table gives, with progress."""
    from streamrnn.service import assembly
    from streamrnn.service.backend import backend
    from streamrnn.service.backtest import backtest as run_backtest

    records_a_row = 1 if multivariate else len(table.names)
    with _progress(title, len(table.values) * records_a_row) as done:
        return run_backtest(
            table,
            assembly.forecast_settings(config),
            topic=data.name,
            stem=stem,
            multivariate=multivariate,
            initial=assembly.initial_model(config),
            xp=backend(config, daemon=False),
            on_rows=lambda rows: done(rows * records_a_row),
            **options,
        )


def _read(path: Path, time_format: str | None) -> Any:
    """The table and the file's stem."""
    from streamrnn.transport.csv_table import read_csv

    name = path.name.removesuffix(".gz")
    return read_csv(path, time_format), Path(name).stem


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[Any]:
    try:
        with path.open("wb", buffering=1 << 20) as file:
            yield file
    except OSError as error:
        raise StreamRNNError(f"{path}: cannot be written: {error.strerror}") from error


def _check_writable(path: Path) -> None:
    """Before the work, and not after it, say that what comes of it could not be written."""
    if path.is_dir():
        raise StreamRNNError(f"{path}: cannot be written: is a folder")
    if not path.absolute().parent.is_dir():
        raise StreamRNNError(f"{path}: cannot be written: there is no folder {path.absolute().parent}")


def _say_where(plot: Path) -> None:
    out().print(f"plot: {plot.resolve()}", soft_wrap=True, highlight=False, markup=False)


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; yields what to tell the number done."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:,.0f} at {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=total, rate=0.0)

        def done(number: int) -> None:
            elapsed = progress.tasks[bar].elapsed or 0.0
            progress.update(bar, completed=number, rate=number / elapsed if elapsed else 0.0)

        yield done


def _show_table(title: str, entries: list[dict[str, Any]]) -> None:
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
def _last_words(form: str) -> Iterator[None]:
    """A log of JSON objects ends as one: whoever reads it by machine reads why it ended, too."""
    import logging

    try:
        yield
    except StreamRNNError as error:
        if form == "text":
            raise
        logging.getLogger("streamrnn").error("%s", error)
        sys.exit(WRONG_USAGE if isinstance(error, ConfigError) else FAILED)


def _introduce(config: Any) -> None:
    """Say what will be read, written and shown."""
    import logging

    from streamrnn.transport.durable import is_stream

    log = logging.getLogger("streamrnn")
    if config.transport == "file":
        source, sink = config.file.input, config.file.output
        log.info(
            "reads %s, writes %s",
            "standard input" if source == "-" else source,
            "standard output" if sink == "-" else sink,
        )
        if is_stream(source) or is_stream(sink):
            log.warning("a pipe cannot be cut back: state is saved at the end only, and there is no recovery")
    else:
        log.info(
            "reads %s, writes %s at %s as group %s, %s",
            config.input.topic,
            config.output.topic,
            config.kafka.bootstrap_servers,
            config.app_id,
            config.kafka.delivery.replace("_", " "),
        )
    model = config.model
    horizons = config.forecast.horizons.text()
    log.info(
        "forecasts %s step%s ahead with a %s of %d units, learning %s",
        horizons if isinstance(horizons, str) else ", ".join(map(str, horizons)),
        "" if horizons == [1] else "s",
        model.cell,
        model.hidden,
        "on" if config.learning.enabled else "off",
    )


def _complain(error: Exception) -> None:
    click.echo(f"streamrnn: {error}", err=True)
