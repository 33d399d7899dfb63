"""The command line: reads what was asked for, hands it on, turns errors into one clear line and an exit code."""

import os

# One process a core is the unit of scale: BLAS threads would only get in each other's way. Before NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import asyncio
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from streamrnn import __version__
from streamrnn.cli_check import check
from streamrnn.cli_options import DONE, FAILED, WRONG_USAGE, configured, load, out
from streamrnn.cli_run import run
from streamrnn.cli_show import check_writable, progress, say_where, show_table, writing
from streamrnn.cli_state import state
from streamrnn.cli_tail import tail
from streamrnn.errors import ConfigError, StreamRNNError
from streamrnn.service.allocation import keep_freed_memory
from streamrnn.service.compute import still_computing

F = TypeVar("F", bound=Callable[..., Any])

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
    except SystemExit as told:  # why is in the log
        return int(told.code or DONE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return DONE


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 118},
    epilog="""\b
Completion in this shell (put the line into ~/.bashrc, ~/.zshrc to keep it):
  bash  eval "$(_STREAMRNN_COMPLETE=bash_source streamrnn)"
  zsh   eval "$(_STREAMRNN_COMPLETE=zsh_source streamrnn)"
  fish  _STREAMRNN_COMPLETE=fish_source streamrnn | source""",
)
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
    from streamrnn.service import assembly
    from streamrnn.service import plot as drawing
    from streamrnn.service.backtest import last_rows

    table, stem, config = _table_and_config(path, sets, data, time_format, multivariate=multivariate)
    if plot is not None and not drawing.available():
        raise ConfigError(drawing.HOW_TO_GET_IT)
    for path_written in (report, plot):
        if path_written is not None:
            check_writable(path_written)
    with writing(output) if output else contextlib.nullcontext() as sink:
        options = {"output": sink, "keep": PLOT_ROWS if plot else 0}
        made = _replayed("backtest", table, config, data, stem, multivariate=multivariate, **options)
    entries = made.score.report()
    show_table(f"{data.name}: errors in standard deviations of each column", entries)
    rate = made.records / max(made.seconds, 1e-9)
    out().print(f"{made.records:,} records in {made.seconds:.1f} s: {rate:,.0f} records/s")
    if report is not None:
        body = {"records": made.records, "seconds": made.seconds, "records_per_second": rate, "horizons": entries}
        with writing(report) as file:
            file.write(json.dumps(body, indent=1).encode() + b"\n")
    if plot is not None:
        title = f"{table.names[0]}, {data.name}, while learning"
        with writing(plot) as picture:
            drawing.draw(picture, [last_rows(made, table, assembly.forecast_settings(config), title)])
        say_where(plot)


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
    check_writable(output)
    made = _replayed("train", table, config, data, stem, multivariate=multivariate)
    show_table(f"{data.name}: errors in standard deviations of each column", made.score.report())
    with writing(output) as file:
        write_model(made.forecaster, file)
    updates = made.forecaster.model.updates
    out().print(f"{made.records:,} records, {updates:,} weight updates. Go on with: --set model.initial={output}")


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
    with progress("produce", len(table.values)) as done:
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
    help="Draw the week around one stream's oddest hour here, as PNG.",
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
        check_writable(plot)
    while True:
        with progress("forecasting", table.values.size) as done:
            made = show.run_once(table, done)
        show_demo(out(), made)
        if drawing.available():
            with writing(plot) as picture:
                draw_demo(made, picture)
            say_where(plot)
        else:
            out().print(drawing.HOW_TO_GET_IT, markup=False)  # it has brackets of its own
        if once:
            return


for command in (run, check, tail, state):
    commands.add_command(command)


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
    with progress(title, len(table.values) * records_a_row) as done:
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


def _complain(error: Exception) -> None:
    click.echo(f"streamrnn: {error}", err=True)
