"""The page of wire formats shows what the codec reads and writes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.records import RecordBatch
from streamrnn.service import assembly
from streamrnn.service.config import load_config
from streamrnn.service.processor import Processor, Slice
from streamrnn.service.produce import messages
from streamrnn.transport.contract import PartitionId, RawBatch
from streamrnn.transport.csv_table import read_csv
from streamrnn.transport.kafka_records import dead_letter_record
from tests.documents.pages import ROOT, blocks, code, rows, section, text_of

PAGE = text_of("formats.md")
SENSORS = PartitionId("sensors", 3)
NOON, HOUR = 1_700_000_000_000, 3_600_000
AMPLE = 1 << 20
CLOSE = 2e-3  # of an interval's width, and of a score: loops and arrays differ by less


def decoded(value: str, settings: Sequence[str] = (), key: bytes | None = b"pump-7") -> RecordBatch:
    """One message as the daemon reads it under these settings, its sentinels as missing."""
    config = load_config(None, settings, {})
    raw = RawColumns([0], [NOON - HOUR], [key], [value.encode()])
    made = Decoder(assembly.input_format(config)).decode(raw)
    assert not made.errors, made.errors
    made.batch.values[np.isin(made.batch.values, config.input.missing)] = math.nan
    return made.batch


def processed(values: Sequence[str | None], settings: Sequence[str] = ()) -> Slice:
    """What becomes of a stream's messages, one an hour, the last of them at NOON with offset 81723."""
    config = load_config(None, settings, {})
    task = assembly.task_settings(config)
    processor = Processor(SENSORS, task.forecast, task.form, every_step=task.every_step)
    n = len(values)
    offsets = list(range(81_724 - n, 81_724))
    times = [NOON - HOUR * (n - 1 - i) for i in range(n)]
    lines = [None if value is None else value.encode() for value in values]
    return processor.process(RawBatch(offsets, times, [b"pump-7"] * n, lines, [()] * n, 81_724), AMPLE)


def last(values: Sequence[str], settings: Sequence[str] = ()) -> dict[str, Any]:
    """The forecast after the last of these messages."""
    found: dict[str, Any] = json.loads(processed(values, settings).outputs.values[-1] or b"")
    return found


def number(i: int) -> float:
    """A day's wave with some unrest."""
    return round(12 + 2 * math.sin(2 * math.pi * i / 24) + 0.1 * (i * 37 % 11), 2)


SCALARS = [json.dumps(number(i)) for i in range(400)]
LISTS = [json.dumps({"values": [number(i), round(20 - number(i) / 2, 2)]}) for i in range(400)]
STEPS = [json.dumps({"values": [[number(2 * i)], [number(2 * i + 1)]]}) for i in range(200)]
SHOWN = (
    (SCALARS, ("forecast.horizons=[1, 24]",)),
    (LISTS, ("forecast.horizons=[1, 24]", "input.features=2")),
    (STEPS, ("forecast.horizons=[1, 24]", "output.steps=all")),
    (["null"], ("forecast.horizons=[1, 24]",)),
)


def differences(found: Any, expected: Any, name: str = "") -> list[str]:
    """Where two forecasts differ in shape, in a word, or by more than rounding."""
    if isinstance(expected, dict):
        if list(found) != list(expected):
            return [f"{name}: the fields {list(found)}, not {list(expected)}"]
        return [each for key in expected for each in differences(found[key], expected[key], key)]
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{name}: {found}, not {expected}"]
        return [each for pair in zip(found, expected, strict=True) for each in differences(*pair, name)]
    if isinstance(expected, float) and isinstance(found, float | int) and abs(found - expected) < CLOSE:
        return []
    return [] if found == expected else [f"{name}: {found}, not {expected}"]


@pytest.mark.parametrize(("case", "shown"), list(enumerate(SHOWN)), ids=["scalars", "lists", "all steps", "young"])
def test_a_forecast_looks_as_it_is_shown(case: int, shown: tuple[list[str], tuple[str, ...]]) -> None:
    block = [block for block in blocks(section(PAGE, "## Forecasts")) if block.language == "json"][case]
    assert differences(last(*shown), json.loads(block.text)) == []


@pytest.mark.parametrize("row", rows(section(PAGE, "## Records")), ids=lambda row: str(row[0]))
def test_a_value_is_so_many_steps_of_so_many_features(row: list[str]) -> None:
    value, settings, told = row
    batch = decoded(code(value)[0], code(settings))
    steps, features = batch.values.shape
    said = f"{steps} step{'s' * (steps > 1)} of {features} feature{'s' * (features > 1)}"
    assert told == said + ", missing" * bool(np.isnan(batch.values).all())


@pytest.mark.parametrize("row", rows(section(PAGE, "### Time").partition("Of a sequence")[0]), ids=lambda row: row[0])
def test_a_time_is_read_as_it_is_told(row: list[str]) -> None:
    assert ", ".join(map(str, decoded(code(row[0])[0]).times)) == row[1]


@pytest.mark.parametrize("row", rows(section(PAGE, "### Time").partition("Of a sequence")[2]), ids=lambda row: row[0])
def test_the_times_of_a_sequence_are_read_as_they_are_told(row: list[str]) -> None:
    forecast = json.loads(processed(code(row[0]), ["output.steps=all"]).outputs.values[-1] or b"")
    assert ", ".join(map(str, forecast["time"])) == row[1]


@pytest.mark.parametrize("row", rows(section(PAGE, "### Other names")), ids=lambda row: str(row[0]))
def test_other_names_are_found(row: list[str]) -> None:
    value, settings, stream, values = row
    batch = decoded(code(value)[0], code(settings), b"the key" if stream == "the key" else None)
    assert batch.keys[0].decode() == (code(stream) or [stream])[0]
    told = ["missing" if np.isnan(x) else f"{x:g}" for x in batch.values[-1]]
    assert ", ".join(told) == values


def test_a_dead_letter_has_the_headers_that_are_shown() -> None:
    said = section(PAGE, "## Dead letters")
    (letter,) = processed([code(said.partition("which is what became of")[2])[0]]).dead_letters
    *_, headers = dead_letter_record(letter, SENSORS, AMPLE)
    assert [[f"`{name}`", f"`{(value or b'').decode()}`"] for name, value in headers] == rows(said)


def test_lines_of_a_file_come_out_as_they_are_shown(tmp_path: Path) -> None:
    shown = {block.title: block.text for block in blocks(section(PAGE, "## Files"))}
    (tmp_path / "records.jsonl").write_text(shown["records.jsonl"])
    command = [
        sys.executable,
        "-m",
        "streamrnn",
        "run",
        "-c",
        str(ROOT / "config" / "files.yaml"),
        "--set",
        "http.port=0",
    ]
    answer = subprocess.run(command, cwd=tmp_path, env=_on_path(), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for name in ("forecasts.jsonl", "forecasts.jsonl.dead-letter"):
        assert (tmp_path / name).read_text() == shown[name]


def test_produce_sends_of_a_table_what_is_shown(tmp_path: Path) -> None:
    shown = {block.title: block.text for block in blocks(section(PAGE, "## CSV"))}
    (tmp_path / "pumps.csv").write_text(shown["pumps.csv"])
    table = read_csv(tmp_path / "pumps.csv")
    for title, multivariate in (("produce", False), ("produce --multivariate", True)):
        sent = [pair for row in range(2) for pair in messages(table, row, multivariate=multivariate, stem="pumps")]
        assert "".join(f"{key.decode()} {value.decode()}\n" for key, value in sent) == shown[title]


def _on_path() -> dict[str, str]:
    """An environment in which this package is found from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
