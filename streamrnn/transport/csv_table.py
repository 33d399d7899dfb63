"""CSV files as columns: the first column the time, every other one a stream of one feature."""

import csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from itertools import islice
from math import floor, isfinite
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from streamrnn.errors import FatalError

CHUNK = 16_384  # rows that are text at the same time
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?")
YEAR_LAST = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}))?)?")
ISO = re.compile(r"\d{4}-\d{2}-\d{2}.*")
# An epoch is told from its size: until the year 5138 in seconds, and likewise in milli-, micro- and nanoseconds.
EPOCH_UNITS = ((1e11, 1e3), (1e14, 1.0), (1e17, 1e-3), (float("inf"), 1e-6))

ParseTime = Callable[[str], int]


class Rows(Protocol):
    """What `csv.reader` returns."""

    @property
    def line_num(self) -> int:
        """Lines read so far."""

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A CSV's data rows as columns. A missing cell is NaN."""

    names: tuple[str, ...]  # of the columns behind the time
    times: NDArray[np.int64]  # (rows,) epoch milliseconds, UTC
    values: NDArray[np.float64]  # (rows, columns)


def read_csv(path: Path | str, time_format: str | None = None) -> CsvTable:
    """Read a CSV, plain or gzipped, in UTF-8 (a header in another encoding is read as Latin-1).

    The time is in the format of the first row's: RFC 3339, `YYYY-MM-DD HH:MM[:SS]`, `YYYY/M/D H:MM`,
    `M/D/YYYY H:MM` or an epoch; else `time_format`, as strptime has it. A time without an offset is UTC.
    Raises FatalError, naming line, column, what was found and what was expected, for anything it cannot read.
    """
    path = Path(path)
    with _rows(path) as rows:
        header = next(rows, None)
        if header is None:
            raise FatalError(
                f"{path}: is empty. Its first line should be a header: the time's name, then the streams'."
            )
        names = _names(path, header)
        parse_time = None if time_format is None else _strptime(time_format)
        times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        values: list[NDArray[np.float64]] = [np.empty((0, len(names)))]
        done = 0
        filled = (row for row in rows if row)  # a blank line is no row
        while chunk := list(islice(filled, CHUNK)):
            widths = list(map(len, chunk))
            for width in {*widths} - {len(names) + 1}:
                ragged = done + widths.index(width)
                _refuse(path, ragged, None, f"{width} cell{'s' * (width > 1)}", f"{len(names) + 1} as in the header")
            columns: Sequence[tuple[str, ...]] = list(zip(*chunk, strict=True))
            if parse_time is None:
                parse_time = _time_format(path, header[0], columns[0][0])
            times.append(_times(path, header[0], columns[0], parse_time, time_format, done))
            block = np.empty((len(chunk), len(names)))
            for j, name in enumerate(names):
                block[:, j] = _numbers(path, name, columns[j + 1], done)
            values.append(block)
            done += len(chunk)
    return CsvTable(names, np.concatenate(times), np.concatenate(values))


@contextmanager
def _rows(path: Path) -> Iterator[Rows]:
    """The rows as lists of cells; failures to read become errors that name the file."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            data = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if zipped else raw
            with TextIOWrapper(data, "utf-8-sig", "surrogateescape", newline="") as text:
                yield csv.reader(text)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FatalError(f"{path}: is a damaged gzip file ({error}).") from error
    except OSError as error:
        raise FatalError(f"{path}: {error.strerror}.") from error
    except csv.Error as error:
        raise FatalError(
            f"{path}: is no CSV that can be read ({error}). Look for a quote that is never closed."
        ) from error


def _names(path: Path, header: list[str]) -> tuple[str, ...]:
    names = tuple(_readable(name).strip() for name in header[1:])
    if any("\0" in name for name in header):
        raise FatalError(f"{path}: is not a text file in UTF-8.")
    if not names:
        raise FatalError(
            f"{path}:1: has one column, {_readable(header[0])!r}. A comma and at least one column of values were"
            " expected behind the time."
        )
    if "" in names:
        raise FatalError(f"{path}:1: column {names.index('') + 2} has no name, and a stream needs one.")
    columns: dict[str, int] = {}
    for column, name in enumerate(names, 2):
        if name in columns:
            raise FatalError(f"{path}:1: columns {columns[name]} and {column} are both named {name!r}. Rename one.")
        columns[name] = column
    if any(pattern.fullmatch(header[0].strip()) for pattern in (ISO, YEAR_FIRST, YEAR_LAST)):
        raise FatalError(f"{path}:1: begins with the time {header[0]!r}, a header line with names was expected.")
    return names


def _readable(name: str) -> str:
    """Bytes that were not UTF-8 (as escaped by the decoder) read as Latin-1."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


def _numbers(path: Path, name: str, cells: Sequence[str], done: int) -> NDArray[np.float64]:
    """A column's chunk; empty cells are NaN."""
    try:
        numbers = np.fromiter(map(float, cells), np.float64, len(cells))
    except ValueError:
        numbers = np.empty(len(cells))
        for at, cell in enumerate(cells):
            try:
                numbers[at] = float(cell) if cell and not cell.isspace() else np.nan
            except ValueError:
                _refuse(path, done + at, name, repr(_readable(cell)), "a number or an empty cell")
    for infinite in np.flatnonzero(np.isinf(numbers)).tolist():
        _refuse(path, done + infinite, name, repr(cells[infinite]), "a finite number")
    if "_" in "".join(cells):  # float("1_0") is 10
        at = next(at for at, cell in enumerate(cells) if "_" in cell)
        _refuse(path, done + at, name, repr(cells[at]), "a number or an empty cell")
    return numbers


def _times(
    path: Path, name: str, cells: Sequence[str], parse: ParseTime, time_format: str | None, done: int
) -> NDArray[np.int64]:
    try:
        return np.fromiter(map(parse, cells), np.int64, len(cells))
    except (ValueError, OverflowError):
        for at, cell in enumerate(cells):
            try:
                parse(cell)
            except (ValueError, OverflowError):
                expected = time_format if time_format is not None else "a time in the format of the first row"
                hint = (
                    "" if time_format is not None else " (or give the format with --time-format, such as '%d.%m.%Y')"
                )
                _refuse(path, done + at, name, repr(_readable(cell)), f"{expected}{hint}")
        raise


def _time_format(path: Path, name: str, cell: str) -> ParseTime:
    """The parser for times like this one."""
    cell = cell.strip()
    for pattern, parse in ((ISO, _iso), (YEAR_FIRST, _year_first), (YEAR_LAST, _year_last)):
        if pattern.fullmatch(cell):
            with suppress(ValueError):
                parse(cell)
                return parse
    try:
        size = abs(float(cell))
    except ValueError:
        size = np.nan
    if not isfinite(size) or "_" in cell:
        _refuse(
            path,
            0,
            name,
            repr(_readable(cell)),
            "a time as RFC 3339, YYYY-MM-DD HH:MM[:SS], YYYY/M/D H:MM, M/D/YYYY H:MM or an epoch; another format"
            " is given with --time-format, such as '%d.%m.%Y %H:%M'",
        )
    scale = next(scale for limit, scale in EPOCH_UNITS if size < limit)
    return lambda cell: floor(float(cell) * scale)


def _iso(cell: str) -> int:
    time = datetime.fromisoformat(cell.strip())
    return _milliseconds(time)


def _year_first(cell: str) -> int:
    return _from_parts(YEAR_FIRST, cell, (0, 1, 2))


def _year_last(cell: str) -> int:
    return _from_parts(YEAR_LAST, cell, (2, 0, 1))


def _from_parts(pattern: re.Pattern[str], cell: str, order: tuple[int, int, int]) -> int:
    match = pattern.fullmatch(cell.strip())
    if match is None:
        raise ValueError(cell)
    parts = [int(part or 0) for part in match.groups()]
    year, month, day = (parts[i] for i in order)
    return _milliseconds(datetime(year, month, day, parts[3], parts[4], parts[5]))


def _strptime(time_format: str) -> ParseTime:
    return lambda cell: _milliseconds(datetime.strptime(cell.strip(), time_format))


def _milliseconds(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - EPOCH) // MILLISECOND


def _refuse(path: Path, row: int, column: str | None, found: str, expected: str) -> NoReturn:
    """Name the line of a data row, counted from 0: only now is it worth looking for."""
    line = _line(path, row)
    where = f"{path}:{line}: " if column is None else f"{path}:{line}: column {_readable(column)!r}: "
    raise FatalError(f"{where}found {found}, expected {expected}.")


def _line(path: Path, row: int) -> int:
    """The number of the line on which a data row begins, counted from 1."""
    with _rows(path) as rows:
        next(rows, None)
        begins = rows.line_num + 1
        for cells in rows:
            if cells and row == 0:
                break
            row -= bool(cells)
            begins = rows.line_num + 1
    return begins
