"""`streamrnn.Forecaster` as the user of a notebook or a web service has it."""

import inspect
import itertools
import json
import math
import signal
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from streamrnn import Forecast, Forecaster
from streamrnn.errors import ConfigError, RecordError, SnapshotError, StreamRNNError
from streamrnn.library_settings import KEYS
from streamrnn.service.settings import Config
from streamrnn.service.state_file import checksum
from tests.service.program import lines_of, parsed, records, streamrnn

Record = tuple[str, int, Any]
PLACE = ("topic", "partition", "offset")
SMALL: dict[str, Any] = {"horizons": [1, 3], "hidden": 8, "window": 4}
FILES = (
    "transport: file\nfile: {input: in.jsonl, output: out.jsonl, state: state}\nhttp: {port: 0}\n"
    "forecast: {horizons: [1, 3]}\nmodel: {hidden: 8}\nlearning: {window: 4}\n"
)


def wave(number: int, streams: int = 3, features: int = 1, seed: int = 0) -> list[Record]:
    """Noisy waves of some streams in random order, a minute apart, a value in twenty missing."""
    random = np.random.default_rng(seed)
    made: list[Record] = []
    for i, stream in enumerate(random.integers(0, streams, number).tolist()):
        x = np.sin(i / 7 + stream + np.arange(features)) + 0.1 * random.normal(size=features)
        x[random.random(features) < 0.05] = np.nan
        made.append((f"s{stream}", 1_700_000_000_000 + i * 60_000, x.tolist() if features > 1 else float(x[0])))
    return made


def followed(f: Forecaster, rows: Sequence[Record]) -> list[Forecast]:
    return [f.update(*row) for row in rows]


def at_once(f: Forecaster, rows: Sequence[Record]) -> list[Forecast]:
    streams, times, values = zip(*rows, strict=True)
    return list(f.update_many(streams, np.array(times), np.array(values)))


# It is the daemon.


@pytest.mark.parametrize("features", [1, 2])
def test_a_forecast_is_the_line_that_the_daemon_writes(features: int, tmp_path: Path) -> None:
    rows = wave(600, features=features)
    name = "values" if features > 1 else "value"
    lines = [json.dumps({"stream": stream, "time": time, name: value}) for stream, time, value in rows]
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "files.yaml").write_text(FILES + f"input: {{features: {features}}}\n")
    done = streamrnn("run", "-c", "files.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = parsed(lines_of(tmp_path / "out.jsonl"))
    made = [forecast.as_dict() for forecast in followed(Forecaster(features=features, **SMALL), rows)]
    assert made == [{key: value for key, value in line.items() if key not in PLACE} for line in written]
    assert made[-1]["warm"]
    assert made[-1]["surprise"] is not None


def test_a_partition_of_a_daemon_is_loaded_and_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "files.yaml").write_text(FILES)
    (tmp_path / "in.jsonl").write_bytes(b"".join(line + b"\n" for line in records(400, 4)))
    assert streamrnn("run", "-c", "files.yaml", cwd=tmp_path).returncode == 0
    assert streamrnn("state", "export", "-c", "files.yaml", "--output", ".", cwd=tmp_path).returncode == 0
    f = Forecaster.load(tmp_path / "in.jsonl-0.safetensors")
    with (tmp_path / "in.jsonl").open("ab") as file:
        file.write(b"".join(line + b"\n" for line in records(80, 4, first=400)))
    assert streamrnn("run", "-c", "files.yaml", cwd=tmp_path).returncode == 0
    rest = parsed(records(80, 4, first=400))
    made = [f.update(line["stream"], line["time"], line["value"]).as_dict() for line in rest]
    written = parsed(lines_of(tmp_path / "out.jsonl"))[400:]
    assert made == [{key: value for key, value in line.items() if key not in PLACE} for line in written]


def test_its_arguments_have_the_names_and_the_defaults_of_the_configuration() -> None:
    parameters = inspect.signature(Forecaster).parameters
    assert list(parameters) == list(KEYS)
    for name, key in KEYS.items():
        default: Any = Config()
        for part in key.split("."):
            default = getattr(default, part)
        given = parameters[name].default
        assert given == default or (given,) == default, name


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"horizons": 0}, "argument horizons: forecast.horizons: 0 is not a number of steps from 1 to 10000"),
        ({"horizons": "24-1"}, "argument horizons: forecast.horizons: '24-1' is not a number of steps"),
        ({"horizons": []}, r"argument horizons: forecast.horizons: \[\] is empty"),
        ({"horizons": True}, "argument horizons: forecast.horizons: True is not a number of steps"),
        ({"cell": "gur"}, "argument cell: model.cell: 'gur' is not a cell.* Did you mean 'gru'"),
        ({"hidden": 2.5}, "argument hidden: model.hidden: 2.5 is not a whole number from 1 to 4096"),
        ({"hidden": None}, "argument hidden: model.hidden: .* is not a whole number from 1 to 4096"),
        ({"hidden": object()}, "argument hidden: model.hidden: '<object object.*' is not a whole number"),
        ({"coverage": 1.0}, "argument coverage: forecast.coverage: 1.0 is not a number above 0 and below 1"),
        ({"coverage": math.nan}, "argument coverage: forecast.coverage: 'nan' is not a number above 0"),
        ({"missing": {}}, r"argument missing: input.missing: '\{\}' is not a list of at most 1000 numbers"),
        ({"learning": "yes"}, "argument learning: learning.enabled: 'yes' is not true or false"),
        ({"ttl": 3600}, "argument ttl: state.ttl: 3600 has no unit"),
        ({"initial": "${HOME}"}, r"model.initial: \$\{HOME\}: cannot be read"),
        ({"backend": "torch"}, "argument backend: compute.backend: 'torch' is not a backend"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused_by_its_name(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        Forecaster(**arguments)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("given", [24, "1-24", [1, 24], (24, 1), range(1, 25), np.array([1, 24]), ["1-3", 24]])
def test_horizons_are_given_in_every_form_that_has_a_meaning(given: Any) -> None:
    f = Forecaster(given)
    assert f.horizons[-1] == 24
    assert len(f.update("a", 0, 1.0).mean) == len(f.horizons)


def test_all_wrong_arguments_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Forecaster(hidden=0, coverage=2)
    assert len(str(caught.value).splitlines()) == 2


def test_settings_of_this_process_s_environment_are_the_daemon_s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMRNN__FORECAST__HORIZONS", "7")
    assert Forecaster().horizons == (1,)


def test_it_begins_with_what_a_trained_model_passes_on(tmp_path: Path) -> None:
    (tmp_path / "files.yaml").write_text(FILES)
    rows = "".join(f"{hour * 3600},{math.sin(hour / 4)}\n" for hour in range(400))
    (tmp_path / "data.csv").write_text("time,a\n" + rows)
    done = streamrnn("train", "-c", "files.yaml", "data.csv", "--output", "model.safetensors", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Forecaster(**SMALL).update("a", 0, 1.0).model == 0
    assert Forecaster(initial=tmp_path / "model.safetensors", **SMALL).update("a", 0, 1.0).model > 0
    with pytest.raises(ConfigError, match="was trained with other settings"):
        Forecaster(initial=tmp_path / "model.safetensors")


# What goes in.


@pytest.mark.parametrize(
    "time",
    [
        1_704_067_200_000,
        1_704_067_200_000.0,
        np.int64(1_704_067_200_000),
        "2024-01-01T00:00:00Z",
        "2024-01-01",
        datetime(2024, 1, 1),  # a naive one is UTC
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        date(2024, 1, 1),
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01T00:00:00.000000999", "ns"),
    ],
)
def test_a_time_is_given_in_every_form_that_has_a_meaning(time: Any) -> None:
    assert Forecaster().update("a", time, 1.0).time == 1_704_067_200_000
    assert Forecaster().update_many("a", [time], [1.0])[0].time == 1_704_067_200_000


def test_a_record_without_a_time_has_that_of_the_record_before() -> None:
    f = Forecaster()
    assert f.update("a", None, 1.0).time == 0
    f.update("a", 5, 1.0)
    assert f.update("b", None, 1.0).time == 5
    assert f.update_many("b", [None, 7, None], [1.0] * 3).times.tolist() == [5, 7, 7]


def test_a_moment_is_taken_to_the_millisecond() -> None:
    moment = datetime(1970, 1, 1, 0, 0, 1, 1000, tzinfo=UTC)
    assert Forecaster().update("a", moment, 1.0).time == 1001


@pytest.mark.parametrize("value", [5, 5.0, np.float32(5), np.int64(5), np.array(5.0), [5.0], np.array([5])])
def test_a_value_is_given_in_every_form_that_is_a_number(value: Any) -> None:
    assert Forecaster().update("a", 0, value).mean == [5.0]


@pytest.mark.parametrize("missing", [None, math.nan, np.float64("nan"), -9999])
def test_a_missing_value_steps_and_is_forecast(missing: Any) -> None:
    f = Forecaster(missing=[-9999])
    assert f.update("a", 0, missing).mean == [None]
    f.update("a", 1, 5.0)
    assert f.update("a", 2, missing).mean == [5.0]
    assert f.update_many("a", [3, 4], [missing, missing]).mean.tolist() == [[5.0], [5.0]]


def test_a_sequence_of_steps_gets_the_forecast_after_its_last() -> None:
    rows = wave(200, streams=1, features=2)
    f, g = Forecaster(features=2, **SMALL), Forecaster(features=2, **SMALL)
    last = followed(f, rows)[-1]
    _, times, values = zip(*rows, strict=True)
    made = g.update("s0", list(times), np.array(values))
    assert (made.mean, made.time) == (last.mean, last.time)


BAD: list[tuple[Any, Any, Any, str]] = [
    ("s1", 0, math.inf, r"Infinity is beyond ±1e\+150"),
    ("s1", 0, 1e200, r"1e\+200 is beyond ±1e\+150"),
    ("s1", 0, 10**400, "is beyond ±1e"),
    ("s1", 0, True, "true stands where a number was expected"),
    ("s1", 0, np.bool_(True), "true stands where a number was expected"),
    ("s1", 0, "12.5", '"12.5" stands where a number was expected'),
    ("s1", 0, 1 + 2j, r"\(1\+2j\).* stands where a number was expected"),
    ("s1", 0, [1.0, 2.0], '"values" has 2 numbers, input.features is 1'),
    ("s1", 0, [], '"values" has 0 numbers, input.features is 1'),
    ("s1", "yesterday", 1.0, '"time" is "yesterday", expected epoch ms or RFC 3339'),
    ("s1", 1.5, 1.0, '"time" is 1.5, expected epoch ms or RFC 3339'),
    ("s1", math.nan, 1.0, '"time" is NaN, expected epoch ms or RFC 3339'),
    ("s1", np.datetime64("NaT"), 1.0, '"time" is "NaT", expected epoch ms or RFC 3339'),
    ("s1", True, 1.0, '"time" is true, expected epoch ms or RFC 3339'),
    ("s1", object(), 1.0, "expected epoch ms or RFC 3339"),
    ("s1", 10**15, 1.0, "outside the years 1 to 9999"),
    (7, 0, 1.0, '"stream" is 7, expected text'),
    (None, 0, 1.0, "no key and no .stream"),
    ("", 0, 1.0, "the stream's id has 0 bytes, expected 1 to 256"),
    ("x" * 257, 0, 1.0, "the stream's id has 257 bytes, expected 1 to 256"),
    ("\ud800", 0, 1.0, "is not UTF-8"),
]


def test_what_is_no_record_is_refused_in_clear_words_and_leaves_the_state_as_it_was() -> None:
    rows = wave(300)
    f, g = Forecaster(**SMALL), Forecaster(**SMALL)
    assert followed(f, rows[:200]) == followed(g, rows[:200])
    for stream, time, value, told in BAD:
        with pytest.raises(RecordError, match=told):
            f.update(stream, time, value)
        with pytest.raises(RecordError, match=f"record 1: .*{told}"):
            f.update_many(["s0", stream, "s2"], [0, time, 0], [1.0, value, 1.0])
    assert followed(f, rows[200:]) == followed(g, rows[200:])
    assert f.streams == g.streams


def test_a_wrong_number_in_an_array_is_named_too() -> None:
    f = Forecaster()
    with pytest.raises(RecordError, match=r"record 2: Infinity is beyond"):
        f.update_many("a", np.arange(3), np.array([1.0, 2.0, np.inf]))
    with pytest.raises(RecordError, match=r"record 1: .*outside the years 1 to 9999"):
        f.update_many("a", np.array([0, 10**15]), np.ones(2))
    with pytest.raises(RecordError, match=r"record 0: true stands where a number was expected"):
        f.update_many("a", np.arange(2), np.array([True, False]))
    with pytest.raises(RecordError, match=r'record 0: "values" has 2 numbers, input.features is 1'):
        f.update_many("a", np.arange(3), np.ones((3, 2)))
    with pytest.raises(RecordError, match=r"record 0: one number, input.features is 2"):
        Forecaster(features=2).update_many("a", np.arange(3), np.ones(3))
    assert len(f) == 0


def test_a_column_of_times_is_as_good_as_a_row_of_them() -> None:
    made = Forecaster().update_many("a", np.arange(3)[:, None], np.ones(3))
    assert made.times.tolist() == [0, 1, 2]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="streams, times and values have 2, 3 and 3 entries"):
        Forecaster().update_many(["a", "b"], [0, 1, 2], [1.0, 2.0, 3.0])


# Many at once.


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.lists(st.integers(1, 399), max_size=6))
@settings(max_examples=8, deadline=None)
def test_many_records_at_once_have_the_forecasts_that_one_by_one_would(
    seed: int, features: int, cuts: list[int]
) -> None:
    rows = wave(400, streams=5, features=features, seed=seed)
    f, g = Forecaster(features=features, **SMALL), Forecaster(features=features, **SMALL)
    edges = [0, *sorted(set(cuts)), len(rows)]
    made = [forecast for a, b in itertools.pairwise(edges) for forecast in at_once(f, rows[a:b])]
    assert made == followed(g, rows)


def test_columns_are_arrays_or_lists_of_anything_that_is_a_record() -> None:
    rows = wave(100, streams=2)
    expected = followed(Forecaster(**SMALL), rows)
    streams, times, values = (list(column) for column in zip(*rows, strict=True))
    assert any(map(math.isnan, values))
    moments = np.array(times, "datetime64[ms]")
    for columns in (
        (streams, times, values),
        (np.array(streams), moments, np.array(values)),
        (streams, moments.astype("datetime64[us]").tolist(), [None if x != x else x for x in values]),
        (tuple(streams), moments.tolist(), [[x] for x in values]),
        (streams, times, np.array(values).reshape(-1, 1)),
    ):
        assert list(Forecaster(**SMALL).update_many(*columns)) == expected


def test_the_columns_of_many_forecasts_are_what_their_forecasts_hold() -> None:
    rows = wave(300, features=2)
    streams, times, values = zip(*rows, strict=True)
    made = Forecaster(features=2, **SMALL).update_many(streams, times, np.array(values))
    assert len(made) == 300
    assert made.mean.shape == (300, 2, 2)
    last = made[-1]
    assert last == made[299] == list(made)[-1]
    assert made.mean[-1].tolist() == last.mean
    assert (made.anomaly[-1], made.surprise[-1]) == (last.anomaly, last.surprise)
    assert made.streams[-1] == last.stream == streams[-1]
    assert repr(made) == "<300 forecasts of horizons [1, 3]>"
    with pytest.raises(IndexError):
        made[300]


@pytest.mark.parametrize("features", [1, 2])
def test_no_record_at_all_is_no_forecast(features: int) -> None:
    assert len(Forecaster(features=features).update_many([], [], [])) == 0


# What it knows.


def test_streams_are_counted_named_and_forgotten() -> None:
    f = Forecaster()
    assert f
    f.update_many(["a", "größe", "b"], [0, 0, 0], [1.0, 2.0, 3.0])
    assert (len(f), f.streams) == (3, ["a", "größe", "b"])
    f.forget("größe")
    f.forget("nobody")
    assert (len(f), f.streams) == (2, ["a", "b"])
    assert f.update("größe", 1, None).mean == [None]
    with pytest.raises(RecordError, match='"stream" is 7, expected text'):
        f.forget(7)  # type: ignore[arg-type]


def test_it_tells_what_it_is() -> None:
    f = Forecaster([1, 24])
    f.update_many("a", [0, 1], [1.0, 2.0])
    assert repr(f) == "<Forecaster of horizons [1, 24]: 1 streams, 2 steps, 0 weight updates>"


def test_a_forecast_is_frozen_and_reads_as_what_it_is() -> None:
    made = Forecaster().update("a", 5, 1.0)
    with pytest.raises(AttributeError):
        made.time = 6  # type: ignore[misc]
    assert repr(made).startswith("Forecast(stream='a', time=5, horizons=[1], mean=[1.0], lower=[")
    assert json.loads(json.dumps(made.as_dict())) == made.as_dict()


def test_an_interrupted_update_lets_nothing_go_on_from_half_a_state(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    f, count = Forecaster(), 400_000
    f.update_many("a", np.arange(10), np.ones(10))  # all machine code is there
    before = signal.signal(signal.SIGVTALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.2)  # of some seconds
        with pytest.raises(KeyboardInterrupt):
            f.update_many("a", np.arange(count), np.ones(count))
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    for use in (lambda: f.update("a", 0, 1.0), lambda: f.save(tmp_path / "state"), lambda: f.forget("a")):
        with pytest.raises(StreamRNNError, match=r"an update was interrupted.*Forecaster\.load"):
            use()
    assert not (tmp_path / "state").exists()


# On disk.


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("at", [0, 1, 97, 250, 399])
def test_a_loaded_state_goes_on_with_the_very_same_forecasts(features: int, at: int, tmp_path: Path) -> None:
    rows = wave(400, streams=5, features=features)
    f = Forecaster(features=features, **SMALL)
    followed(f, rows[:at])
    if at > 90:
        f.forget("s1")  # a freed slot, which rests, and is taken again
        f.forget("s3")
    f.save(tmp_path / "state")
    g = Forecaster.load(tmp_path / "state")
    assert g.streams == f.streams
    assert followed(g, rows[at:]) == followed(f, rows[at:])
    f.save(tmp_path / "one")
    g.save(tmp_path / "other")
    one, other = load_file(tmp_path / "one"), load_file(tmp_path / "other")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value, err_msg=name)


def test_slots_that_many_streams_left_are_taken_again_in_the_same_order(tmp_path: Path) -> None:
    f = Forecaster(max_streams=20, **SMALL)
    rows = [(f"stream-{i * 7 % 50}", i, math.sin(i)) for i in range(2000)]
    followed(f, rows[:1000])
    f.save(tmp_path / "state")
    g = Forecaster.load(tmp_path / "state")
    assert followed(g, rows[1000:]) == followed(f, rows[1000:])
    assert g.streams == f.streams


def test_the_file_says_in_plain_words_what_it_is(tmp_path: Path) -> None:
    f = Forecaster([1, 24], hidden=8)
    at_once(f, wave(100))
    f.save(tmp_path / "state")
    with safe_open(tmp_path / "state", framework="numpy") as file:
        header = file.metadata()
        assert file.get_tensor("slot/steps").sum() == 100
    assert header["format"] == "state-2"
    assert json.loads(header["settings"])["horizons"] == [1, 24]


def test_a_loaded_state_can_be_frozen_and_thawed(tmp_path: Path) -> None:
    rows = wave(600)
    f = Forecaster(**SMALL)
    followed(f, rows[:300])
    f.save(tmp_path / "state")
    frozen = Forecaster.load(tmp_path / "state", learning=False)
    assert len({made.model for made in followed(frozen, rows[300:])}) == 1
    frozen.save(tmp_path / "frozen")
    again = Forecaster.load(tmp_path / "frozen")
    assert len({made.model for made in followed(again, rows[300:])}) == 1
    thawed = Forecaster.load(tmp_path / "frozen", learning=True)
    assert len({made.model for made in followed(thawed, rows[300:])}) > 1


def test_a_byte_that_changed_is_found(tmp_path: Path) -> None:
    f = Forecaster(**SMALL)
    at_once(f, wave(100))
    f.save(tmp_path / "state")
    whole = (tmp_path / "state").read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    for at in np.linspace(begin, len(whole) - 1, 20).astype(int).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (tmp_path / "damaged").write_bytes(damaged)
        with pytest.raises(SnapshotError, match="damaged: is damaged: its checksum is"):
            Forecaster.load(tmp_path / "damaged")
    (tmp_path / "damaged").write_bytes(whole.replace(b'\\"seed\\": 0', b'\\"seed\\": 1'))
    with pytest.raises(SnapshotError, match="damaged: is damaged: its checksum is"):
        Forecaster.load(tmp_path / "damaged")
    for length in (0, 5, begin - 1, begin, len(whole) - 1):
        (tmp_path / "damaged").write_bytes(whole[:length])
        with pytest.raises(SnapshotError, match=r"damaged: cannot be read: .*Forecaster\.save"):
            Forecaster.load(tmp_path / "damaged")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "foreign")
    with pytest.raises(SnapshotError, match=r"foreign: has format None, expected state-2 of Forecaster.save"):
        Forecaster.load(tmp_path / "foreign")
    (tmp_path / "text").write_text("time,a\n")
    for name in ("text", "absent"):
        with pytest.raises(SnapshotError, match=f"{name}: cannot be read: "):
            Forecaster.load(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda _, header: header.pop("layout"), "its header lacks layout"),
        (lambda _, header: header.update(layout="0123abcd"), "has layout 0123abcd, this version's is"),
        (lambda _, header: header.update(settings='{"features": 1}'), "settings differ from this version's in"),
        (lambda _, header: header.update(settings="[]"), "settings differ|do not fit together"),
        (lambda _, header: header.update(settings="{"), "do not fit together"),
        (lambda arrays, _: arrays.pop("stream_ids"), "holds nothing for stream_ids"),
        (lambda arrays, _: arrays.pop("slot/levels"), "holds nothing for slot/levels"),
        (lambda arrays, _: arrays.pop("shared/weights.U"), "holds nothing for weights.U"),
        (lambda arrays, _: arrays.update({"stream_ids": np.zeros((3, 2))}), "stream_ids float64"),
        (lambda arrays, _: arrays.update({"slot/steps": arrays["slot/steps"][:2]}), "slot/steps holds int64 .2,."),
        (lambda arrays, _: arrays["slot/levels"].fill(np.nan), "slot/levels holds numbers that are not finite"),
        (lambda arrays, _: arrays["shared/weights.U"].fill(np.inf), "weights.U holds numbers that are not finite"),
    ],
)
def test_a_sealed_file_whose_parts_do_not_fit_is_refused(change: Any, told: str, tmp_path: Path) -> None:
    f = Forecaster(**SMALL)
    at_once(f, wave(100))
    f.save(tmp_path / "state")
    with safe_open(tmp_path / "state", framework="numpy") as file:
        header = file.metadata()
    arrays = load_file(tmp_path / "state")
    change(arrays, header)
    header["checksum"] = checksum(header["settings"], arrays)
    save_file(arrays, tmp_path / "odd", header)
    with pytest.raises(SnapshotError, match=f"odd: .*({told})"):
        Forecaster.load(tmp_path / "odd")


def test_a_save_that_fails_leaves_the_file_before_it(tmp_path: Path) -> None:
    f = Forecaster(**SMALL)
    at_once(f, wave(50))
    f.save(tmp_path / "folder" / "state")
    before = (tmp_path / "folder" / "state").read_bytes()
    (tmp_path / "folder" / "state.new").mkdir()  # so that it can write nothing
    at_once(f, wave(50, seed=1))
    with pytest.raises(StreamRNNError, match="state: cannot be written: "):
        f.save(tmp_path / "folder" / "state")
    assert (tmp_path / "folder" / "state").read_bytes() == before
    (tmp_path / "folder" / "state.new").rmdir()
    f.save(str(tmp_path / "folder" / "state"))
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["state"]
    assert (tmp_path / "folder" / "state").read_bytes() != before
