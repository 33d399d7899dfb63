"""The command line as a user meets it: what it says, what it writes, how it ends."""

import contextlib
import gzip
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from streamrnn.cli import main
from streamrnn.errors import StreamRNNError
from streamrnn.service.demo import read_forecasts, weather
from tests.service.program import COMMAND, ROOT, environment, lines_of, parsed, running, streamrnn, until

DONE, FAILED, WRONG_USAGE = 0, 1, 2
LOG_LINE = re.compile(r"^\d{4}-\S+Z .*\n", re.MULTILINE)
COMMANDS = ["run", "backtest", "train", "check", "demo", "produce", "state", "tail"]
CSV = """time,a,b
2024-01-01 00:00,1.5,10
2024-01-01 01:00,,11
2024-01-01 02:00,2.5,
2024-01-01 03:00,3,13
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a configuration for backtests, one from file to file, one for Kafka, and a table."""
    (tmp_path / "score.yaml").write_text("model: {hidden: 8}\nlearning: {window: 8}\n")
    (tmp_path / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl, state: state}\n"
        "model: {hidden: 8}\nlearning: {window: 8}\nhttp: {port: 0}\n"
    )
    (tmp_path / "data.csv").write_text(CSV)
    return tmp_path


@pytest.fixture
def nobody(folder: Path) -> Iterator[str]:
    """An address at which nobody answers, and kafka.yaml, which names it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and never listening: nobody else can take it
        address = f"127.0.0.1:{held.getsockname()[1]}"
        (folder / "kafka.yaml").write_text(f"kafka: {{bootstrap_servers: '{address}'}}\nhttp: {{port: 0}}\n")
        yield address


def long_csv(rows: int) -> str:
    """Two columns of a day's length, the first with gaps."""
    lines = ["time,a,b"]
    for i in range(rows):
        gap = i % 17 == 3
        lines.append(f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00,{'' if gap else 10 + (i * i) % 24},{i % 24 + 0.25}")
    return "\n".join(lines) + "\n"


class Ended(NamedTuple):
    """What came of a command."""

    code: object
    said: str  # to standard output
    complained: str  # to standard error


def ended(folder: Path, *arguments: object) -> Ended:
    """A command's end: of what stays up or works long as a process, else of the entry point called here."""
    if arguments and arguments[0] in ("run", "demo"):
        done = streamrnn(*arguments, cwd=folder)
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    before, sys.argv = sys.argv, ["streamrnn", *map(str, arguments)]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        said, complained = (stream.buffer.getvalue().decode() for stream in (out, err))
        return Ended(end.code, said, complained)
    finally:
        sys.argv = before


def complaint(folder: Path, code: int, *arguments: object) -> str:
    """What a failing command says, which is short and no traceback."""
    done = ended(folder, *arguments)
    assert done.code == code, done.complained
    assert "Traceback" not in done.said + done.complained
    assert len(LOG_LINE.sub("", done.complained).splitlines()) <= 4
    return done.complained


def good(folder: Path, *arguments: object) -> str:
    """What a command prints that does what it should, and complains of nothing."""
    done = ended(folder, *arguments)
    assert (done.code, done.complained) == (DONE, "")
    return done.said


def backtest(folder: Path, *arguments: object) -> list[dict[str, Any]]:
    """The lines that a backtest of data.csv writes."""
    good(folder, "backtest", "-c", "score.yaml", "data.csv", "--output", "made.jsonl", *arguments)
    return parsed(lines_of(folder / "made.jsonl"))


# Wrong usage and configuration.


def test_a_misspelt_key_is_2_and_the_key_that_was_meant_is_named(folder: Path) -> None:
    (folder / "score.yaml").write_text("model:\n  hiden: 8\n")
    said = complaint(folder, WRONG_USAGE, "run", "-c", "score.yaml")
    assert said == "streamrnn: score.yaml:2: model.hiden: is not a setting. Did you mean 'model.hidden'?\n"


def test_a_misspelt_key_of_set_is_2_too(folder: Path) -> None:
    said = complaint(folder, WRONG_USAGE, "check", "-c", "score.yaml", "--set", "modle.hidden=8")
    assert said == "streamrnn: --set: modle: is not a setting. Did you mean 'model'?\n"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_configuration_that_is_not_there_is_2(folder: Path, command: str) -> None:
    assert "none.yaml: cannot be read: No such file" in complaint(folder, WRONG_USAGE, command, "-c", "none.yaml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "Missing option '-c'"),
        (["run", "-c", "score.yaml", "--fast"], "No such option '--fast'"),
        (["backtest", "-c", "score.yaml"], "Missing argument 'DATA'"),
        (["produce", "-c", "score.yaml", "data.csv", "--speed", "0"], "0.0 is not in the range x>0"),
        (["forecast"], "No such command 'forecast'"),
    ],
)
def test_wrong_usage_is_2_and_says_how_the_command_is_used(folder: Path, arguments: list[str], said: str) -> None:
    told = complaint(folder, WRONG_USAGE, *arguments)
    assert said in told
    assert told.startswith("Usage: streamrnn ")


def test_without_a_command_the_commands_are_listed(folder: Path) -> None:
    done = ended(folder)
    assert done.code == WRONG_USAGE
    assert all(command in done.complained for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_of_that_command(folder: Path, command: str) -> None:
    said = good(folder, command, "--help")
    assert said.startswith(f"Usage: streamrnn {command}")
    assert f"Example: streamrnn {command} " in said


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("streamrnn ", COMMANDS),
        ("streamrnn sta", ["state"]),
        ("streamrnn state ", ["drop", "export", "show"]),
        ("streamrnn tail --", ["--stream", "--horizon", "--anomalies", "--from-beginning", "--count", "--no-follow"]),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(folder: Path, shell: str, words: str, completed: list[str]) -> None:
    written = words.split(" ")
    asked = {"_STREAMRNN_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(written) - 1)}
    if shell == "fish":
        asked["COMP_CWORD"] = written[-1]  # the word itself
    done = subprocess.run(COMMAND, cwd=folder, env=environment() | asked, capture_output=True, text=True, check=True)
    assert set(completed) <= set(re.split(r"[\n,\t]", done.stdout))


def test_the_help_tells_how_the_shell_learns_to_complete(folder: Path) -> None:
    said = good(folder, "--help")
    for shell in ("bash", "zsh", "fish"):
        (line,) = (line for line in said.splitlines() if line.strip().startswith(shell))
        assert f"_STREAMRNN_COMPLETE={shell}_source streamrnn" in line
        asked = {"_STREAMRNN_COMPLETE": f"{shell}_source"}
        done = subprocess.run(COMMAND, env=environment() | asked, capture_output=True, text=True, check=True)
        assert f"_STREAMRNN_COMPLETE={shell}_complete" in done.stdout


def test_the_help_comes_without_what_only_the_work_needs(folder: Path) -> None:
    code = "import sys; from streamrnn.cli import main; sys.argv[1:] = ['--help']\ntry: main()\n"
    code += "except SystemExit: print({'numpy', 'aiokafka', 'numba', 'rich.progress'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in ("set()", "{'rich.progress'}")


def test_each_file_that_an_example_names_is_there(folder: Path) -> None:
    for command in COMMANDS:
        for name in re.findall(r"config/\S+", good(folder, command, "--help")):
            assert (ROOT / name).is_file()


@pytest.mark.parametrize(("name", "code"), [("data.csv", DONE), ("none.csv", FAILED)])
def test_the_exit_code_is_that_of_the_process(folder: Path, name: str, code: int) -> None:
    done = streamrnn("backtest", "-c", "score.yaml", name, cwd=folder)
    assert done.returncode == code
    assert bool(done.stderr) == bool(code)


# Tables that cannot be read.


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "data.csv: No such file or directory"),
        ("", "data.csv: is empty"),
        ("time,a\n2024-01-01,1\n2024-01-02\n", "data.csv:3: found 1 cell, expected 2 as in the header"),
        ("time,a\n2024-01-01,1\n2024-01-02,1,2\n", "data.csv:3: found 3 cells, expected 2"),
        ("time,a\n2024-01-01,1\n2024-01-02,warm\n", "data.csv:3: column 'a': found 'warm', expected a number"),
        ("time,a\nyesterday,1\n", "data.csv:2: column 'time': found 'yesterday', expected a time as RFC 3339"),
        ("time,a,a\n2024-01-01,1,2\n", "columns 2 and 3 are both named 'a'"),
    ],
)
def test_a_table_that_cannot_be_read_is_1_and_the_line_is_named(folder: Path, content: str | None, said: str) -> None:
    (folder / "data.csv").unlink()
    if content is not None:
        (folder / "data.csv").write_text(content)
    assert said in complaint(folder, FAILED, "backtest", "-c", "score.yaml", "data.csv")


def test_a_folder_in_the_place_of_a_table_is_1(folder: Path) -> None:
    assert "Is a directory" in complaint(folder, FAILED, "backtest", "-c", "score.yaml", ".")


@pytest.mark.parametrize("option", ["--output", "--report", "--plot"])
def test_what_cannot_be_written_is_1_and_is_said_before_the_work(folder: Path, option: str) -> None:
    done = ended(folder, "backtest", "-c", "score.yaml", "data.csv", option, "nowhere/made")
    assert (done.code, done.said) == (FAILED, "")
    assert done.complained.startswith("streamrnn: nowhere/made: cannot be written: ")
    assert done.complained.count("\n") == 1


def test_features_that_do_not_fit_a_table_of_streams_are_2_and_the_way_out_is_named(folder: Path) -> None:
    said = complaint(folder, WRONG_USAGE, "backtest", "-c", "score.yaml", "data.csv", "--set", "input.features=2")
    assert "input.features: is 2" in said and "--multivariate" in said


# Without a broker.


def test_check_is_1_where_nobody_answers_and_has_shown_the_configuration(folder: Path, nobody: str) -> None:
    done = ended(folder, "check", "-c", "kafka.yaml")
    assert done.code == FAILED
    assert f"bootstrap_servers: {nobody}" in done.said
    assert done.complained.startswith(f"streamrnn: Kafka at {nobody}: ")
    assert done.complained.count("\n") == 1


def test_produce_is_1_where_nobody_answers(folder: Path, nobody: str) -> None:
    assert f"Kafka at {nobody}: " in complaint(folder, FAILED, "produce", "-c", "kafka.yaml", "data.csv")


def test_run_says_once_that_nobody_answers_and_goes_on_trying_until_sigterm_is_0(folder: Path, nobody: str) -> None:
    with running(folder, "-c", "kafka.yaml") as daemon:
        until(lambda: f"Kafka at {nobody}: " in daemon.said())
        code, reason = daemon.get("/readyz")
        assert code == 503 and nobody in reason
        assert daemon.get("/healthz")[0] == 200
        time.sleep(2.5)  # some attempts, one a second
        assert daemon.process.poll() is None
        assert daemon.said().count("trying again") == 1
        asked = time.monotonic()
        assert daemon.stop(signal.SIGTERM) == DONE
        assert time.monotonic() - asked < 5
        assert "Traceback" not in daemon.said()


def test_run_ends_at_once_though_who_is_there_never_answers(folder: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(30)
        servers = f"kafka.bootstrap_servers=127.0.0.1:{silent.getsockname()[1]}"
        (folder / "silent.yaml").write_text("http: {port: 0}\n")
        with running(folder, "-c", "silent.yaml", "--set", servers) as daemon:
            connection, _ = silent.accept()
            with connection:
                asked = time.monotonic()
                assert daemon.stop(signal.SIGTERM) == DONE
                assert time.monotonic() - asked < 5


def test_produce_needs_kafka(folder: Path) -> None:
    said = complaint(folder, WRONG_USAGE, "produce", "-c", "files.yaml", "data.csv")
    assert "transport: is 'file', produce needs 'kafka'" in said


# Runs that cannot begin.


def test_a_port_in_use_is_1_and_the_way_out_is_named(folder: Path) -> None:
    (folder / "in.jsonl").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = complaint(folder, FAILED, "run", "-c", "files.yaml", "--set", f"http.port={port}")
    last = said.splitlines()[-1]
    assert last.startswith(f"streamrnn: http: 127.0.0.1:{port} cannot be bound: Address already in use. Give another")


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["file.input=none.jsonl"], "none.jsonl: does not exist, a file of JSON lines was expected as file.input"),
        (["file.input=."], ".: is a folder, a file of JSON lines was expected"),
        (["file.output=nowhere/out.jsonl"], "nowhere/out.jsonl: its folder does not exist"),
    ],
)
def test_files_that_are_not_there_are_1_for_run_and_for_check(
    folder: Path, command: str, sets: list[str], said: str
) -> None:
    (folder / "in.jsonl").touch()
    told = complaint(folder, FAILED, command, "-c", "files.yaml", *(f"--set={given}" for given in sets))
    assert told.splitlines()[-1].startswith(f"streamrnn: {said}")


# check.


def test_check_shows_what_will_be_used_with_secrets_masked_and_the_memory_of_a_series(folder: Path) -> None:
    (folder / "in.jsonl").touch()
    (folder / "secret").write_text("hunter2\n")
    with (folder / "files.yaml").open("a") as file:
        file.write("kafka: {security: {password: '${file:secret}'}}\n")
    said = good(folder, "check", "-c", "files.yaml", "--set", "state.max_streams=2000")
    assert "hidden: 8" in said and "max_streams: 2000" in said
    assert "hunter2" not in said and "password: '********'" in said
    assert re.search(r"keeps +[\d,]+ bytes a stream", said)
    assert re.search(r"2,000 streams a partition at most: \d+ MiB", said)
    assert re.search(r"reads +in.jsonl\n", re.sub(" +\n", "\n", said))
    assert re.search(r"forecasts +out.jsonl +will be created", said)
    assert not (folder / "out.jsonl").exists()


def test_check_tells_what_differs_from_the_defaults_and_nothing_else(folder: Path) -> None:
    (folder / "in.jsonl").touch()
    (folder / "files.yaml").write_text(
        "transport: file\nfile: {input: in.jsonl, output: out.jsonl}\nmodel: {cell: gru, hidden: 8}\n"
    )
    said = good(folder, "check", "-c", "files.yaml", "--set", "http.token=hunter2")
    _, _, rest = said.partition("Differs from the defaults\n")
    rows = [re.split(" {2,}", line.strip()) for line in rest.partition("\n\n")[0].splitlines()]
    assert rows == [
        ["transport", "file", "default: kafka"],
        ["file.input", "in.jsonl", "default: '-'"],
        ["file.output", "out.jsonl", "default: '-'"],
        ["model.hidden", "8", "default: 32"],
        ["http.token", "'********'", "default: null"],
    ]


def test_the_value_of_set_is_yaml_and_of_two_the_later_one_counts(folder: Path) -> None:
    (folder / "in.jsonl").touch()
    said = good(
        folder, "check", "-c", "files.yaml", "--set", "forecast.horizons=7", "--set", "forecast.horizons=[1, 24]"
    )
    assert "horizons: [1, 24]\n" in said


# backtest.


def test_a_backtest_writes_a_line_a_cell_in_reading_order_empty_cells_included(folder: Path) -> None:
    made = backtest(folder)
    assert [(line["stream"], line["offset"]) for line in made] == [(name, row) for row in range(4) for name in "ab"]
    assert {(line["topic"], line["partition"]) for line in made} == {("data.csv", 0)}
    assert [line["time"] for line in made[::2]] == [1_704_067_200_000 + 3_600_000 * row for row in range(4)]
    assert all(len(line["mean"]) == 1 for line in made)


def test_an_empty_cell_gets_the_forecast_that_holds_the_last_value(folder: Path) -> None:
    (folder / "data.csv").write_text("time,a\n2024-01-01,\n2024-01-02,5\n2024-01-03,\n")
    assert [line["mean"] for line in backtest(folder)] == [[None], [5.0], [5.0]]


def test_a_multivariate_backtest_writes_a_line_a_row_with_a_number_a_column(folder: Path) -> None:
    made = backtest(folder, "--multivariate", "--set", "forecast.horizons=[1, 2]")
    assert [(line["stream"], line["offset"]) for line in made] == [("data", row) for row in range(4)]
    for line in made:
        for name in ("mean", "lower", "upper"):
            assert [len(horizon) for horizon in line[name]] == [2, 2]


def test_the_stream_of_a_zipped_table_is_named_without_either_ending(folder: Path) -> None:
    (folder / "data.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    good(folder, "backtest", "-c", "score.yaml", "data.csv.gz", "--multivariate", "--output", "made.jsonl")
    line = parsed(lines_of(folder / "made.jsonl"))[0]
    assert (line["stream"], line["topic"]) == ("data", "data.csv.gz")


@pytest.mark.parametrize(
    ("times", "arguments"),
    [
        (["2024-01-01T00:00:00Z", "2024-01-01T02:00:00+01:00"], []),
        (["2024-01-01 00:00", "2024-01-01 01:00"], []),
        (["2024-01-01 00:00:00", "2024-01-01 01:00:00"], []),
        (["2024/1/1 0:00", "2024/1/1 1:00"], []),
        (["1/1/2024 0:00", "1/1/2024 1:00"], []),
        (["1704067200", "1704070800"], []),
        (["1704067200000", "1704070800000"], []),
        (["01.01.2024 00h", "01.01.2024 01h"], ["--time-format", "%d.%m.%Y %Hh"]),
    ],
)
def test_the_time_formats_of_the_contract_are_read(folder: Path, times: list[str], arguments: list[str]) -> None:
    (folder / "data.csv").write_text(f"time,a\n{times[0]},1\n{times[1]},2\n")
    assert [line["time"] for line in backtest(folder, *arguments)] == [1_704_067_200_000, 1_704_070_800_000]


def test_the_report_and_the_table_tell_the_same_of_each_horizon(folder: Path) -> None:
    (folder / "data.csv").write_text(long_csv(200))
    said = good(
        folder, "backtest", "-c", "score.yaml", "data.csv", "--report", "made.json", "--set", "forecast.horizons=1-2"
    )
    report = json.loads((folder / "made.json").read_text())
    assert report["records"] == 400
    assert report["records_per_second"] == pytest.approx(400 / report["seconds"])
    figures = {"mse", "mae", "coverage", "width"}
    rivals = {f"{rival}_{error}" for rival in ("persistence", "seasonal") for error in ("mse", "mae")}
    assert [entry["horizon"] for entry in report["horizons"]] == [1, 2]
    for entry in report["horizons"]:
        assert set(entry) == {"horizon", "forecasts"} | figures | rivals
        for name in figures | rivals:
            assert f"{entry[name]:.4f}" in said
    # every value but the first one of each column, where it is not missing
    assert report["horizons"][0]["forecasts"] == 2 * 199 - len(range(3, 200, 17))


def test_a_plot_is_a_picture_whatever_its_name(folder: Path) -> None:
    (folder / "data.csv").write_text(long_csv(100))
    said = good(folder, "backtest", "-c", "score.yaml", "data.csv", "--plot", "plot.picture")
    assert (folder / "plot.picture").read_bytes().startswith(b"\x89PNG")
    assert str(folder / "plot.picture") in said


@pytest.mark.parametrize("rows", ["", "2024-01-01,3\n", "2024-01-01,\n2024-01-02,\n", "2024-01-01,5\n2024-01-02,5\n"])
def test_of_nothing_to_show_there_is_an_empty_plot_and_a_report(folder: Path, rows: str) -> None:
    (folder / "data.csv").write_text(f"time,a\n{rows}")
    good(folder, "backtest", "-c", "score.yaml", "data.csv", "--plot", "p.png", "--report", "r.json")
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "r.json").read_text())["records"] == rows.count("\n")


@pytest.mark.parametrize("multivariate", [False, True])
def test_the_forecasts_of_a_backtest_are_those_of_a_run_over_the_same_cells(folder: Path, multivariate: bool) -> None:
    (folder / "data.csv").write_text(long_csv(360))
    made = backtest(folder, *(["--multivariate"] if multivariate else []), "--set", "forecast.horizons=[1, 5]")
    cells = [line.split(",") for line in long_csv(360).splitlines()[1:]]
    lines: list[dict[str, object]] = []
    for moment, *values in cells:
        when, numbers = moment.replace(" ", "T"), [float(cell) if cell else None for cell in values]
        if multivariate:
            lines.append({"stream": "data", "values": numbers, "time": when})
        else:
            lines += [{"stream": name, "value": x, "time": when} for name, x in zip("ab", numbers, strict=True)]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    features = ["--set", "input.features=2"] if multivariate else []
    done = streamrnn("run", "-c", "files.yaml", "--set", "forecast.horizons=[1, 5]", *features, cwd=folder)
    assert done.returncode == DONE, done.stderr.decode()
    ours = parsed(lines_of(folder / "out.jsonl"))
    assert made[-1]["model"] > 0
    where = ("topic", "offset")
    assert [{**line, **dict.fromkeys(where)} for line in made] == [{**line, **dict.fromkeys(where)} for line in ours]


# train.


def test_what_train_wrote_is_taken_by_a_backtest_and_by_a_run(folder: Path) -> None:
    (folder / "data.csv").write_text(long_csv(360))
    cold = backtest(folder)
    said = good(folder, "train", "-c", "score.yaml", "data.csv", "--output", "model")
    assert "weight updates. Go on with: --set model.initial=model" in said
    warm = backtest(folder, "--set", "model.initial=model")
    assert warm[0]["model"] > cold[-1]["model"] / 2  # it goes on from the updates that were made
    assert warm[40]["mean"] != cold[40]["mean"]
    (folder / "in.jsonl").write_text('{"stream": "a", "value": 1.5}\n')
    done = streamrnn("run", "-c", "files.yaml", "--set", "model.initial=model", cwd=folder)
    assert done.returncode == DONE, done.stderr.decode()
    assert parsed(lines_of(folder / "out.jsonl"))[0]["model"] == warm[0]["model"]


def test_a_model_that_is_not_there_is_2_before_anything_is_read(folder: Path) -> None:
    said = complaint(folder, WRONG_USAGE, "run", "-c", "files.yaml", "--set", "model.initial=nowhere")
    assert "model.initial: nowhere: cannot be read" in said


# demo.


def test_the_demo_shows_its_table_and_draws_its_picture_once(folder: Path) -> None:
    said = good(folder, "demo", "--once", "--plot", "demo.png")
    for part in ("temp", "wind_speed", "persistence", "yesterday", "linear", "gain", "coverage"):
        assert part in said
    gains = re.findall(r"all .*?([+-]\d+)% .*?([+-]\d+)%", said)
    assert len(gains) == 2 and all(int(gain) > 0 for both in gains for gain in both)
    assert re.search(r"\d+ anomalies", said)
    assert re.search(r"2013-02-12 08:00 .* EWR.wind_speed .* 1048.4 mph .* 0.999\d+", said)
    assert "130,950 records of 15 streams" in said
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_a_demo_that_was_stopped_says_how_far_it_came(tmp_path: Path) -> None:
    line = {"lower": [1, 2], "mean": [1, 2], "upper": [1, 2], "anomaly": None}
    (tmp_path / "made.jsonl").write_text(3 * (json.dumps(line) + "\n"))
    with pytest.raises(StreamRNNError, match="stopped after 3 of 130,950 records"):
        read_forecasts(tmp_path / "made.jsonl", weather())


def test_a_demo_that_could_not_draw_says_so_before_the_work(folder: Path) -> None:
    assert "there is no folder" in complaint(folder, FAILED, "demo", "--once", "--plot", "nowhere/demo.png")
