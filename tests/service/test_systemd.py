"""What the service manager hears, on a real datagram socket."""

import asyncio
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from streamrnn.service.compute import ComputeThread
from streamrnn.service.systemd import ServiceManager
from tests.service.manager import Manager
from tests.service.program import LIMIT, records, running, until


class Life:
    """A health that is set by hand."""

    def __init__(self, ready: str | None = None, alive: str | None = None) -> None:
        self.reasons = {"ready": ready, "alive": alive}

    def alive(self) -> str | None:
        return self.reasons["alive"]

    def ready(self) -> str | None:
        return self.reasons["ready"]

    def status(self) -> dict[str, object]:
        return {}


@pytest.fixture(params=["a path", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify") if request.param == "a path" else f"@streamrnn-{uuid.uuid4()}")
    yield made
    made.close()


def served(folder: Path) -> Path:
    """A configuration from a pipe to a file."""
    config = folder / "config.yaml"
    config.write_text(f"transport: file\nfile: {{output: {folder}/out.jsonl}}\nhttp: {{port: 0}}\n")
    return config


def test_a_run_is_ready_while_its_task_works_and_stopping_before_it_ends(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    with running(tmp_path, "-c", served(tmp_path), piped=True) as daemon:
        daemon.feed(b"\n".join(records(50, 5)) + b"\n")
        until(lambda: "READY=1" in manager.words)
        assert daemon.get("/readyz")[0] == 200
        assert daemon.state() == "running"
        until(lambda: "STATUS=every task runs" in manager.words)
        assert "STOPPING=1" not in manager.words
        assert daemon.stop(signal.SIGTERM) == 0
    assert manager.words.count("READY=1") == manager.words.count("STOPPING=1") == 1
    assert "WATCHDOG=1" not in manager.words, "nobody asked for it"


def test_a_run_whose_input_ends_at_once_was_ready_all_the_same(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    given = tmp_path / "in.jsonl"
    given.write_bytes(b"\n".join(records(5, 1)) + b"\n")
    with running(tmp_path, "-c", served(tmp_path), f"--set=file.input={given}") as daemon:
        assert daemon.process.wait(LIMIT) == 0
    until(lambda: "STOPPING=1" in manager.words)
    assert manager.words.index("READY=1") < manager.words.index("STOPPING=1")


def test_the_watchdog_hears_of_a_run_twice_in_its_interval_until_the_loop_stands_still(
    manager: Manager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with running(tmp_path, "-c", served(tmp_path), piped=True) as daemon:
        until(lambda: len(manager.times("WATCHDOG=1")) >= 6)
        beats = manager.times("WATCHDOG=1")
        assert max(b - a for a, b in pairwise(beats)) < 1.0
        daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        silent_since = len(manager.times("WATCHDOG=1"))
        time.sleep(1.5)
        assert len(manager.times("WATCHDOG=1")) == silent_since


def test_the_watchdog_hears_nothing_while_the_compute_thread_is_stuck(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamrnn.service.compute.STUCK", 0.2)

    async def scenario() -> None:
        compute, release = ComputeThread(), threading.Event()
        life = Life()
        life.alive = compute.stuck  # type: ignore[method-assign]
        teller = ServiceManager(manager.address, watchdog=0.1)
        following = asyncio.create_task(teller.follow(life))
        await asyncio.sleep(0.3)
        assert manager.times("WATCHDOG=1")
        stuck = asyncio.create_task(compute.run(release.wait))
        await asyncio.sleep(0.5)
        before = len(manager.heard)
        await asyncio.sleep(0.5)
        assert len(manager.heard) == before
        release.set()
        await stuck
        await asyncio.sleep(0.3)
        assert len(manager.heard) > before, "it goes on when the thread does"
        following.cancel()
        compute.close()
        teller.close()

    asyncio.run(scenario())


def test_a_watchdog_of_another_process_is_not_answered(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "100000"}
    for process, beats in ((os.getpid(), 1), (os.getpid() + 1, 0)):
        before = len(manager.times("WATCHDOG=1"))
        teller = ServiceManager.of(environ | {"WATCHDOG_PID": str(process)})
        assert teller is not None
        teller.look(Life("restoring"))
        teller.stopping(Life("restoring"))
        teller.close()
        until(lambda beats=beats: len(manager.times("STOPPING=1")) == 2 - beats)  # type: ignore[misc]
        assert len(manager.times("WATCHDOG=1")) - before == beats


def test_the_status_is_the_reason_on_one_line_and_told_only_when_it_changes(manager: Manager) -> None:
    teller, life = ServiceManager(manager.address), Life("sensors[0] is failed: the broker\nis away")
    for _ in range(3):
        teller.look(life)
    life.reasons["ready"] = "sensors[0] is restoring"
    teller.look(life)
    life.reasons["ready"] = None
    for _ in range(3):
        teller.look(life)
    life.reasons["ready"] = "sensors[0] is held"
    teller.look(life)
    teller.stopping(life)
    teller.close()
    until(lambda: "STOPPING=1" in manager.words)
    assert manager.words == [
        "STATUS=sensors[0] is failed: the broker is away",
        "STATUS=sensors[0] is restoring",
        "STATUS=every task runs",
        "READY=1",
        "STATUS=sensors[0] is held",
        "STOPPING=1",
    ]


def test_what_was_not_heard_is_said_again_and_the_silence_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = str(tmp_path / "notify")
    teller = ServiceManager(address)
    for _ in range(3):
        teller.look(Life())
    assert [record.message for record in caplog.records] == [
        "the service manager does not listen at NOTIFY_SOCKET: No such file or directory"
    ]
    manager = Manager(address)
    teller.look(Life())
    until(lambda: len(manager.words) == 2)
    assert manager.words == ["STATUS=every task runs", "READY=1"]
    teller.close()
    manager.close()


@pytest.mark.parametrize("address", ["vsock:2:1234", "notify", "/", "@"])
def test_an_address_of_a_kind_that_is_not_known_is_named_in_a_warning(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert ServiceManager.of({"NOTIFY_SOCKET": address}) is None
    assert repr(address) in caplog.text


def test_without_a_service_manager_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert ServiceManager.of({"WATCHDOG_USEC": "1000000"}) is None
    assert caplog.text == ""
