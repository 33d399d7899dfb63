"""`streamrnn.backtest` on arrays and data frames, beside the command that does the same to a CSV."""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import streamrnn
from streamrnn.errors import ConfigError, RecordError
from tests.service.program import lines_of, parsed
from tests.service.program import streamrnn as command

START, HOUR = 1_704_067_200_000, 3_600_000
SMALL: dict[str, Any] = {"hidden": 8, "window": 4}
NAMES = ("north", "south")


def waves(rows: int = 300, columns: int = 2) -> np.ndarray:
    """Daily waves, an hour a row, some cells missing."""
    random = np.random.default_rng(1)
    made = np.sin(np.arange(rows)[:, None] * 2 * np.pi / 24 + np.arange(columns))
    made += 0.1 * random.normal(size=made.shape)
    made[random.random(made.shape) < 0.03] = np.nan
    return made


VALUES = waves()
TIMES = START + HOUR * np.arange(len(VALUES))


@pytest.fixture(scope="module")
def of_arrays() -> Any:
    return streamrnn.backtest(VALUES, [1, 24], times=TIMES, **SMALL)


def same(found: Any, expected: Any, names: tuple[str, ...] = NAMES) -> None:
    assert found.names == names
    for name in ("times", "values", "mean", "lower", "upper", "surprise", "anomaly"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert found.errors == expected.errors


@pytest.mark.parametrize("multivariate", [False, True])
def test_it_is_what_the_command_makes_of_a_csv(multivariate: bool, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("forecast: {horizons: [1, 24]}\nmodel: {hidden: 8}\nlearning: {window: 4}\n")
    with (tmp_path / "data.csv").open("w") as file:
        file.write("time,north,south\n")
        for time, row in zip(TIMES.tolist(), VALUES.tolist(), strict=True):
            file.write(f"{time},{','.join('' if x != x else repr(x) for x in row)}\n")
    options = ["--output", "out.jsonl", "--report", "report.json", *(["--multivariate"] if multivariate else [])]
    done = command("backtest", "-c", "small.yaml", "data.csv", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = streamrnn.backtest(VALUES, [1, 24], times=TIMES, multivariate=multivariate, **SMALL)
    assert made.errors == json.loads((tmp_path / "report.json").read_text())["horizons"]
    lines = parsed(lines_of(tmp_path / "out.jsonl"))
    for name in ("mean", "lower", "upper"):
        written = np.array([line[name] for line in lines], float)  # (R·C, P) or (R, P, C)
        written = written.transpose(0, 2, 1) if multivariate else written.reshape(len(VALUES), 2, 2)
        np.testing.assert_array_equal(getattr(made, name), written)
    for name in ("surprise", "anomaly"):
        written = np.array([line[name] for line in lines], float)
        np.testing.assert_array_equal(getattr(made, name).ravel(), written)
        assert np.isfinite(written).any()


def test_an_array_of_one_axis_is_one_stream_and_rows_without_times_are_a_second_apart() -> None:
    made = streamrnn.backtest(VALUES[:, 0], [1, 2], **SMALL)
    assert (made.names, made.mean.shape) == (("0",), (300, 1, 2))
    assert made.times.tolist() == list(range(0, 300_000, 1000))
    same(made, streamrnn.backtest(VALUES[:, :1].tolist(), "1-2", times=range(0, 300_000, 1000), **SMALL), ("0",))


def test_its_forecasts_are_those_of_a_forecaster_which_goes_on_behind_the_last_row() -> None:
    made = streamrnn.backtest(VALUES[:200], [1, 24], times=TIMES[:200], **SMALL)
    f = streamrnn.Forecaster([1, 24], **SMALL)
    streams, times = ["0", "1"] * 300, np.repeat(TIMES, 2)
    expected = f.update_many(streams, times, VALUES.ravel())
    np.testing.assert_array_equal(made.mean.reshape(400, 2), expected.mean[:400])
    rest = made.forecaster.update_many(streams[400:], times[400:], VALUES[200:].ravel())
    np.testing.assert_array_equal(rest.mean, expected.mean[400:])


def test_a_wide_table_keeps_every_row() -> None:
    values = np.arange(9.0)[:, None] + np.zeros(3000)
    made = streamrnn.backtest(values, hidden=2)
    assert made.mean.shape == (9, 3000, 1)
    np.testing.assert_array_equal(made.mean[0, :, 0], values[0])


# Data frames.


def moments() -> list[datetime]:
    return [datetime(2024, 1, 1) + i * timedelta(hours=1) for i in range(len(VALUES))]


def test_wide_frames_of_every_kind_are_the_array_with_its_names(of_arrays: Any) -> None:
    columns: dict[str, Any] = dict(zip(NAMES, VALUES.T, strict=True))
    aware = [each.replace(tzinfo=UTC) for each in moments()]
    empty = {name: [None if x != x else x for x in column.tolist()] for name, column in columns.items()}
    for frame in (
        pl.DataFrame({"t": TIMES, **columns}),
        pl.DataFrame({"t": moments(), **empty}),
        pl.DataFrame({"t": aware, **empty}),
        pl.DataFrame({"t": [each.isoformat() for each in aware], **columns}),
        pd.DataFrame({"t": TIMES, **columns}),
        pd.DataFrame({"t": moments(), **columns}),
        pd.DataFrame({"t": pd.DatetimeIndex(aware).tz_convert("America/New_York"), **columns}),
        pd.DataFrame({"t": aware, **{name: pd.array(cells, "Float64") for name, cells in empty.items()}}),
        pd.DataFrame(columns, index=pd.DatetimeIndex(moments())),
        pd.DataFrame(columns, index=pd.DatetimeIndex(aware)),
    ):
        same(streamrnn.backtest(frame, [1, 24], **SMALL), of_arrays)


def test_the_column_of_times_is_named_or_given(of_arrays: Any) -> None:
    frame = pl.DataFrame({"north": VALUES[:, 0], "t": moments(), "south": VALUES[:, 1]})
    same(streamrnn.backtest(frame, [1, 24], time="t", **SMALL), of_arrays)
    same(streamrnn.backtest(frame.drop("t"), [1, 24], times=frame["t"], **SMALL), of_arrays)
    indexed = pd.DataFrame(frame.to_dict(as_series=False)).set_index("north")
    assert streamrnn.backtest(indexed, [1, 24], **SMALL).names == ("south",)


def test_a_column_by_itself_is_a_stream_too() -> None:
    expected = streamrnn.backtest(VALUES[:, 0], times=TIMES, **SMALL)
    same(streamrnn.backtest(pd.Series(VALUES[:, 0], pd.DatetimeIndex(moments())), **SMALL), expected, ("0",))
    same(streamrnn.backtest(pl.Series("a", VALUES[:, 0]), times=TIMES, **SMALL), expected, ("a",))


def test_days_are_times() -> None:
    frame = pl.DataFrame({"day": [date(2024, 1, 1), date(2024, 1, 2)], "a": [1, 2]})
    assert streamrnn.backtest(frame).times.tolist() == [START, START + 24 * HOUR]


def test_a_long_frame_is_laid_out_by_time_and_stream(of_arrays: Any) -> None:
    wide = pl.DataFrame({"t": moments(), "north": VALUES[:, 0], "south": VALUES[:, 1]})
    long = wide.unpivot(index="t", variable_name="station", value_name="load")
    long = long.filter(~pl.col("load").is_nan())  # what lacks is missing
    for frame in (
        long,
        long.with_columns(pl.col("station").cast(pl.Categorical)),
        pd.DataFrame(long.to_dict(as_series=False)),
    ):
        made = streamrnn.backtest(frame, [1, 24], stream="station", value="load", **SMALL)
        same(made, of_arrays)
    shuffled = long.sample(fraction=1.0, shuffle=True, seed=0).sort("station", maintain_order=True)
    same(streamrnn.backtest(shuffled, [1, 24], time="t", stream="station", value="load", **SMALL), of_arrays)


def test_its_columns_make_a_data_frame_with_a_row_for_each_cell(of_arrays: Any) -> None:
    made = pl.DataFrame(of_arrays.columns())
    assert made.columns == [
        *("time", "stream", "value", "mean_1", "lower_1", "upper_1", "mean_24", "lower_24", "upper_24"),
        *("surprise", "anomaly"),
    ]  # fmt: skip
    assert made.height == VALUES.size
    last = made.row(-1, named=True)
    assert (last["time"], last["stream"]) == (moments()[-1], "1")
    assert last["upper_24"] == of_arrays.upper[-1, 1, 1]
    assert last["surprise"] == of_arrays.surprise[-1, 1]
    both = streamrnn.backtest(VALUES, times=TIMES, multivariate=True, **SMALL)
    assert len(both.columns()["surprise"]) == VALUES.size


def test_it_reads_as_a_short_report(of_arrays: Any) -> None:
    first, one, day = repr(of_arrays).splitlines()
    assert first == "<backtest of 300 rows, 2 columns; errors in standard deviations of each column"
    assert one.startswith("  horizon 1, forecasts ")
    assert ", persistence_mse " in day


LONG = {"t": [0, 0, 1], "s": ["a", "b", "a"], "v": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("data", "arguments", "told"),
    [
        (np.array(["a"]), {}, r"data is an array of <U1 with shape \(1,\), expected numbers"),
        (np.array([True]), {}, "data is an array of bool"),
        (np.zeros((2, 2, 2)), {}, r"with shape \(2, 2, 2\), expected numbers"),
        ([], {}, r"with shape \(0,\), expected numbers"),
        ([1.0, np.inf], {}, r"row 1, column '0': inf is beyond ±1e\+150"),
        ([1.0, 2.0], {"times": [1]}, "argument times: has 1 entries, data has 2 rows"),
        ([1.0, 2.0], {"times": [1, "x"]}, 'row 1: "time" is "x", expected epoch ms or RFC 3339'),
        ([1.0], {"time": "t"}, "argument time: names a column of a data frame, and data is an array"),
        ([1.0], {"hiden": 4}, "argument hiden: is not a setting. Did you mean 'hidden'"),
        ([1.0], {"momentum": 4}, "argument momentum: is not a setting. There are horizons, features, "),
        ([1.0], {"features": 1}, "argument features: is told by data. Pass multivariate=True"),
        ([1.0], {"coverage": 2}, "argument coverage: forecast.coverage: 2 is not a number above 0 and below 1"),
        ({"a": [1.0]}, {}, "data is a dict, expected an array or a data frame"),
        (pl.LazyFrame(LONG), {}, r"data is a LazyFrame, expected .* collect\(\) a lazy one"),
        (pl.DataFrame(LONG), {}, "column 's' is String, expected numbers"),
        (pl.DataFrame(LONG), {"time": "x"}, "argument time: there is no column 'x'. There are t, s, v"),
        (pl.DataFrame(LONG), {"stream": "s"}, "arguments stream and value: .* Give both or none"),
        (pl.DataFrame(LONG), {"time": "t", "times": [1, 2, 3]}, "arguments times and time: both tell the times"),
        (pl.DataFrame(LONG), {"time": "v"}, "column 'v' is Float64, expected times: a datetime"),
        (pl.DataFrame(LONG), {"stream": "v", "value": "v"}, "column 'v' is Float64, expected text"),
        (pl.DataFrame(LONG).select("s", "v"), {"stream": "s", "value": "v"}, "data has no column of times"),
        (pl.DataFrame(LONG).select("t"), {}, "data has no column of values beside the times"),
        (pl.DataFrame({**LONG, "t": [0, 0, 0]}), {"stream": "s", "value": "v"}, "rows 0 and 2: stream 'a' twice"),
        (pl.DataFrame({**LONG, "t": [0, None, 0]}), {"stream": "s", "value": "v"}, "row 1: no time in column 't'"),
        (
            pl.DataFrame({**LONG, "s": ["a", "b", None]}),
            {"stream": "s", "value": "v"},
            "row 2: no name in column 's'",
        ),
        (pl.DataFrame({"t": [0], "a": [True]}), {}, "column 'a' is Boolean, expected numbers"),
        (pd.DataFrame({"t": [0], "a": [-np.inf]}), {}, "row 0, column 'a': -inf is beyond"),
        (
            pl.DataFrame({"t": range(60), "s": list(map(str, range(60))), "v": [1.0] * 60}),
            {"stream": "s", "value": "v"},
            "data has 60 rows at 60 different times of 60 streams: .*update_many",
        ),
    ],
)
def test_what_is_no_table_is_refused_in_clear_words(data: Any, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises((ConfigError, RecordError), match=told) as caught:
        streamrnn.backtest(data, **arguments)
    assert len(str(caught.value).splitlines()) == 1


def test_without_the_reader_of_frames_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "narwhals.stable.v2", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"data is a DataFrame\. .*pip install narwhals"):
        streamrnn.backtest(pl.DataFrame(LONG))
    assert streamrnn.backtest([1.0, 2.0], hidden=2).mean.shape == (2, 1, 1)
