"""`streamrnn run`: the daemon."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from streamrnn.cli_options import FAILED, WRONG_USAGE, configured, load
from streamrnn.errors import ConfigError, StreamRNNError

log = logging.getLogger("streamrnn")


@click.command()
@configured
def run(path: Path, sets: tuple[str, ...]) -> None:
    """Run the daemon until SIGTERM, or until the input file ends.

    It says what it reads, writes and learns and where its metrics are, then a line for each move of a partition's
    task. With files it goes from one to the other, or from stdin to stdout with `-`.

    Example: streamrnn run -c config/streamrnn.yaml --set kafka.bootstrap_servers=broker:9092
    """
    from streamrnn.service import assembly, introduction
    from streamrnn.service import log as logs
    from streamrnn.service.backend import backend

    config = load(path, sets)
    logs.setup(config.log.level, config.log.format)
    with _last_words(config.log.format):
        worker = assembly.worker(config)
        for verb, what in introduction.introduction(config, backend(config, daemon=True)):
            log.info("%s %s", verb, what)
        if warning := introduction.unrecoverable(config):
            log.warning("%s", warning)
        asyncio.run(worker.run())


@contextlib.contextmanager
def _last_words(form: str) -> Iterator[None]:
    """A log of JSON objects ends as one: whoever reads it by machine reads why it ended, too."""
    try:
        yield
    except StreamRNNError as error:
        if form == "text":
            raise
        log.error("%s", error)
        sys.exit(WRONG_USAGE if isinstance(error, ConfigError) else FAILED)
