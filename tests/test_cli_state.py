"""`streamrnn state` over files, as an operator meets it; what it does on Kafka is in tests/kafka/."""

import contextlib
import io
import json
import os
import pty
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from streamrnn.cli import main
from streamrnn.engine.settings import ForecastSettings
from streamrnn.service.stored_state import KEYS
from tests.service.program import COMMAND, ROOT, environment, lines_of, parsed, records, running, streamrnn, until

DONE, FAILED, WRONG_USAGE = 0, 1, 2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a configuration from file to file and 400 lines of 4 streams."""
    (tmp_path / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl, state: state}\n"
        "model: {hidden: 8}\nlearning: {window: 8}\nhttp: {port: 0}\n"
    )
    (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in records(400, 4)))
    return tmp_path


@pytest.fixture
def lived(folder: Path) -> Path:
    """The folder after a run to the end of its input."""
    assert streamrnn("run", "-c", "files.yaml", cwd=folder).returncode == DONE
    return folder


def ended(folder: Path, *arguments: object) -> tuple[object, str, str]:
    """Exit code, standard output and standard error of a `streamrnn state` command."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, sys.argv = sys.argv, ["streamrnn", "state", *map(str, arguments)]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
        assert "Traceback" not in said + complained
        return end.code, said, complained
    finally:
        sys.argv = before


def good(folder: Path, *arguments: object) -> str:
    """What a command prints that does what it should, and complains of nothing."""
    code, said, complained = ended(folder, *arguments)
    assert (code, complained) == (DONE, "")
    return said


def rows(said: str) -> list[list[str]]:
    """The cells of every line of every table."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in said.splitlines() if "│" in line]


@pytest.mark.parametrize("command", ["show", "export", "drop"])
def test_the_help_of_every_command_has_an_example_with_a_file_that_is_there(folder: Path, command: str) -> None:
    said = good(folder, command, "--help")
    assert f"Example: streamrnn state {command} -c config/streamrnn.yaml" in said
    assert (ROOT / "config/streamrnn.yaml").is_file()


def test_every_setting_that_touches_forecasts_is_shown_under_its_key() -> None:
    assert list(KEYS) == list(ForecastSettings().to_json())


# show.


def test_no_snapshot_at_all_is_no_error(folder: Path) -> None:
    assert rows(good(folder, "show", "-c", "files.yaml")) == [["0", "none", "-", "-", "400", "-", "-", "-", "-"]]
    assert not (folder / "state").exists()


def test_a_sound_snapshot_is_shown_with_where_it_stands_and_its_settings(lived: Path) -> None:
    first, *settings = rows(good(lived, "show", "-c", "files.yaml"))
    assert first[:6] == ["0", "sound", "400", "400", "400", "4"]
    assert re.fullmatch(r"[\d.]+ KiB", first[6])
    assert re.fullmatch(r"now|\d+ s ago", first[7])
    assert re.fullmatch(r"[0-9a-f]{8}, format \d+", first[8])
    assert ["model.hidden", "8", "8", ""] in settings
    assert len(settings) == len(KEYS)


def test_what_will_be_adopted_is_no_error_and_what_shapes_the_state_is(lived: Path) -> None:
    said = good(lived, "show", "-c", "files.yaml", "--set", "learning.rate=0.01")
    assert ["learning.rate", "0.003", "0.01", "adopted"] in rows(said)
    code, said, complained = ended(lived, "show", "-c", "files.yaml", "--set", "forecast.horizons=1-24")
    assert code == FAILED
    assert ["forecast.horizons", "[1]", "1-24", "refused"] in rows(said)
    assert "in.jsonl[0]: the snapshot was written with another forecast.horizons" in said
    assert complained == (
        "streamrnn: in.jsonl[0] would be refused. Mend what is named above, or go on without the snapshot: "
        "streamrnn state drop -c files.yaml --partition 0 and the same --set\n"
    )


def test_a_damaged_page_is_told_with_its_place(lived: Path) -> None:
    (segment,) = (lived / "state").glob("*/segment-*")
    content = bytearray(segment.read_bytes())
    content[1000] ^= 1
    segment.write_bytes(content)
    code, said, _ = ended(lived, "show", "-c", "files.yaml")
    assert code == FAILED
    assert rows(said) == [["0", "refused", "-", "400", "400", "-", "-", "-", "-"]]
    assert f"{segment.name}: page 'slot/" in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "in.jsonl").write_bytes(b"{}\n"), "it was cut or replaced"),
        (lambda folder: (folder / "out.jsonl").write_bytes(b"{}\n"), "out.jsonl: has 3 bytes"),
        (lambda folder: next((folder / "state").glob("*/manifest.json")).write_bytes(b"{"), "is damaged"),
    ],
)
def test_whatever_a_run_would_refuse_is_refused_here_in_the_same_words(
    lived: Path, change: object, told: str
) -> None:
    assert callable(change)
    change(lived)
    code, said, _ = ended(lived, "show", "-c", "files.yaml")
    assert code == FAILED
    assert told in said
    with running(lived, "-c", "files.yaml") as daemon:
        until(lambda: told in daemon.said())


def test_a_snapshot_is_shown_and_exported_while_a_daemon_lives_on_it_and_not_dropped(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in records(40_000, 4)))  # for a while
    with running(folder, "-c", "files.yaml", "--set", "state.snapshot_interval=100ms") as daemon:
        until(lambda: next((task["snapshot"] for task in daemon.status()["tasks"]), None))
        shown = rows(good(folder, "show", "-c", "files.yaml"))[0]
        good(folder, "export", "-c", "files.yaml", "--output", "made")
        code, _, complained = ended(folder, "drop", "-c", "files.yaml", "--yes")
        assert daemon.process.poll() is None
    assert (shown[1], shown[4], shown[5]) == ("sound", "40,000", "4")
    assert 0 < int(shown[2].replace(",", "")) <= int(shown[3].replace(",", ""))
    assert len(load_file(folder / "made" / "in.jsonl-0.safetensors")["stream_ids"]) == 4
    assert code == FAILED
    assert f"another process (id {daemon.process.pid}) lives on this state" in complained


# export.


def test_an_export_is_read_by_other_programs_with_a_row_for_each_stream(lived: Path) -> None:
    said = good(lived, "export", "-c", "files.yaml", "--output", "made/here")
    path = lived / "made" / "here" / "in.jsonl-0.safetensors"
    assert said.startswith(f"in.jsonl[0]: 4 streams at offset 400, {path.stat().st_size:,} bytes in made/here/in.")
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    arrays = load_file(path)
    ids = [bytes(row[:n]).decode() for row, n in zip(arrays["stream_ids"], arrays["stream_id_bytes"], strict=True)]
    assert ids == ["s0", "s1", "s2", "s3"]
    assert arrays["slot/steps"].tolist() == [100] * 4
    last = parsed(lines_of(lived / "in.jsonl"))[-4:]
    assert np.allclose(arrays["slot/origin_value"][:, 0], [line["value"] for line in last])
    assert arrays["shared/weights.U"].shape == (3, 8, 8)
    with safe_open(path, "numpy") as file:
        told = file.metadata()
    assert (told["topic"], told["partition"], told["offset"]) == ("in.jsonl", "0", "400")
    assert json.loads(told["settings"])["hidden"] == 8


def test_an_export_needs_no_fitting_configuration_and_is_no_model_to_start_with(lived: Path) -> None:
    good(lived, "export", "-c", "files.yaml", "--output", ".", "--set", "model.hidden=16")
    with contextlib.suppress(FileNotFoundError):
        (lived / "out.jsonl").unlink()
    done = streamrnn("run", "-c", "files.yaml", "--set", "model.initial=in.jsonl-0.safetensors", cwd=lived)
    assert done.returncode == WRONG_USAGE
    assert b"has format state-2, expected 2 of `streamrnn train`" in done.stderr


def test_where_there_is_nothing_to_export_or_nowhere_to_write_it_is_1(lived: Path) -> None:
    (lived / "taken").write_bytes(b"")
    code, _, complained = ended(lived, "export", "-c", "files.yaml", "--output", "taken/below")
    assert code == FAILED
    assert "taken/below/in.jsonl-0.safetensors: cannot be written: " in complained
    good(lived, "drop", "-c", "files.yaml", "--yes")
    code, said, complained = ended(lived, "export", "-c", "files.yaml", "--output", "made")
    assert (code, said) == (FAILED, "in.jsonl[0]: no snapshot\n")
    assert complained == "streamrnn: there is no snapshot to export\n"
    assert not (lived / "made").exists()


# drop.


def test_after_a_drop_a_run_rebuilds_the_state_and_goes_on_where_it_was(lived: Path) -> None:
    said = good(lived, "drop", "-c", "files.yaml", "--yes")
    assert "in.jsonl[0]: the snapshot is forgotten" in said
    assert "rebuilds its state from at most the last 1h of input before offset 400" in said
    assert rows(good(lived, "show", "-c", "files.yaml"))[0][:4] == ["0", "none", "-", "400"]
    with (lived / "in.jsonl").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in records(8, 4, first=400)))
    done = streamrnn("run", "-c", "files.yaml", cwd=lived)
    assert done.returncode == DONE
    assert b"there is no state for the committed offset 400: rebuilding it" in done.stderr
    made = parsed(lines_of(lived / "out.jsonl"))
    assert [line["offset"] for line in made] == list(range(408))
    assert "in.jsonl[0]: nothing was stored" in good(lived, "drop", "-c", "files.yaml", "--yes", "--set", "app_id=b")


def test_a_partition_that_is_not_there_is_1(lived: Path) -> None:
    for command in (["show"], ["drop", "--yes"], ["export", "--output", "made"]):
        code, said, complained = ended(lived, *command, "-c", "files.yaml", "--partition", "1")
        assert (code, said) == (FAILED, "")
        assert complained == "streamrnn: --partition 1: there is no such partition of in.jsonl, expected 0\n"


def test_without_a_terminal_a_drop_must_be_told_yes(lived: Path) -> None:
    done = streamrnn("state", "drop", "-c", "files.yaml", cwd=lived)
    assert done.returncode == WRONG_USAGE
    assert b"there is no terminal to ask on. Pass --yes" in done.stderr
    assert rows(good(lived, "show", "-c", "files.yaml"))[0][1] == "sound"


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", FAILED, "sound"), (b"y\n", DONE, "none")])
def test_on_a_terminal_a_drop_asks_first(lived: Path, answer: bytes, code: int, left: str) -> None:
    keyboard, terminal = pty.openpty()
    command = [*COMMAND, "state", "drop", "-c", "files.yaml"]
    with os.fdopen(keyboard, "r+b", buffering=0) as typed, os.fdopen(terminal, "rb") as given:
        typed.write(answer)
        done = subprocess.run(
            command, cwd=lived, env=environment(), stdin=given, capture_output=True, timeout=60, check=False
        )
    assert done.returncode == code
    assert b"Forget what was learnt from in.jsonl[0] as app streamrnn? [y/N]" in done.stdout
    assert rows(good(lived, "show", "-c", "files.yaml"))[0][1] == left


# A broker that is away.


@pytest.mark.parametrize("command", [["show"], ["export", "--output", "made"], ["drop", "--yes"]])
def test_a_broker_that_is_away_is_1_and_one_line(folder: Path, command: list[str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and never listening: nobody else can take it
        address = f"127.0.0.1:{held.getsockname()[1]}"
        (folder / "kafka.yaml").write_text(f"kafka: {{bootstrap_servers: '{address}'}}\n")
        code, said, complained = ended(folder, *command, "-c", "kafka.yaml")
    assert (code, said) == (FAILED, "")
    assert len(complained.splitlines()) == 1
    assert address in complained
