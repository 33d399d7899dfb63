"""Every message in docs/feeding.md is read as the page says, with the configuration that stands above it."""

import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.service import assembly
from streamrnn.service.config import load_config

PAGE = Path(__file__).parents[1] / "docs" / "feeding.md"
NOW = 1_700_000_000_000  # the message's timestamp
INDENT = "    "
LED_IN = re.compile(r"with(?:out a key| the key `(?P<key>.+)`):$", re.IGNORECASE)


class Example(NamedTuple):
    """A message as the page shows it, and what it says becomes of it."""

    configuration: str
    key: str | None
    value: str
    outcome: str


def examples() -> Iterator[Example]:
    """A configuration holds for what follows it. A message stands between what leads to it and what becomes of it."""
    configuration = ""
    paragraphs = PAGE.read_text(encoding="utf-8").split("\n\n")
    for before, paragraph, after in zip(paragraphs, paragraphs[1:], paragraphs[2:], strict=False):
        if paragraph.startswith(f"{INDENT}input:"):
            configuration = textwrap.dedent(paragraph)
        elif paragraph.startswith(INDENT) and (found := LED_IN.search(before)):
            yield Example(configuration, found["key"], paragraph.strip(), after.strip().removesuffix("."))


EXAMPLES = list(examples())


def outcome(example: Example, folder: Path) -> str:
    """What the decoder makes of the message, in the words of the page."""
    path = folder / "streamrnn.yaml"
    path.write_text(example.configuration)
    form = assembly.input_format(load_config(path, [], {}))
    key = None if example.key is None else example.key.encode()
    decoded = Decoder(form).decode(RawColumns([0], [NOW], [key], [example.value.encode()]))
    if decoded.errors:
        ((_, error),) = decoded.errors
        return f"Dead letter ({error.stage}): {error}"
    batch = decoded.batch
    (stream,), (time,), (values,) = batch.keys, batch.times.tolist(), batch.values.tolist()
    when = "the message's timestamp" if time == NOW else datetime.fromtimestamp(time / 1000, UTC).isoformat()
    return f"Read as `{stream.decode()}` at {when}: {', '.join(map(str, values))}"


def test_every_message_of_the_page_is_an_example() -> None:
    assert len(EXAMPLES) == len(re.findall(r"^(?:Read as|Dead letter)", PAGE.read_text(), re.MULTILINE)) >= 10
    assert all(example.configuration for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.value[:40])
def test_a_message_is_read_as_the_page_says(example: Example, tmp_path: Path) -> None:
    assert outcome(example, tmp_path) == example.outcome
