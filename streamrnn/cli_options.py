"""What the commands have in common: the options that name a configuration, and where they print."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])

DONE, FAILED, WRONG_USAGE = 0, 1, 2  # exit codes


def configured(function: F) -> F:
    """The options of every command that reads a configuration."""
    for option in (
        click.option("--set", "sets", multiple=True, metavar="a.b=value", help="Set one key (repeatable)."),
        click.option("-c", "--config", "path", type=click.Path(path_type=Path), required=True, help="The YAML file."),
    ):
        function = option(function)
    return function


def load(path: Path, sets: tuple[str, ...]) -> Any:
    """The configuration. Raises ConfigError."""
    from streamrnn.service.config import load_config

    return load_config(path, sets, os.environ)


def out() -> Console:
    """Standard output, as wide as the terminal."""
    return Console(width=None if sys.stdout.isatty() else 118)
