"""The compute thread: one, in order, beside the loop."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from streamrnn.service import compute
from streamrnn.service.compute import ComputeThread
from tests.service.program import ROOT, environment


@pytest.fixture
def thread() -> Iterator[ComputeThread]:
    made = ComputeThread()
    yield made
    made.close()


def within(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work(), 20)

    asyncio.run(limited())


def test_calls_are_computed_one_after_another_in_the_order_asked(thread: ComputeThread) -> None:
    began: list[int] = []
    at_work: list[int] = []

    def call(number: int, *, pause: float) -> int:
        began.append(number)
        at_work.append(number)
        time.sleep(pause)
        assert at_work == [number]
        at_work.clear()
        return 10 * number

    async def work() -> None:
        made = await asyncio.gather(*(thread.run(call, i, pause=0.01 * (5 - i)) for i in range(5)))
        assert made == [0, 10, 20, 30, 40]

    within(work)
    assert began == [0, 1, 2, 3, 4]


def test_the_loop_turns_while_a_call_is_computed(thread: ComputeThread) -> None:
    async def work() -> None:
        let_go = threading.Event()
        call = asyncio.create_task(thread.run(let_go.wait, 10))
        await asyncio.sleep(0.01)  # could not return if the loop stood still
        assert not call.done()
        let_go.set()
        assert await call

    within(work)


def test_what_a_call_raises_is_raised_to_who_asked_and_the_thread_goes_on(thread: ComputeThread) -> None:
    def fail() -> None:
        raise ValueError("of this call")

    async def work() -> None:
        with pytest.raises(ValueError, match="of this call"):
            await thread.run(fail)
        assert thread.stuck() is None
        assert await thread.run(int, "7") == 7

    within(work)


def test_a_thread_counts_as_stuck_only_while_one_call_takes_too_long(
    thread: ComputeThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "STUCK", 0.05)

    async def work() -> None:
        let_go = threading.Event()
        assert thread.stuck() is None
        call = asyncio.create_task(thread.run(let_go.wait, 10))
        await asyncio.sleep(0.01)
        assert thread.stuck() is None
        await asyncio.sleep(0.1)
        reason = thread.stuck()
        assert reason is not None and "compute thread has not come back" in reason
        let_go.set()
        await call
        assert thread.stuck() is None

    within(work)


def test_an_idle_thread_is_not_stuck_however_long(thread: ComputeThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "STUCK", 0.0)

    async def work() -> None:
        await thread.run(int)
        await asyncio.sleep(0.01)
        assert thread.stuck() is None

    within(work)


def test_closing_lets_the_present_call_end_and_begins_no_other(thread: ComputeThread) -> None:
    let_go = threading.Event()
    began: list[str] = []

    async def work() -> None:
        present = asyncio.create_task(thread.run(let_go.wait, 10))
        waiting = asyncio.create_task(thread.run(began.append, "too late"))
        await asyncio.sleep(0.01)
        thread.close()
        let_go.set()
        assert await present
        await asyncio.wait((waiting,), timeout=0.1)
        assert waiting.cancelled() or not waiting.done()
        waiting.cancel()
        with pytest.raises(RuntimeError):
            await thread.run(int)

    within(work)
    assert began == []


def test_a_worker_that_compiles_for_a_minute_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    slow = (
        "import time; from streamrnn.service import worker; from streamrnn.cli import main; "
        "worker.warm_up = lambda *_: time.sleep(60); main()"
    )
    run = ["run", "-c", ROOT / "config" / "files.yaml", "--set", "http.port=0", "--set", "file.input=input.jsonl"]
    (tmp_path / "input.jsonl").write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", slow, *map(str, run)],
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("listening" in line for line in process.stderr)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
