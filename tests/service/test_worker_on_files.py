"""The whole daemon over files and pipes, as real processes."""

import base64
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamrnn.transport.file import FileSettings
from streamrnn.transport.file_state import stored_state
from tests.service.program import (
    COMMAND,
    LIMIT,
    Daemon,
    environment,
    lines_of,
    parsed,
    records,
    running,
    streamrnn,
    until,
)

# What docs/metrics.md promises, without `streamrnn_` and as Prometheus names families: without `_total`.
CONTRACT = {
    *("records_consumed", "records_replayed", "forecasts_published", "dead_letters"),
    *("consumer_lag_records", "streams", "streams_evicted", "task_state", "task_restarts"),
    *("forecast_latency_seconds", "compute_seconds", "commit_seconds", "snapshot_seconds", "restore_seconds"),
    *("snapshot_bytes", "snapshot_timestamp_seconds", "snapshot_due_seconds", "streams_frozen"),
    *("learning_steps", "learning_rollbacks", "gradient_norm", "loss"),
    *("absolute_error", "naive_absolute_error", "scored", "covered", "build_info"),
}
ODD = [
    (b"not JSON", "decode", "not JSON"),
    (b'{"stream": "s0", "values": [1, 2]}', "validate", '"values" has 2 numbers'),
    (b'{"value": 3}', "validate", 'no "stream"'),
    (b"\xff\xfe", "decode", "not JSON"),
    (b"", "decode", "not JSON"),
    (b'{"stream": "s1", "value": "warm"}', "validate", '"warm" stands where a number was expected'),
]


class World:
    """A folder with an input, and a configuration from file to file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.output, self.dead = folder, folder / "out.jsonl", folder / "out.jsonl.dead-letter"
        self.input = folder / "in.jsonl"
        self.config = folder / "config.yaml"
        self.config.write_text(
            "app_id: test\n"
            "transport: file\n"
            "file: {input: in.jsonl, output: out.jsonl, state: state}\n"
            "model: {hidden: 8}\n"
            "http: {port: 0}\n"
        )

    def write(self, lines: list[bytes]) -> None:
        """Append lines to the input."""
        with self.input.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))

    def arguments(self, *sets: str) -> list[str]:
        """Of `run`."""
        return ["-c", str(self.config), *(f"--set={given}" for given in sets)]

    def run(self, *sets: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run to the end, which must be a good one."""
        done = streamrnn("run", *self.arguments(*sets), cwd=self.folder, given=given)
        assert done.returncode == 0, done.stderr.decode()
        return done

    def forecasts(self) -> list[dict[str, Any]]:
        """The output, parsed."""
        return parsed(lines_of(self.output))

    def snapshot(self) -> dict[str, Any]:
        """The header of the snapshot as it is on disk."""
        _, stored = stored_state(FileSettings("in.jsonl", "out.jsonl", self.folder / "state", "", "test"))
        assert stored is not None
        header: dict[str, Any] = json.loads(stored.header.partition(b"\n")[0])
        return header


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


ODD_FROM = 0.5
SURPRISING = ("anomalies.topic=odd.jsonl", f"anomalies.threshold={ODD_FROM}")


class Busy(NamedTuple):
    """An input that takes several slices, and what an uninterrupted run makes of it."""

    lines: list[bytes]
    forecasts: list[bytes]
    letters: list[bytes]
    odd: list[bytes]  # of the forecasts, what goes to the file of the anomalies with SURPRISING


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Busy:
    """Records of 96 streams, some to be refused, some that forget their stream."""
    lines = records(18_000, streams=96)
    for i in range(500, len(lines), 1999):
        lines[i] = b"not JSON %d" % i
    for i in range(1000, len(lines), 2999):
        lines[i] = b'{"stream": "s%d", "forget": true}' % (i % 96)
    world = World(tmp_path_factory.mktemp("undisturbed"))
    world.write(lines)
    world.run()
    made = lines_of(world.output)
    odd = [line for line in made if (json.loads(line).get("anomaly") or 0) >= ODD_FROM]
    assert len(odd) > 100
    return Busy(lines, made, lines_of(world.dead), odd)


def written(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_from_file_to_file_every_record_has_one_forecast_in_order_and_the_end_is_exit_0(world: World) -> None:
    world.write(records(300, streams=3))
    world.run()
    made = world.forecasts()
    assert [line["offset"] for line in made] == list(range(300))
    assert [line["stream"] for line in made] == [f"s{i % 3}" for i in range(300)]
    assert {(line["topic"], line["partition"]) for line in made} == {("in.jsonl", 0)}
    assert lines_of(world.dead) == []


def test_a_last_line_without_a_newline_is_a_record(world: World) -> None:
    world.input.write_bytes(b"\n".join(records(5, streams=1)))
    world.run()
    assert len(world.forecasts()) == 5


def test_an_empty_input_is_an_empty_output(world: World) -> None:
    world.input.touch()
    world.run()
    assert lines_of(world.output) == []


def test_what_is_no_record_is_a_dead_letter_as_it_came_and_the_rest_is_unharmed(world: World, tmp_path: Path) -> None:
    lines = records(300, streams=3)
    clean = World(tmp_path / "clean")
    clean.write(lines)
    clean.run()
    where = [0, 50, 51, 52, 200, 305]
    for at, (odd, _, _) in zip(where, ODD, strict=True):
        lines.insert(at, odd)
    world.write(lines)
    world.run()
    letters = parsed(lines_of(world.dead))
    assert [letter["offset"] for letter in letters] == where
    for letter, (odd, stage, message) in zip(letters, ODD, strict=True):
        assert (letter["topic"], letter["partition"], letter["stage"]) == ("in.jsonl", 0, stage)
        assert letter["exception"] == "RecordError" and message in letter["message"]
        assert base64.b64decode(letter["value"]) == odd
    kept = [{**line, "offset": None} for line in world.forecasts()]
    assert kept == [{**line, "offset": None} for line in clean.forecasts()]


def test_dead_letters_go_where_the_configuration_says(world: World) -> None:
    world.write([b"not JSON"])
    world.run("dead_letter.topic=elsewhere.jsonl")
    assert len(lines_of(world.folder / "elsewhere.jsonl")) == 1
    assert not world.dead.exists()


def test_a_forget_line_is_passed_on_and_its_stream_begins_anew(world: World) -> None:
    before = b'{"stream": "a", "value": 5, "time": 1}'
    world.write([before, b'{"stream": "a", "forget": true}', b'{"stream": "a", "value": null, "time": 2}', before])
    world.run()
    made = world.forecasts()
    assert made[1] == {"stream": "a", "forget": True}
    assert made[2]["mean"] == [None]
    assert made[3]["mean"] == made[0]["mean"] == [5.0]


def test_with_all_steps_a_sequence_gets_a_forecast_a_step(world: World) -> None:
    world.write(
        [
            b'{"stream": "a", "values": [[1], [2], [4]], "time": [1000, 2000, 3000]}',
            b'{"stream": "a", "value": 8, "time": 4000}',
        ]
    )
    world.run("output.steps=all", "forecast.horizons=1-2")
    sequence, single = world.forecasts()
    for name in ("mean", "lower", "upper"):
        assert [[len(horizon) for horizon in step] for step in sequence[name]] == [[1, 1]] * 3
        assert [[len(horizon) for horizon in step] for step in single[name]] == [[1, 1]]
    assert (sequence["time"], single["time"]) == ([1000, 2000, 3000], [4000])
    assert (len(sequence["anomaly"]), len(sequence["surprise"])) == (3, 3)
    assert sequence["mean"][0] == [[1.0], [1.0]]


def test_by_default_a_sequence_gets_the_forecast_after_its_last_step(world: World, tmp_path: Path) -> None:
    times = [1000 * (i + 1) for i in range(3)]
    world.write([b'{"stream": "a", "values": [[1], [2], [4]], "time": [1000, 2000, 3000]}'])
    world.run()
    apart = World(tmp_path / "apart")
    apart.write(
        [b'{"stream": "a", "values": [%d], "time": %d}' % step for step in zip((1, 2, 4), times, strict=True)]
    )
    apart.run()
    (sequence,), last = world.forecasts(), apart.forecasts()[-1]
    assert {**sequence, "offset": 2} == last


def test_a_second_run_has_nothing_to_do_and_what_is_appended_is_gone_on_with(world: World, tmp_path: Path) -> None:
    lines = records(600, streams=3)
    whole = World(tmp_path / "whole")
    whole.write(lines)
    whole.run()
    world.write(lines[:350])
    world.run()
    world.run()
    assert len(lines_of(world.output)) == 350
    world.write(lines[350:])
    world.run()
    assert lines_of(world.output) == lines_of(whole.output)


def test_killed_at_random_moments_and_run_again_it_writes_what_an_uninterrupted_run_writes(
    world: World, busy: Busy
) -> None:
    world.write(busy.lines)
    moments, found = random.Random(7), []
    arguments = world.arguments("state.snapshot_interval=50ms", "kafka.commit_interval=20ms", *SURPRISING)
    for _ in range(5):
        before = written(world.output)
        with running(world.folder, *arguments) as daemon:
            said = daemon.said
            grown = before + moments.choice([0, 1, 50_000, 200_000])
            ended = daemon.process.poll
            until(lambda: ended() is not None or ("fencing" in said() and written(world.output) >= grown))  # noqa: B023
            time.sleep(moments.uniform(0.0, 0.1))
            daemon.process.kill()
        found.append(written(world.output) - before)
    assert any(size > 0 for size in found), "no kill came in the middle of the work"
    assert len(lines_of(world.output)) < len(busy.forecasts), "the last kill came after the end of the work"
    world.run(*SURPRISING)
    assert lines_of(world.output) == busy.forecasts
    assert lines_of(world.dead) == busy.letters
    assert lines_of(world.folder / "odd.jsonl") == busy.odd


def test_anomalies_have_a_file_of_their_own_or_none(world: World) -> None:
    world.write(records(300, streams=1))
    world.run()
    assert not (world.folder / "odd.jsonl").exists()
    world.write(records(10, streams=1, first=300))
    world.run(*SURPRISING)
    odd = parsed(lines_of(world.folder / "odd.jsonl"))
    assert odd == [line for line in world.forecasts()[300:] if line["anomaly"] >= ODD_FROM]
    same = streamrnn("run", *world.arguments("anomalies.topic=out.jsonl"), cwd=world.folder)
    assert same.returncode == 2 and b"must differ" in same.stderr
    pipe = streamrnn("run", *world.arguments("anomalies.topic=-"), cwd=world.folder)
    assert pipe.returncode == 2 and b"anomalies.topic: '-' is no file" in pipe.stderr


def test_sigterm_is_exit_0_in_time_with_a_snapshot_and_nothing_is_repeated_or_lost_after_it(
    world: World, busy: Busy
) -> None:
    world.write(busy.lines)
    with running(world.folder, *world.arguments()) as daemon:
        until(lambda: written(world.output))
        assert daemon.stop(signal.SIGTERM) == 0
        assert "closing → closed" in daemon.said()
    done = len(lines_of(world.output))
    assert 0 < done < len(busy.forecasts)
    assert world.snapshot()["offset"] == done + len(lines_of(world.dead))
    again = world.run()
    assert "replayed" not in again.stderr.decode()
    assert lines_of(world.output) == busy.forecasts
    assert lines_of(world.dead) == busy.letters


def test_sigint_is_as_good_as_sigterm(world: World) -> None:
    with running(world.folder, *world.arguments("file.input=-", "file.output=-"), piped=True) as daemon:
        until(lambda: "running" in daemon.said())
        assert daemon.stop(signal.SIGINT) == 0
        assert "Traceback" not in daemon.said()


def test_from_stdin_to_stdout_forecasts_are_all_there_is_on_stdout_and_dead_letters_go_to_stderr(
    world: World,
) -> None:
    lines = records(60, streams=3)
    lines.insert(7, b"not JSON")
    done = world.run("file.input=-", "file.output=-", given=b"\n".join(lines))
    made = parsed(done.stdout.splitlines())
    assert [line["offset"] for line in made] == [i for i in range(61) if i != 7]
    assert {line["topic"] for line in made} == {"stdin"}
    letters = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")]
    assert [(letter["topic"], letter["offset"], letter["stage"]) for letter in letters] == [("stdin", 7, "decode")]


@pytest.mark.parametrize("sets", [["file.input=-"], ["file.output=-"], ["file.input=pipe"]])
def test_the_start_says_that_over_a_pipe_there_is_no_recovery_and_over_files_not(
    world: World, sets: list[str]
) -> None:
    os.mkfifo(world.folder / "pipe")
    world.input.touch()
    with running(world.folder, *world.arguments(*sets)) as daemon:
        until(lambda: "running" in daemon.said() or daemon.process.poll() is not None)
        assert "a pipe cannot be cut back" in daemon.said()
    assert b"pipe" not in world.run().stderr


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_of_a_pipe_all_is_still_to_come_wherever_input_start_says_to_begin(world: World, start: str) -> None:
    done = world.run("file.input=-", "file.output=-", f"input.start={start}", given=b"\n".join(records(9, streams=1)))
    assert len(done.stdout.splitlines()) == 9


def test_of_a_file_latest_is_what_is_appended_after_the_first_run(world: World) -> None:
    world.write(records(20, streams=1))
    world.run("input.start=latest")
    assert lines_of(world.output) == []
    world.write(records(5, streams=1, first=20))
    world.run("input.start=latest")
    assert [line["offset"] for line in world.forecasts()] == [20, 21, 22, 23, 24]


def test_the_state_of_a_pipe_is_kept_at_its_end_for_the_next_one(world: World) -> None:
    lines = records(600, streams=3)
    pipe = ("file.input=-", "file.output=-")
    whole = world.run(*pipe, "app_id=whole", given=b"\n".join(lines)).stdout
    first = world.run(*pipe, given=b"\n".join(lines[:350])).stdout
    second = world.run(*pipe, given=b"\n".join(lines[350:])).stdout
    assert first + second == whole


def test_forecasts_come_out_of_a_pipe_that_stays_open(world: World) -> None:
    with running(world.folder, *world.arguments("file.input=-", "file.output=-"), piped=True) as daemon:
        assert daemon.process.stdout is not None
        for i, line in enumerate(records(3, streams=1)):
            daemon.feed(line + b"\n")
            assert json.loads(daemon.process.stdout.readline())["offset"] == i


def test_a_reader_that_goes_away_ends_the_run_with_1_and_one_line(world: World) -> None:
    with running(world.folder, *world.arguments("file.input=-", "file.output=-"), piped=True) as daemon:
        assert daemon.process.stdout is not None
        until(lambda: "running" in daemon.said())
        daemon.process.stdout.close()
        daemon.feed(records(1, streams=1)[0] + b"\n")
        assert daemon.process.wait(LIMIT) == 1
        assert "whoever read it has closed it" in daemon.said() and "Traceback" not in daemon.said()


def test_a_second_deployment_that_reads_from_the_start_forecasts_as_the_first(world: World) -> None:
    lines = records(600, streams=3)
    for part in (lines[:250], lines[250:]):
        world.write(part)
        world.run()
    world.run("app_id=moved", "file.output=moved.jsonl", "file.state=elsewhere", "input.start=earliest")
    assert lines_of(world.folder / "moved.jsonl") == lines_of(world.output)


def test_a_setting_that_may_change_goes_on_where_the_last_run_ended(world: World) -> None:
    lines = records(1800, streams=3)
    world.write(lines[:600])
    world.run()
    world.write(lines[600:])
    world.run("forecast.coverage=0.3")
    made = world.forecasts()
    assert [line["offset"] for line in made] == list(range(1800))
    before, after = (
        sum(line["upper"][0] - line["lower"][0] for line in made[first : first + 250]) for first in (350, 1550)
    )
    assert 0 < after < 0.7 * before


def test_a_changed_setting_is_in_the_snapshot_before_the_first_record_that_it_touches(world: World) -> None:
    world.write(records(60, streams=3))
    world.run()
    assert world.snapshot()["settings"]["coverage"] == 0.9
    world.run("forecast.coverage=0.3")
    assert world.snapshot()["settings"]["coverage"] == 0.3
    assert world.snapshot()["offset"] == 60


def test_a_setting_that_may_not_change_is_refused_while_the_process_stays_and_readiness_says_why(
    world: World,
) -> None:
    lines = records(90, streams=3)
    world.write(lines[:60])
    world.run()
    world.write(lines[60:])
    with running(world.folder, *world.arguments("model.hidden=16")) as daemon:
        until(lambda: daemon.state() == "refused")
        code, reason = daemon.get("/readyz")
        assert code == 503
        assert "hidden: 16 here, 8 there" in reason and "`streamrnn state drop`" in reason
        assert daemon.get("/healthz") == (200, "ok\n")
        assert daemon.process.poll() is None
        assert daemon.said().count("hidden: 16 here, 8 there") == 1
        assert daemon.stop() == 0
    assert len(lines_of(world.output)) == 60
    world.run()
    assert len(lines_of(world.output)) == 90


def test_a_second_process_on_the_same_state_is_refused_and_says_who_lives_there(world: World) -> None:
    pipe = world.arguments("file.input=pipe")
    os.mkfifo(world.folder / "pipe")
    with running(world.folder, *pipe) as first, running(world.folder, *pipe) as second:
        until(lambda: sorted(str(daemon.state()) for daemon in (first, second)) == ["refused", "running"])
        refused, lives = (first, second) if first.state() == "refused" else (second, first)
        assert f"another process (id {lives.process.pid})" in refused.get("/readyz")[1]


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A daemon on a pipe that stays open, after 600 records of three streams and the odd ones."""
    world = World(tmp_path_factory.mktemp("alive"))
    sets = ("file.input=-", "forecast.horizons=[1, 24]", "state.snapshot_interval=100ms")
    with running(world.folder, *world.arguments(*sets), piped=True) as daemon:
        daemon.feed(b"".join(line + b"\n" for line in [*records(600, streams=3), *(odd for odd, _, _ in ODD)]))
        until(lambda: "running" in daemon.said())
        until(lambda: daemon.status()["tasks"][0]["committed"] == 600 + len(ODD))
        yield daemon


def samples(daemon: Daemon, name: str) -> dict[tuple[str, ...], float]:
    """By the values of the labels that are not topic and partition, those of one metric's samples."""
    code, text = daemon.get("/metrics")
    assert code == 200
    return {
        tuple(value for label, value in sample.labels.items() if label not in ("topic", "partition")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"streamrnn_{name}"
    }


def test_the_metrics_are_those_of_the_contract(alive: Daemon) -> None:
    families = {family.name for family in text_string_to_metric_families(alive.get("/metrics")[1])}
    ours = {name for name in families if not name.startswith("process_")}  # the others are the client library's
    assert {name.removeprefix("streamrnn_") for name in ours} == CONTRACT
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "process_start_time_seconds"} <= families


def test_each_record_is_counted_once_by_its_outcome(alive: Daemon) -> None:
    assert samples(alive, "records_consumed_total") == {(): 606}
    assert samples(alive, "forecasts_published_total") == {(): 600}
    stages = samples(alive, "dead_letters_total")
    assert stages == {("decode",): 3, ("validate",): 3, ("forecast",): 0, ("encode",): 0}
    assert samples(alive, "forecast_latency_seconds_count") == {(): 600}


def test_streams_and_learning_and_scores_are_counted(alive: Daemon) -> None:
    assert samples(alive, "streams") == {(): 3}
    assert samples(alive, "learning_steps_total")[()] > 0
    # of 200 records of a stream the first has no scale yet, and the last h have not met the truth h steps later
    assert samples(alive, "scored_total") == {("1",): 3 * 198, ("24",): 3 * 175}
    covered = samples(alive, "covered_total")
    assert 0.7 < covered["1",] / (3 * 198) < 1


def test_the_state_of_the_task_is_one_of_all(alive: Daemon) -> None:
    states = samples(alive, "task_state")
    assert states.pop(("running",)) == 1
    assert set(states.values()) == {0}


def test_what_runs_is_in_the_labels_of_build_info(alive: Daemon) -> None:
    assert set(samples(alive, "build_info").values()) == {1}
    assert any("gru" in labels and "numpy" in labels for labels in samples(alive, "build_info"))


def test_a_running_daemon_is_alive_and_ready(alive: Daemon) -> None:
    assert alive.get("/healthz") == alive.get("/readyz") == (200, "ok\n")


def test_status_says_where_the_task_is_and_how_good_its_forecasts_were(alive: Daemon) -> None:
    status = alive.status()
    assert status["tasks"] == [
        {
            "topic": "stdin",
            "partition": 0,
            "state": "running",
            "position": 606,
            "committed": 606,
            "snapshot": None,
            "lag": None,
            "streams": 3,
        }
    ]
    assert set(status["skill"]) == {"1", "24"}
    assert -1 < status["skill"]["1"] < 1


def test_a_daemon_with_nothing_to_do_takes_no_processor_time(alive: Daemon) -> None:
    def spent() -> int:
        fields = Path(f"/proc/{alive.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # ticks of a hundredth of a second

    before = spent()
    with pytest.raises(subprocess.TimeoutExpired):
        alive.process.wait(1.0)
    assert spent() - before < 30


def peak_memory(world: World, *sets: str) -> int:
    """MiB that a run to the end had at most."""
    process = subprocess.Popen(
        [*COMMAND, "run", *world.arguments(*sets)], cwd=world.folder, env=environment(), stderr=subprocess.DEVNULL
    )
    # the kernel's own account at the end would begin with the memory of the process that started this one
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = max(peak, int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024)
        time.sleep(0.02)
    assert process.returncode == 0
    return peak


def test_memory_is_set_by_max_streams_and_not_by_how_many_keys_arrive(tmp_path: Path) -> None:
    many, more = World(tmp_path / "many"), World(tmp_path / "more")
    many.write(records(12_000, streams=12_000))
    more.write(records(24_000, streams=24_000))
    shared = "model.readout=shared"  # auto takes a larger one for few streams
    peaks = [peak_memory(world, shared, "state.max_streams=500") for world in (many, more)]
    assert peaks[1] < peaks[0] + 25
    assert peak_memory(more, shared, "app_id=unbounded") > peaks[1] + 50


def test_an_endless_line_is_one_dead_letter_and_takes_no_memory_of_its_size(world: World, tmp_path: Path) -> None:
    plain = World(tmp_path / "plain")
    plain.write(records(10, streams=1))
    with world.input.open("wb") as file:
        file.truncate(400 << 20)  # a hole of zeros
    assert peak_memory(world) < peak_memory(plain) + 100
    (letter,) = parsed(lines_of(world.dead))
    assert (letter["offset"], letter["stage"]) == (0, "decode")


def test_records_that_cannot_be_passed_on_are_not_piled_up(world: World) -> None:
    with world.input.open("wb") as file:
        for i in range(1, 101):
            file.seek((i << 23) - 1)
            file.write(b"\n")  # 8 MiB of a hole each
    os.mkfifo(world.folder / "pipe")
    never_read = os.open(world.folder / "pipe", os.O_RDWR)
    with running(world.folder, *world.arguments("dead_letter.topic=pipe")) as daemon:
        before = 0
        until(lambda: daemon.state() == "running")
        while (position := daemon.status()["tasks"][0]["position"]) > before or position == 0:
            before = position
            time.sleep(1.0)
        assert position < 50
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon.process.pid}/status").read_text())
        assert peak is not None and int(peak[1]) // 1024 < 600
    os.close(never_read)


def test_where_the_output_takes_no_more_sigterm_still_ends_it_in_time(world: World) -> None:
    world.write(records(3000, streams=3))
    os.mkfifo(world.folder / "pipe")
    never_read = os.open(world.folder / "pipe", os.O_RDWR)
    with running(world.folder, *world.arguments("file.output=pipe", "shutdown_timeout=1s")) as daemon:
        until(lambda: daemon.state() == "running")
        until(lambda: daemon.status()["tasks"][0]["position"])
        asked = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - asked < 3
    os.close(never_read)
