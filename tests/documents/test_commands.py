"""What the pages tell to type: commands that exist, settings that are valid, targets of the Makefile."""

import re
import shlex
from pathlib import Path

import click
import pytest

from streamrnn.cli import commands
from streamrnn.service.config import load_config
from tests.documents.pages import DOCS, ROOT, blocks

PAGES = sorted(DOCS.rglob("*.md"))
COMMAND = re.compile(r"^(?:    |\()(?:\S*/)?streamrnn +([a-z].*)$", re.MULTILINE)
ENDS = {"|", "&", ">", "2>", ";", "&&"}


def typed() -> list[list[str]]:
    """Every command of every page, as the words after `streamrnn`."""
    found = []
    for page in PAGES:
        for line in COMMAND.findall(page.read_text(encoding="utf-8")):
            words = shlex.split(line, comments=True)
            end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
            found.append(["0" if word == "N" else word for word in words[:end]])  # N: a number of the reader's own
    return found


def parsed(words: list[str]) -> click.Context:
    """The command that these words call, with its arguments. Raises click.UsageError."""
    command: click.Command = commands
    context = click.Context(command)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name}")
        command = found
    return command.make_context(command.name, words, parent=context)


def test_there_are_commands_to_look_at() -> None:
    assert {words[0] for words in typed()} == {"run", "check", "backtest", "train", "produce", "state"}


@pytest.mark.parametrize("words", typed(), ids=" ".join)
def test_a_command_is_one_that_there_is_with_settings_that_there_are(words: list[str]) -> None:
    arguments = parsed(words).params
    load_config(None, arguments.get("sets", ()), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_configuration_that_is_shown_is_valid(page: Path, tmp_path: Path) -> None:
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "yaml":
            (tmp_path / "shown.yaml").write_text(block.text)
            load_config(tmp_path / "shown.yaml", (), {})


def test_every_target_of_make_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for line in re.findall(r"(?:`|^    )make ([a-z -]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            named = [word for word in line.split() if word == line.split()[0] or word in targets]
            assert named[0] in targets, f"{page.name}: make {line}"
