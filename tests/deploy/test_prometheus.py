"""Rules, dashboard and metrics, judged by promtool and by a real Prometheus that asks a real worker under load."""

import asyncio
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.monitoring import DASHBOARD, RULES, VARIABLES, Prometheus, choices, panels, queries, rules
from tests.deploy.tools import ROOT, run, said
from tests.kafka.broker import Broker
from tests.kafka.daemon import get, status
from tests.kafka.plain_clients import write
from tests.kafka.world import World, until

ROWS = ["Is it alive?", "Is it keeping up?", "Is it right?", "Is it learning?", "What does it cost?"]
UNDER_LOAD = 120.0  # seconds; a rule looks once a minute


def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    for arguments in (
        ("check", "rules", "--lint=all", "--lint-fatal", RULES),
        ("check", "config", RULES.parent / "prometheus.yml"),
    ):
        answer = run("promtool", *arguments)
        assert answer.returncode == 0, said(answer)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not_and_all_hold() -> None:
    answer = run("promtool", "test", "rules", RULES.parent / "rules_test.yml")
    assert answer.returncode == 0, said(answer)
    cases = (RULES.parent / "rules_test.yml").read_text().split("- name:")[1:]
    for rule in rules():
        if name := rule.get("alert"):
            calm = [
                "exp_alerts: []" in case
                for case in cases
                if f"alertname: {name}\n" in case or f"alertname: {name}," in case
            ]
            assert {True, False} <= set(calm), name


def test_every_alert_has_a_summary_a_severity_and_a_section_of_the_runbook() -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    alerts = [rule for rule in rules() if "alert" in rule]
    assert sorted(headings) == sorted(rule["alert"] for rule in alerts)
    for rule in alerts:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_dashboard_asks_its_five_questions_from_top_to_bottom_and_no_panel_covers_another() -> None:
    found = panels()
    rows = [panel for panel in found if panel["type"] == "row"]
    assert [row["title"] for row in sorted(rows, key=lambda row: row["gridPos"]["y"])] == ROWS
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["targets"]
    used = set(
        re.findall(r"\$\w+", " ".join(target["expr"] for panel in found for target in panel.get("targets", ())))
    )
    assert used == set(VARIABLES), f"{DASHBOARD.name} uses variables that the test does not fill in"


@contextmanager
def load(world: World) -> Iterator[None]:
    """Some hundred records a second of 20 streams, one in 50 of them no record at all."""
    enough = threading.Event()

    def feed() -> None:
        for step in range(10_000):
            if enough.is_set():
                return
            rows = [(b"s%d" % i, b"%.3f" % (10 * i + math.sin(step / 3 + i))) for i in range(20)] * 2
            rows[step % 40] = (b"s0", b"no number")
            asyncio.run(write(world.broker.bootstrap_servers, world.topic, rows, partition=step % 2))
            time.sleep(0.05)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


def test_every_query_of_rules_and_dashboard_returns_data_of_a_worker_under_load(
    broker: Broker, unique: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(broker, unique, tmp_path, state__snapshot_interval="1s")
    broker.create_topic(world.topic, 2)
    try:
        with load(world):
            world.worker.start()
            until(lambda: world.answers("/readyz") == 200)
            until(lambda: all(task["snapshot"] for task in status(world.port)["tasks"]))
            assert world.worker.stop() == 0
            world.worker.start()  # so that there was something to restore
            until(lambda: world.answers("/readyz") == 200)
            with Prometheus(tmp_path, world.port) as prometheus:
                prometheus.wait_for('up{job="streamrnn"} == 1')
                silent, deadline = queries(), time.monotonic() + UNDER_LOAD
                while silent and time.monotonic() < deadline:
                    time.sleep(1.0)
                    silent = {who: query for who, query in silent.items() if not prometheus.answers(query)}
                offered = [prometheus.label_values(*choice) for choice in choices()]
            exposed = get(world.port, "/metrics")[1]
        assert world.worker.stop() == 0
    finally:
        world.worker.end()
    assert silent == {}, f"no data for {len(silent)} of {len(queries())} queries"
    assert offered == [["streamrnn"]]

    answer = run("promtool", "check", "metrics", given=exposed)
    assert answer.returncode == 0, said(answer)
    assert not answer.stderr, said(answer)
