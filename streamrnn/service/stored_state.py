"""What an operator asks of stored state: is it sound and does it fit, what is in it, away with it."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import UNCHANGEABLE, SnapshotFacts, described, restore
from streamrnn.errors import FatalError, RefusedError, SnapshotError, StreamRNNError
from streamrnn.service import assembly
from streamrnn.service.quantities import Horizons
from streamrnn.service.settings import Config
from streamrnn.service.state_file import write_state
from streamrnn.service.takeover import plan
from streamrnn.transport.contract import Offsets, PartitionId, StateStore, StoredState

NONE, SOUND, REFUSED = "none", "sound", "refused"

# Where each setting that touches forecasts stands in the configuration.
KEYS: Final = {
    "features": "input.features",
    "horizons": "forecast.horizons",
    "coverage": "forecast.coverage",
    "missing": "input.missing",
    "cell": "model.cell",
    "hidden": "model.hidden",
    "readout": "model.readout",
    "learning": "learning.enabled",
    "window": "learning.window",
    "rate": "learning.rate",
    "clip_norm": "learning.clip_norm",
    "seed": "compute.seed",
    "max_streams": "state.max_streams",
    "ttl_ms": "state.ttl, ms",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be known of one partition's stored state."""

    partition: PartitionId
    verdict: str  # NONE | SOUND | REFUSED: what a task that takes over makes of it
    remark: str | None  # why it is refused, or what a task will warn of
    committed: int | None
    end: int | None  # of the log
    facts: SnapshotFacts | None  # None where there is no snapshot or its header cannot be read
    streams: int | None
    written: float | None  # epoch seconds


async def chosen(store: StateStore, number: int | None) -> list[PartitionId]:
    """The partitions that are meant: this one, or all. Raises FatalError where there is no such partition."""
    there = await store.partitions()
    if number is None:
        return there
    if number >= len(there):
        numbers = "0" if len(there) == 1 else f"0 to {len(there) - 1}"
        raise FatalError(f"--partition {number}: there is no such partition of {there[0].topic}, expected {numbers}")
    return [there[number]]


async def show(config: Config, number: int | None) -> list[Report]:
    """A report on each partition that is meant."""
    store, ours = assembly.state_store(config), assembly.forecast_settings(config)
    reports = []
    for partition in await chosen(store, number):
        report = judged(partition, await store.look(partition), ours, config.input.start)
        if report.verdict == REFUSED:  # a living task may have moved on between two parts of the look
            report = judged(partition, await store.look(partition), ours, config.input.start)
        reports.append(report)
    return reports


def judged(partition: PartitionId, stored: StoredState, ours: ForecastSettings, start: str) -> Report:
    """What a task with our settings would make of this."""
    facts, streams, remark, verdict = None, None, None, NONE
    end = stored.log[1] if stored.log else None
    try:
        if stored.snapshot is not None:
            facts = described(stored.snapshot)
            forecaster = restore(stored.snapshot)[0]
            streams, verdict = len(forecaster.table), SOUND
            changed = [
                KEYS[name] for name in UNCHANGEABLE if getattr(ours, name) != getattr(forecaster.settings, name)
            ]
            if changed:
                raise RefusedError(f"{partition}: the snapshot was written with another {', '.join(changed)}")
        if stored.refusal is not None:
            raise RefusedError(stored.refusal)
        if stored.log is not None:
            offset = facts.offset if facts else None
            remark = plan(str(partition), offset, Offsets(stored.committed, *stored.log), start).warning
    except SnapshotError as error:
        verdict, remark = REFUSED, f"{partition}: {error}"
    except RefusedError as error:
        verdict, remark = REFUSED, str(error)
    written = stored.snapshot.written if stored.snapshot else None
    return Report(partition, verdict, remark, stored.committed, end, facts, streams, written)


def compared(reports: Iterable[Report], ours: ForecastSettings) -> list[dict[str, str]]:
    """One row for each setting that touches forecasts: what snapshots say, what we are told, what comes of it."""
    told = _plain(ours.to_json())
    groups: dict[str, list[int]] = {}  # partitions by their snapshot's settings
    for report in reports:
        if report.facts is not None:
            groups.setdefault(json.dumps(report.facts.settings), []).append(report.partition.partition)
    rows = []
    for name in dict.fromkeys((*told, *(name for group in groups for name in json.loads(group)))):
        row = {"setting": KEYS.get(name, name)}
        differs = False
        for group, numbers in groups.items():
            theirs = json.loads(group)
            title = "snapshot" if len(groups) == 1 else f"snapshot of {_ranges(numbers)}"
            row[title] = _shown(name, theirs[name]) if name in theirs else "-"
            differs = differs or name not in theirs or name not in told or theirs[name] != told[name]
        row["configuration"] = _shown(name, told[name]) if name in told else "-"
        row["when a task takes over"] = "" if not differs else "refused" if name in UNCHANGEABLE else "adopted"
        rows.append(row)
    return rows if groups else []


async def export(config: Config, number: int | None, folder: Path) -> AsyncIterator[str]:
    """Write each snapshot to a file of its own in the folder; yields what was done, partition by partition.

    Raises StreamRNNError at the end where a snapshot could not be restored, or where there was none at all.
    """
    store = assembly.state_store(config)
    written, damaged = 0, 0
    for partition in await chosen(store, number):
        stored = await store.look(partition)
        if stored.snapshot is None and stored.refusal is None:
            yield f"{partition}: no snapshot"
            continue
        try:
            if stored.snapshot is None:
                raise SnapshotError(stored.refusal)
            forecaster, _, offset = restore(stored.snapshot)
        except SnapshotError as error:
            damaged += 1
            yield f"{partition}: not exported: {error}"
            continue
        path = folder / f"{partition.topic}-{partition.partition}.safetensors"
        origin = {"topic": partition.topic, "partition": str(partition.partition), "offset": str(offset)}
        size = write_state(path, forecaster, origin)
        written += 1
        yield f"{partition}: {len(forecaster.table):,} streams at offset {offset:,}, {size:,} bytes in {path}"
    if damaged:
        raise StreamRNNError(f"{damaged} of {damaged + written} snapshots could not be exported")
    if not written:
        raise StreamRNNError("there is no snapshot to export")


async def drop(config: Config, number: int | None) -> AsyncIterator[str]:
    """Forget each snapshot; yields what was done and what comes next, partition by partition."""
    store = assembly.state_store(config)
    for partition in await chosen(store, number):
        if not await store.drop(partition):
            yield f"{partition}: nothing was stored"
        else:
            yield f"{partition}: the snapshot is forgotten"
        left = await store.look(partition)
        if left.committed is None:
            yield f"{partition}: no offset is committed, so a task begins at the {config.input.start} record"
        elif left.log is not None and left.committed > left.log[1]:
            yield (
                f"{partition}: the group's offset is {left.committed:,}, but the log ends at {left.log[1]:,}: the "
                "topic was made anew. A task is refused until the offset is set back. Stop every worker of the "
                f"group, then:\n  {reset_line(config, partition)}"
            )
        else:
            yield (
                f"{partition}: a task rebuilds its state from at most the last {config.state.rebuild.text()} of "
                f"input before offset {left.committed:,} and goes on from there"
            )


def reset_line(config: Config, partition: PartitionId) -> str:
    """The command that sets the group's offset back in one partition, with Kafka's own tool."""
    secured = " --command-config CLIENT.properties" if config.kafka.security.protocol != "PLAINTEXT" else ""
    return (
        f"kafka-consumer-groups.sh --bootstrap-server {config.kafka.bootstrap_servers}{secured} --group "
        f"{config.app_id} --topic {partition.topic}:{partition.partition} --reset-offsets --to-earliest --execute"
    )


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """As they would be read back from a header."""
    made: dict[str, Any] = json.loads(json.dumps(settings))
    return made


def _shown(name: str, value: Any) -> str:
    if name == "horizons" and isinstance(value, list):
        value = Horizons(value).text()
    if isinstance(value, bool | None):
        return json.dumps(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _ranges(numbers: list[int]) -> str:
    """Ascending numbers as 0-3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
