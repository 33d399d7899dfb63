"""CSV files are read as the contract has them, or refused with the line and column in the message."""

import csv
import gzip
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.data import WEATHER
from streamrnn.errors import FatalError
from streamrnn.transport.csv_table import CsvTable, read_csv


def table(folder: Path, text: str | bytes, time_format: str | None = None) -> CsvTable:
    path = folder / "data.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(path, time_format)


def expect_error(folder: Path, text: str | bytes, *words: str, time_format: str | None = None) -> None:
    with pytest.raises(FatalError) as error:
        table(folder, text, time_format)
    assert str(folder / "data.csv") in str(error.value)
    for word in words:
        assert word in str(error.value), error.value


def milliseconds(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 1000  # type: ignore[misc, arg-type]


def test_columns_behind_the_time_become_streams_and_empty_cells_are_missing(tmp_path: Path) -> None:
    read = table(tmp_path, "time,a, b c \n2024-01-01 00:00,1,\n2024-01-01 01:00, -2.5e3 ,nan\n")
    assert read.names == ("a", "b c")
    assert read.times.tolist() == [milliseconds(2024, 1, 1), milliseconds(2024, 1, 1, 1)]
    assert read.times.dtype == np.int64
    np.testing.assert_array_equal(read.values, [[1, math.nan], [-2500, math.nan]])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-02-29 13:05", milliseconds(2024, 2, 29, 13, 5)),
        ("2024-02-29 13:05:59", milliseconds(2024, 2, 29, 13, 5, 59)),
        ("2024-02-29", milliseconds(2024, 2, 29)),
        ("2024-02-29T13:05:59Z", milliseconds(2024, 2, 29, 13, 5, 59)),
        ("2024-02-29T13:05:59.250+02:00", milliseconds(2024, 2, 29, 11, 5, 59) + 250),
        ("2024/2/9 7:05", milliseconds(2024, 2, 9, 7, 5)),
        ("1990/1/1 0:00", milliseconds(1990, 1, 1)),
        ("2/9/2024 7:05", milliseconds(2024, 2, 9, 7, 5)),
        ("12/31/2024 23:59:58", milliseconds(2024, 12, 31, 23, 59, 58)),
        ("1700000000", 1_700_000_000_000),
        ("1700000000.25", 1_700_000_000_250),
        ("1700000000000", 1_700_000_000_000),
        ("1700000000000000", 1_700_000_000_000),
        ("1700000000000000000", 1_700_000_000_000),
        ("0", 0),
        ("-3600", -3_600_000),
        ("1969-12-31 23:00", -3_600_000),
    ],
)
def test_the_time_is_read_in_every_format_of_the_contract_as_utc(tmp_path: Path, cell: str, expected: int) -> None:
    assert table(tmp_path, f"time,a\n{cell},1\n").times.tolist() == [expected]


def test_any_other_time_format_is_given(tmp_path: Path) -> None:
    text = "time,a\n31.12.2024 23h,1\n"
    assert table(tmp_path, text, "%d.%m.%Y %Hh").times.tolist() == [milliseconds(2024, 12, 31, 23)]
    assert table(tmp_path, "t,a\n2/9/2024,1\n", "%d/%m/%Y").times.tolist() == [milliseconds(2024, 9, 2)]
    expect_error(tmp_path, text, ":2:", "'time'", "'31.12.2024 23h'", "--time-format")
    expect_error(tmp_path, text + "1.1.2025,1\n", ":3:", "'1.1.2025'", "%d.%m.%Y %Hh", time_format="%d.%m.%Y %Hh")


def test_a_time_that_does_not_fit_the_first_rows_format_is_named(tmp_path: Path) -> None:
    expect_error(
        tmp_path, "when,a\n1/12/2024 0:00,1\n1/13/2024 0:00,1\n13/1/2024 0:00,1\n", ":4:", "'when'", "'13/1/2"
    )
    expect_error(tmp_path, "when,a\n2024-01-01,1\n\n,1\n", ":4:", "'when'", "''")
    expect_error(tmp_path, "when,a\n2024-01-01,1\n2024-02-30,1\n", ":3:", "'2024-02-30'")
    expect_error(tmp_path, "when,a\n2024-02-30,1\n", ":2:", "'2024-02-30'", "--time-format")
    expect_error(tmp_path, "when,a\n1700000000,1\ninf,1\n", ":3:", "'inf'")


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    zipped = gzip.compress(b"time,a\n2024-01-01,7\n")
    assert table(tmp_path, zipped).values.tolist() == [[7]]
    expect_error(tmp_path, zipped[:-9], "damaged gzip")
    expect_error(tmp_path, zipped[:15] + b"\xff\xff" + zipped[17:], "damaged gzip")


def test_names_may_be_utf_8_with_a_byte_order_mark_or_latin_1(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-8-sig", "latin-1"):
        read = table(tmp_path, "date,größe (µm),b\n2024-01-01,1,2\n".encode(encoding))
        assert read.names == ("größe (µm)", "b")


def test_cells_may_be_quoted_and_lines_end_in_any_way(tmp_path: Path) -> None:
    read = table(tmp_path, 'time,"a,b","c\nd"\r\n"2024-01-01","1",2\r\n\r\n2024-01-02,3,"4"')
    assert read.names == ("a,b", "c\nd")
    assert read.values.tolist() == [[1, 2], [3, 4]]


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    read = table(tmp_path, "time,a,b\n")
    assert (read.names, read.times.shape, read.values.shape) == (("a", "b"), (0,), (0, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is empty",)),
        ("time\n2024-01-01\n", (":1:", "one column, 'time'", "comma")),
        ("time;a\n2024-01-01;1\n", (":1:", "one column, 'time;a'", "comma")),
        ("time,a,b,a\n", (":1:", "columns 2 and 4", "'a'")),
        ("time,a,\n", (":1:", "column 3 has no name")),
        ("2024-01-01,1\n2024-01-02,2\n", (":1:", "begins with the time '2024-01-01'", "header")),
        ("time,a,b\n2024-01-01,1,2\n2024-01-02,1\n", (":3:", "found 2 cells, expected 3 as in the header")),
        ("time,a\n2024-01-01,1\n\n2024-01-02,1,2\n", (":4:", "3 cells", "expected 2")),
        ('time,"a\nb"\n2024-01-01,1\n2024-01-02,x\n', (":4:", "'x'")),
        ("time,a,b\n2024-01-01,1,2\n2024-01-02,,n/a\n", (":3:", "column 'b'", "'n/a'", "a number or an empty cell")),
        ("time,a\n2024-01-01,1_000\n", (":2:", "column 'a'", "'1_000'", "a number")),
        ("time,a\n2024-01-01,1e309\n", (":2:", "column 'a'", "'1e309'", "a finite number")),
        ("time,a\n2024-01-01,-inf\n", (":2:", "'-inf'", "a finite number")),
        ("time,a\n2024-01-01," + '"1\n' + "2024-01-02,1\n" * 20_000, ("quote",)),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    expect_error(tmp_path, text, *words)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    expect_error(tmp_path, "time,a\n2024-01-01,1\n".encode("utf-16"), "not a text file in UTF-8")
    with pytest.raises(FatalError, match=r"missing\.csv: No such file"):
        read_csv(tmp_path / "missing.csv")


def test_an_error_far_into_the_file_has_its_own_line(tmp_path: Path) -> None:
    rows = "".join(f"{1_700_000_000 + n},{n}\n" for n in range(40_000))
    expect_error(tmp_path, "time,a\n" + rows + "1700040000,oops\n", ":40002:", "'oops'")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(10**15), 10**15),
        ),
        max_size=20,
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[datetime, float | None, int | None]]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("time", "a", "b"), *rows])
    read = read_csv(path)
    expected = [[math.nan if cell is None else float(cell) for cell in row[1:]] for row in rows]
    np.testing.assert_array_equal(read.values, np.array(expected).reshape(-1, 2))
    assert read.times.tolist() == [int(np.datetime64(row[0], "ms").astype(int)) for row in rows]


def test_the_demos_weather_is_a_whole_grid_of_hours_for_fifteen_streams() -> None:
    read = read_csv(str(WEATHER))
    assert read.values.shape == (8730, 15)
    assert read.names[:6] == ("EWR.temp", "EWR.dewp", "EWR.humid", "EWR.wind_speed", "EWR.pressure", "JFK.temp")
    assert set(np.diff(read.times)) == {3_600_000}
    assert read.times[0] == milliseconds(2013, 1, 1, 6)
    assert np.isnan(read.values).sum(axis=0).tolist() == [28] * 4 + [962] + [24] * 3 + [27, 855] + [24] * 4 + [987]
