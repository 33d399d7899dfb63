"""One session from beginning to end: torture, then verdict, then a report."""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.chaos.chamber import PARTITIONS, TOPIC, Chamber, Felt, Setting
from tests.chaos.verdict import Verdict, judge

COMPLAINTS = re.compile(r"Traceback|was never retrieved|was destroyed but|Unclosed|never awaited|ResourceWarning")


@dataclass(slots=True)
class Report:
    """What a session has shown."""

    setting: Setting
    felt: list[Felt]
    verdict: Verdict
    wrong: list[str]

    def __str__(self) -> str:
        s, v = self.setting, self.verdict
        kinds: dict[str, list[float]] = defaultdict(list)
        for each in self.felt:
            kinds[each.kind].append(each.worst)
        lines = [
            f"seed {s.seed}, {s.brokers} broker(s), {s.seconds:g} s{', static members' * s.static}",
            f"{len(self.felt)} faults, {v.records:,} records: {v.forecasts:,} forecasts, "
            f"{v.dead_letters:,} dead letters, {v.tombstones:,} tombstones",
            f"{v.compared:,} forecasts compared: {v.different:,} differ at all, by at most {v.largest:.2g} scales",
            "",
            "| fault | times | felt for: median | longest |",
            "|---|---:|---:|---:|",
        ]
        for kind, worst in sorted(kinds.items()):
            lines.append(f"| {kind} | {len(worst)} | {np.median(worst):.1f} s | {max(worst):.1f} s |")
        lines += ["", f"wrong: {len(self.wrong)}", *(f"- {each}" for each in self.wrong)]
        return "\n".join(lines)


async def session(setting: Setting, folder: Path) -> Report:
    """Let it all happen. Logs and files stay in `folder`, which is there."""
    chamber = Chamber(setting, folder)
    try:
        outcome = await chamber.run()
        leaks = await chamber.leaks()
        await asyncio.to_thread(chamber.stop_workers)
        verdict = await judge(chamber.cluster.bootstrap_servers, setting.settings, folder, PARTITIONS, TOPIC)
    finally:
        chamber.end()
    return Report(setting, outcome.felt, verdict, [*outcome.wrong, *leaks, *verdict.wrong, *_complaints(folder)])


def _complaints(folder: Path) -> list[str]:
    """Lines of the workers' logs that speak of a mistake, or too many lines."""
    found = []
    for log in sorted(folder.glob("worker-*.log")):
        lines = log.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if COMPLAINTS.search(line):
                found.append(f"{log.name}:{number}: {line}")
    return found
