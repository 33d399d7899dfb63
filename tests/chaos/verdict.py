"""Judges from outside: what plain clients find in the topics, against one uninterrupted run over files."""

import asyncio
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.structs import TopicPartition

from tests.chaos.feed import scale_of
from tests.kafka.daemon import ROOT
from tests.kafka.plain_clients import administrator, read

BOUND = 1e-4  # of the series' scale: law 3
HISTORY = 5  # records of the same stream that are told of a wrong one
PROBABILITY_BOUND = 1e-3  # of the two scores
HEADERS = "__streamrnn.errors."


@dataclass(slots=True)
class Verdict:
    """What was found. `wrong` is empty where the promise was kept."""

    records: int = 0
    forecasts: int = 0
    tombstones: int = 0
    dead_letters: int = 0
    compared: int = 0
    largest: float = 0.0  # deviation of a forecast from the reference, in units of the series' scale
    different: int = 0  # forecasts that are not equal to the last digit
    wrong: list[str] = field(default_factory=list)


async def judge(
    bootstrap_servers: str, settings: Mapping[str, object], folder: Path, partitions: int, topic: str
) -> Verdict:
    """Everything that can be told from outside, one partition after the other."""
    verdict = Verdict()
    group = str(settings["app_id"])
    buried = await _dead_letters(bootstrap_servers, f"{topic}.dead-letter")
    for partition in range(partitions):
        place = f"{topic}[{partition}]"
        taken = await read(bootstrap_servers, topic, partition, patience=300)
        made = await read(bootstrap_servers, f"{topic}.forecast", partition, patience=300)
        committed, end = await _offsets(bootstrap_servers, group, TopicPartition(topic, partition))
        if committed != end:
            verdict.wrong.append(f"{place}: the committed offset is {committed}, the log ends at {end}")
        dead = buried[partition]
        verdict.records += len(taken)
        verdict.dead_letters += len(dead)
        outcomes = _one_outcome_each(place, taken, made, dead, verdict)
        reference = await asyncio.to_thread(_reference, taken, settings, folder / f"partition-{partition}")
        _compare(place, taken, outcomes, set(dead), reference, verdict)
    return verdict


async def _dead_letters(bootstrap_servers: str, topic: str) -> dict[int, list[int]]:
    """Offsets of the records that died, by partition of the input; the topic may have fewer than the input."""
    async with administrator(bootstrap_servers) as admin:
        (described,) = await admin.describe_topics([topic])
    found: dict[int, list[int]] = defaultdict(list)
    for number in range(len(described["partitions"])):
        for letter in await read(bootstrap_servers, topic, number, patience=300):
            headers = dict(letter.headers)
            found[int(headers[f"{HEADERS}partition"])].append(int(headers[f"{HEADERS}offset"]))
    return found


def _one_outcome_each(
    place: str, taken: Sequence[ConsumerRecord], made: Sequence[ConsumerRecord], dead: list[int], verdict: Verdict
) -> dict[int, dict[str, Any]]:
    """Forecasts by offset. Each record has one outcome, and forecasts stand in the order of their records."""
    if dead != sorted(set(dead)):
        verdict.wrong.append(f"{place}: dead letters are repeated or out of order")
    left = set(dead)
    expected = [record for record in taken if record.offset not in left]
    unknown = left - {record.offset for record in taken}
    if unknown:
        verdict.wrong.append(f"{place}: dead letters of records that never were: {sorted(unknown)[:5]}")
    outcomes: dict[int, dict[str, Any]] = {}
    for record, output in zip(expected, made, strict=False):
        body = None if output.value is None else json.loads(output.value)
        found = record.offset if body is None else body["offset"]
        key = output.key if body is None else body["stream"].encode()
        if found != record.offset or (body is None) != (record.value is None) or key != (record.key or key):
            verdict.wrong.append(
                f"{place}: the outcome of offset {record.offset} ({record.key!r}) was expected and that of {found} "
                f"({output.key!r}) stands at offset {output.offset} of the output"
            )
            return outcomes
        if output.timestamp != record.timestamp or output.key != key:
            verdict.wrong.append(f"{place}@{record.offset}: the forecast has another key or timestamp")
        if body is None:
            verdict.tombstones += 1
        else:
            verdict.forecasts += 1
            outcomes[record.offset] = body
    if len(made) != len(expected):
        verdict.wrong.append(f"{place}: {len(expected)} records have {len(made)} forecasts")
    return outcomes


@dataclass(slots=True)
class _Reference:
    """The uninterrupted run: its forecasts and dead letters by the offset of the record in Kafka."""

    forecasts: dict[int, dict[str, Any]]
    dead: set[int]
    left_out: set[int]  # no line of JSON holds these
    values: dict[str, list[float]]  # of each stream, in order


def _reference(taken: Sequence[ConsumerRecord], settings: Mapping[str, object], folder: Path) -> _Reference:
    folder.mkdir(parents=True)
    source, output = folder / "input", folder / "output"
    offsets: list[int] = []
    left_out: set[int] = set()
    values: dict[str, list[float]] = defaultdict(list)
    with source.open("w", encoding="utf-8") as file:
        for record in taken:
            line = as_line(record)
            if line is None:
                left_out.add(record.offset)
                continue
            offsets.append(record.offset)
            values[str(line.get("stream"))] += _numbers(line)
            file.write(json.dumps(line) + "\n")
    sets = [f"--set={key}={value}" for key, value in settings.items()]
    files = {"input": source, "output": output, "state": folder / "state"}
    sets += ["--set=transport=file", *(f"--set=file.{name}={path}" for name, path in files.items())]
    sets += ["--set=http.port=0"]
    told = subprocess.run(
        [sys.executable, "-m", "streamrnn", "run", "-c", "config/streamrnn.yaml", *sets],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if told.returncode != 0:
        raise RuntimeError(f"the uninterrupted run ended with {told.returncode}: {told.stderr[-2000:]}")
    forecasts = {}
    with output.open(encoding="utf-8") as file:
        for text in file:
            body = json.loads(text)
            if "offset" in body:
                forecasts[offsets[body["offset"]]] = body
    dead_letters = folder / "output.dead-letter"
    dead = set()
    if dead_letters.exists():
        dead = {offsets[json.loads(text)["offset"]] for text in dead_letters.read_text().splitlines()}
    return _Reference(forecasts, dead, left_out, values)


def as_line(record: ConsumerRecord) -> dict[str, Any] | None:
    """The record as a line of the file transport, with its time in it; None where no line of JSON holds it."""
    try:
        key = None if record.key is None else record.key.decode()
        body = None if record.value is None else json.loads(record.value)
    except (ValueError, RecursionError):
        return None
    if record.value is None:
        return None if key is None else {"stream": key, "forget": True, "time": record.timestamp}
    if isinstance(body, int | float) and not isinstance(body, bool):
        body = {"value": body}
    if not isinstance(body, dict):
        return None
    if key is not None:
        body["stream"] = key
    return {"time": record.timestamp, **body}


def _numbers(line: Mapping[str, Any]) -> list[float]:
    values = line.get("values", [[line.get("value")]])
    flat = (
        [step[0] if isinstance(step, list) and step else None for step in values] if isinstance(values, list) else []
    )
    return [float(x) for x in flat if isinstance(x, int | float) and math.isfinite(x)]


def _compare(
    place: str,
    taken: Sequence[ConsumerRecord],
    outcomes: Mapping[int, dict[str, Any]],
    dead: set[int],
    reference: _Reference,
    verdict: Verdict,
) -> None:
    """Every forecast against the uninterrupted run's, to the bound of law 3."""
    if dead != reference.dead | (reference.left_out & dead):
        odd = sorted((dead ^ reference.dead) - reference.left_out)
        verdict.wrong.append(f"{place}: dead in only one of the two runs: offsets {odd[:5]}")
    if not reference.left_out <= dead:
        verdict.wrong.append(f"{place}: {sorted(reference.left_out - dead)[:5]} should be dead letters")
    scales = {stream: scale_of(np.array(values)) for stream, values in reference.values.items()}
    for record in taken:
        found, expected = outcomes.get(record.offset), reference.forecasts.get(record.offset)
        if (found is None) != (expected is None):
            verdict.wrong.append(f"{place}@{record.offset}: forecast in only one of the two runs")
            return
        if found is None or expected is None:
            continue
        verdict.compared += 1
        off = _deviation(found, expected, scales[found["stream"]])
        verdict.largest = max(verdict.largest, off)
        verdict.different += off > 0
        if off > BOUND:
            verdict.wrong.append(
                f"{place}@{record.offset}: the forecast is {off:.3g} scales off\n"
                + _history(found["stream"], record.offset, taken, outcomes, reference)
            )
            return


def _deviation(found: Mapping[str, Any], expected: Mapping[str, Any], scale: float) -> float:
    """In units of the scale; infinite where what must be equal is not."""
    for name in ("stream", "time", "horizons", "warm", "model"):
        if found[name] != expected[name]:
            return math.inf
    off = 0.0
    for name, unit in (("mean", scale), ("lower", scale), ("upper", scale)):
        if found[name] != expected[name]:
            ours, theirs = np.array(found[name], float), np.array(expected[name], float)
            if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
                return math.inf
            off = max(off, float(np.nanmax(np.abs(ours - theirs))) / unit)
    for name in ("anomaly", "surprise"):
        ours, theirs = found[name], expected[name]
        if (ours is None) != (theirs is None) or (ours is not None and abs(ours - theirs) > PROBABILITY_BOUND):
            return math.inf
    return off


def _history(
    stream: str,
    offset: int,
    taken: Sequence[ConsumerRecord],
    outcomes: Mapping[int, dict[str, Any]],
    reference: _Reference,
) -> str:
    """The last records of this stream up to this one, what came out and what should have."""
    mine = [r for r in taken if r.offset <= offset and (r.key == stream.encode() or (r.key is None and r.value))]
    lines = []
    for record in mine[-HISTORY:]:
        lines.append(f"  {record.offset}: {record.key!r} {(record.value or b'')[:200]!r} at {record.timestamp}")
        lines.append(f"    found    {outcomes.get(record.offset)}")
        lines.append(f"    expected {reference.forecasts.get(record.offset)}")
    return "\n".join(lines)


async def _offsets(bootstrap_servers: str, group: str, place: TopicPartition) -> tuple[int | None, int]:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False
    ) as consumer:
        end: int = (await consumer.end_offsets([place]))[place]
        return await consumer.committed(place), end
