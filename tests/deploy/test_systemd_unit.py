"""The unit, judged by systemd-analyze, and run by a real systemd."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.systemd_manager import Systemd
from tests.deploy.tools import DEPLOY, run, said
from tests.service.program import records, until

UNIT = DEPLOY / "systemd" / "streamrnn@.service"
MOST_EXPOSURE = 2.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files = f"{{input: {pipe}, output: out.jsonl, state: state}}"
    made.configure("flows", f"transport: file\nfile: {files}\nhttp: {{port: 0}}\n", "WatchdogSec=3")
    made.configure("away", "kafka: {bootstrap_servers: '127.0.0.1:1'}\nhttp: {port: 0}\n")
    made.configure("wrong", "kafak: {}\n")
    with made:
        yield made


def test_systemd_analyze_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    unit = tmp_path / "streamrnn@.service"
    unit.write_text(UNIT.read_text().replace("/opt/streamrnn/bin/streamrnn", sys.executable))
    for name in ("streamrnn@.service", "streamrnn@sensors.service"):
        answer = run("systemd-analyze", "verify", "--man=no", unit.with_name(name))
        assert answer.returncode == 0, said(answer)
        assert "streamrnn" not in answer.stdout + answer.stderr, said(answer)


def test_the_sandbox_leaves_little_exposed() -> None:
    answer = run("systemd-analyze", "security", "--offline=true", UNIT)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.stdout)
    assert found, said(answer)
    assert float(found[1]) < MOST_EXPOSURE, said(answer)


def test_a_unit_is_started_when_its_state_is_there_and_says_until_then_what_it_waits_for(
    systemd: Systemd, tmp_path: Path
) -> None:
    for instance in ("away", "flows"):
        systemd.systemctl("start", "--no-block", f"streamrnn@{instance}")
    until(lambda: "127.0.0.1:1" in systemd.shows("away", "StatusText")[0])
    assert systemd.shows("away", "ActiveState", "SubState") == ["activating", "start"]

    with (tmp_path / "pipe").open("r+b", buffering=0) as pipe:
        pipe.write(b"\n".join(records(20, 2)) + b"\n")
        until(lambda: systemd.shows("flows", "ActiveState", "SubState") == ["active", "running"])
        assert systemd.shows("flows", "StatusText") == ["every task runs"]
        process = Path("/proc", systemd.shows("flows", "MainPID")[0], "status").read_text()
        assert re.search(r"^CapBnd:\s0+$", process, re.MULTILINE), "it may have capabilities"
        assert re.search(r"^NoNewPrivs:\s1$", process, re.MULTILINE)
        assert re.search(r"^Seccomp:\s2$", process, re.MULTILINE), "its system calls are not filtered"
        until(lambda: sum(path.read_bytes().count(b"\n") for path in tmp_path.rglob("out.jsonl")) == 20)
        systemd.systemctl("stop", "streamrnn@flows")
    assert systemd.shows("flows", "ActiveState", "Result", "ExecMainStatus") == ["inactive", "success", "0"]


def test_a_process_that_stands_still_is_killed_and_started_again(systemd: Systemd, tmp_path: Path) -> None:
    systemd.systemctl("start", "--no-block", "streamrnn@flows")
    with (tmp_path / "pipe").open("r+b", buffering=0):
        until(lambda: systemd.shows("flows", "ActiveState") == ["active"])
        os.kill(int(systemd.shows("flows", "MainPID")[0]), signal.SIGSTOP)
        until(lambda: systemd.shows("flows", "NRestarts") == ["1"])
        until(lambda: systemd.shows("flows", "ActiveState") == ["active"])


def test_a_wrong_configuration_is_not_tried_again(systemd: Systemd) -> None:
    systemd.systemctl("start", "streamrnn@wrong")
    assert systemd.shows("wrong", "ActiveState", "ExecMainStatus", "NRestarts") == ["failed", "2", "0"]
