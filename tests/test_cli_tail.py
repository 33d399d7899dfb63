"""`streamrnn tail` over files, as a user meets it; what it does on Kafka is in tests/kafka/."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.service.program import COMMAND, environment, lines_of, parsed, records, running, streamrnn, until

DONE, FAILED, WRONG_USAGE = 0, 1, 2
HORIZONS = [1, 3]


class Shown(NamedTuple):
    """One line, as cells."""

    time: str
    stream: str
    ahead: str
    mean: str
    interval: str
    value: str
    verdict: str
    anomaly: str | None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a configuration from file to file and 450 lines of 3 streams, one value an incident."""
    return furnished(tmp_path)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Such a folder after a run to the end of its input. Nobody changes it."""
    folder = furnished(tmp_path_factory.mktemp("lived"))
    assert streamrnn("run", "-c", "files.yaml", cwd=folder).returncode == DONE
    return folder


@pytest.fixture
def lived(once: Path, tmp_path: Path) -> Path:
    """A folder that was lived in, to be changed at will."""
    copied = shutil.copytree(once, tmp_path / "lived")
    (manifest,) = copied.glob("state/*/manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(str(once).encode(), str(copied).encode()))
    return copied


def furnished(tmp_path: Path) -> Path:
    (tmp_path / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl, state: state}\nforecast: {horizons: [1, 3]}\n"
        "model: {hidden: 4}\nlearning: {window: 8}\nhttp: {port: 0}\nanomalies: {threshold: 0.98}\n"
    )
    lines = records(450, 3)
    odd = json.loads(lines[435]) | {"value": 5000.0}
    lines[435] = json.dumps(odd).encode()
    (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return tmp_path


def tail(folder: Path, *arguments: object) -> list[Shown]:
    """The lines of a `tail` that ends by itself."""
    done = streamrnn("tail", "-c", "files.yaml", *arguments, cwd=folder)
    assert (done.returncode, done.stderr) == (DONE, b"")
    return [shown(line) for line in done.stdout.decode().splitlines()]


def shown(line: str) -> Shown:
    moment, stream, ahead, mean, interval, value, verdict, *rest = line.split()
    return Shown(moment, stream, ahead, mean, interval, value, verdict, rest[1] if rest else None)


def truth(folder: Path) -> list[tuple[str, str, float, dict[str, Any], float]]:
    """Stream, horizon, mean, forecast and value of each pair that the files hold, found another way."""
    values: dict[str, list[float]] = {}
    made: dict[str, list[dict[str, Any]]] = {}
    found = []
    inputs, outputs = (parsed(lines_of(folder / name)) for name in ("in.jsonl", "out.jsonl"))
    for record, line in zip(inputs, outputs, strict=True):
        values.setdefault(record["stream"], []).append(record["value"])
        made.setdefault(record["stream"], []).append(line)
        step = len(values[record["stream"]]) - 1
        for p, h in enumerate(HORIZONS):
            if step >= h:
                forecast = made[record["stream"]][step - h]
                bounds = {name: forecast[name][p] for name in ("lower", "mean", "upper")}
                found.append((record["stream"], f"+{h}", line["time"], bounds, record["value"]))
    return found


@contextmanager
def following(folder: Path, *arguments: object) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A `tail` that stays, and the file that it writes to."""
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*COMMAND, "tail", "-c", "files.yaml", *map(str, arguments)], cwd=folder, env=environment(), stdout=out
        )
    try:
        yield process, said
    finally:
        process.kill()
        process.wait()


def test_every_value_stands_beside_every_forecast_of_it(lived: Path) -> None:
    lines, expected = tail(lived, "--from-beginning", "--no-follow"), truth(lived)
    assert len(lines) == len(expected) == 3 * (149 + 147)
    for line, (stream, ahead, moment, bounds, value) in zip(lines, expected, strict=True):
        assert (line.stream, line.ahead) == (stream, ahead)
        assert line.time == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment / 1000))
        width = bounds["upper"] - bounds["lower"]
        low, high = map(float, line.interval.split(".."))
        for told, exact in ((line.mean, bounds["mean"]), (low, bounds["lower"]), (high, bounds["upper"])):
            assert float(told) == pytest.approx(exact, abs=0.05 * width + 1e-9)
        assert float(line.value) == pytest.approx(value, rel=1e-5)
        assert line.verdict == (
            "above" if value > bounds["upper"] else "below" if value < bounds["lower"] else "inside"
        )


def test_an_incident_is_marked_and_can_be_had_alone(lived: Path) -> None:
    odd = [line for line in parsed(lines_of(lived / "out.jsonl")) if (line["anomaly"] or 0) >= 0.98]
    assert 435 in [line["offset"] for line in odd]
    alone = tail(lived, "--from-beginning", "--no-follow", "--anomalies")
    assert len(alone) == len(HORIZONS) * len(odd)
    assert [float(line.anomaly or 0) for line in alone[:: len(HORIZONS)]] == pytest.approx(
        [line["anomaly"] for line in odd], rel=1e-4
    )
    marked = [line for line in tail(lived, "--from-beginning", "--no-follow") if line.anomaly]
    assert marked == alone


def test_streams_and_horizons_can_be_chosen(lived: Path) -> None:
    every = tail(lived, "--from-beginning", "--no-follow")
    chosen = tail(lived, "--from-beginning", "--no-follow", "--stream", "s[02]", "--horizon", 3)
    assert chosen == [line for line in every if line.stream in ("s0", "s2") and line.ahead == "+3"]
    assert tail(lived, "--from-beginning", "--no-follow", "--stream", "nobody") == []


def test_it_begins_with_the_last_ten_lines_and_ends_after_as_many_as_were_asked_for(lived: Path) -> None:
    every = tail(lived, "--from-beginning", "--no-follow")
    assert tail(lived, "--no-follow") == every[-10:]
    assert tail(lived, "--count", 4) == every[-10:-6]
    assert tail(lived, "--from-beginning", "--count", 3) == every[:3]


def test_what_is_no_record_is_no_step(folder: Path) -> None:
    lines = lines_of(folder / "in.jsonl")
    lines[9:9] = [b"not json", b'{"stream": "s0", "value": true}']
    (folder / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert streamrnn("run", "-c", "files.yaml", cwd=folder).returncode == DONE
    every = tail(folder, "--from-beginning", "--no-follow")
    assert len(every) == 3 * (149 + 147)
    values = [float(line.value) for line in every if (line.stream, line.ahead) == ("s0", "+1")]
    written = [json.loads(line)["value"] for line in records(450, 3)[::3]]
    written[145] = 5000.0
    assert values == pytest.approx(written[1:], rel=1e-5)


def test_lines_come_as_records_are_forecast_and_ctrl_c_ends_it_well(lived: Path) -> None:
    with following(lived) as (process, said):
        until(lambda: len(lines_of(said)) == 10)
        with (lived / "in.jsonl").open("ab") as file:
            file.writelines(line + b"\n" for line in records(6, 3, first=450))
        assert streamrnn("run", "-c", "files.yaml", cwd=lived).returncode == DONE
        until(lambda: len(lines_of(said)) == 10 + 6 * 2)
        values = [float(shown(line.decode()).value) for line in lines_of(said)[10::2]]
        assert values == [pytest.approx(json.loads(line)["value"], rel=1e-5) for line in records(6, 3, first=450)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == DONE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_0_and_no_word(lived: Path, number: int) -> None:
    with following(lived) as (process, said):
        until(lambda: lines_of(said))
        process.send_signal(number)
        assert process.wait(20) == DONE
        assert len(lines_of(said)) == 10


def test_it_ends_when_nobody_reads_it_any_more(lived: Path) -> None:
    command = [*COMMAND, "tail", "-c", "files.yaml"]
    process = subprocess.Popen(command, cwd=lived, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == FAILED
    assert process.stderr.read() == b""
    process.stderr.close()


def test_what_is_not_committed_is_not_shown(lived: Path) -> None:
    every = tail(lived, "--from-beginning", "--no-follow")
    line = lines_of(lived / "out.jsonl")[-1].replace(b'"offset":449', b'"offset":450')
    with (lived / "out.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with (lived / "in.jsonl").open("ab") as file:
        file.write(records(1, 3, first=450)[0] + b"\n")
    assert tail(lived, "--from-beginning", "--no-follow") == every


def test_it_changes_nothing(lived: Path) -> None:
    before = {path: path.read_bytes() for path in lived.rglob("*") if path.is_file()}
    tail(lived, "--from-beginning", "--no-follow")
    assert {path: path.read_bytes() for path in lived.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], FAILED, "streamrnn: out.jsonl: does not exist. file.output: `streamrnn run` makes it when it starts\n"),
        (["--set=file.input=none"], FAILED, "streamrnn: none: does not exist. file.input: a file of JSON lines was"),
        (["--set=file.input=-"], WRONG_USAGE, "streamrnn: -: is a pipe, which nobody else can follow. file.input: "),
        (["--set=file.output=."], FAILED, "streamrnn: .: is a folder. file.output: "),
    ],
)
def test_without_files_to_follow_it_says_what_is_missing(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    done = streamrnn("tail", "-c", "files.yaml", *arguments, cwd=folder)
    assert (done.returncode, done.stdout) == (code, b"")
    assert done.stderr.decode().startswith(said)
    assert done.stderr.count(b"\n") == 1


def test_an_output_that_is_replaced_is_1(lived: Path) -> None:
    with following(lived) as (process, said):
        until(lambda: lines_of(said))
        (lived / "out.jsonl").unlink()
        (lived / "out.jsonl").write_bytes(b"")
        assert process.wait(20) == FAILED


def test_a_terminal_has_a_heading_the_lines_and_the_newest_forecasts(lived: Path) -> None:
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "tail", "-c", "files.yaml"],
        cwd=lived,
        env=environment() | {"TERM": "xterm", "COLUMNS": "118", "LINES": "40"},
        stdout=inside,
        stderr=inside,
        stdin=inside,
    )
    os.close(inside)
    said = bytearray()

    def shows_the_count() -> bool:
        said.extend(os.read(terminal, 1 << 16))
        return b"10 compared" in said

    try:
        until(shows_the_count)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == DONE
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
        assert re.search(r"time +stream +ahead +forecast +interval +came", text)
        assert len(re.findall(r"\+[13] .* (?:inside|above|below)", text)) == 10
        for stream in ("s0", "s1", "s2"):
            assert re.search(rf"{stream} +2023-11-15T00:\d\d:\d\dZ +\S+ +\S+\.\.\S+ +\S+ +\S+\.\.\S+", text)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_a_name_that_would_break_the_line_is_escaped(folder: Path) -> None:
    name = "a\nb\x1b[31m"
    lines = [json.dumps({"stream": name, "value": i, "time": i}).encode() + b"\n" for i in range(4)]
    (folder / "in.jsonl").write_bytes(b"".join(lines))
    with running(folder, "-c", "files.yaml") as daemon:
        assert daemon.process.wait(60) == DONE
    every = tail(folder, "--from-beginning", "--no-follow", "--horizon", 1)
    assert [line.stream for line in every] == [r"a\nb\x1b[31m"] * 3
    assert re.fullmatch(r"1970-01-01T00:00:00\.\d{3}Z", every[0].time)
