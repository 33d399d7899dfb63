"""`streamrnn run`: the daemon."""

import asyncio
import logging
from pathlib import Path

import click

from streamrnn.cli_options import configured, load

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
    worker = assembly.worker(config)
    for verb, what in introduction.introduction(config, backend(config, daemon=True)):
        log.info("%s %s", verb, what)
    if warning := introduction.unrecoverable(config):
        log.warning("%s", warning)
    asyncio.run(worker.run())
