"""From arrays and data frames to the table of a backtest: a row for each time, a column for each stream."""

from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.errors import ConfigError, RecordError
from streamrnn.library_records import moments, plain_numbers
from streamrnn.records import LARGEST
from streamrnn.transport.csv_table import CsvTable

if TYPE_CHECKING:
    import narwhals.stable.v2 as nw

HOW_TO_READ_FRAMES = "data is a {}. Give an array, or install what reads data frames: pip install narwhals"
SECOND = 1000  # ms between rows that have no times
SPARSE = 10  # a long frame's table may have so many times as many cells as the frame has rows


def table_of(data: Any, *, times: Any, time: str | None, stream: str | None, value: str | None) -> CsvTable:
    """The table that these arguments of `backtest` describe. Raises ConfigError, RecordError."""
    if isinstance(data, np.ndarray | list | tuple):
        for name, given in (("time", time), ("stream", stream), ("value", value)):
            if given is not None:
                raise ConfigError(f"argument {name}: names a column of a data frame, and data is an array")
        return _of_array(data, times)
    frame, index = _frame(data)
    if (stream is None) != (value is None):
        raise ConfigError("arguments stream and value: name two columns of a long data frame. Give both or none")
    names = list(frame.columns)
    for argument, given in (("time", time), ("stream", stream), ("value", value)):
        if given is not None and given not in names:
            raise ConfigError(f"argument {argument}: there is no column {given!r}. There are {', '.join(names)}")
    if times is not None and time is not None:
        raise ConfigError("arguments times and time: both tell the times. Give one of them")
    if times is None and time is None and index is not None:
        times = _times(index)
    if times is None:
        time = time or next((name for name in names if name not in (stream, value)), None)
        if time is None:
            raise ConfigError("data has no column of times. Give them as times=")
        times = _times(frame[time])
        names.remove(time)
    stamps = _moments(times, len(frame))
    if stream is not None and value is not None:
        return _of_long(stamps, _names(frame[stream]), _numbers(frame[value]))
    if not names:
        raise ConfigError("data has no column of values beside the times")
    columns = [_numbers(frame[name]) for name in names]
    return CsvTable(tuple(names), stamps, np.stack(columns, axis=1))


def _of_array(data: Any, times: Any) -> CsvTable:
    values = plain_numbers(np.asarray(data))
    if values is None or values.ndim not in (1, 2) or not values.shape[-1] or not len(values):
        found = np.asarray(data)
        raise ConfigError(
            f"data is an array of {found.dtype} with shape {found.shape}, expected numbers (rows,) or (rows, columns)"
        )
    values = values.reshape(len(values), -1)
    names = tuple(map(str, range(values.shape[1])))
    for name, column in zip(names, values.T, strict=True):
        _check_size(name, column)
    stamps = np.arange(len(values)) * SECOND if times is None else _moments(times, len(values))
    return CsvTable(names, stamps, values)


def _frame(data: Any) -> tuple["nw.DataFrame[Any]", "nw.Series[Any] | None"]:
    """The data frame, and as a column pandas' index where that holds times."""
    try:
        import narwhals.stable.v2 as nw
    except ImportError:
        raise ConfigError(HOW_TO_READ_FRAMES.format(type(data).__name__)) from None
    try:
        found = nw.from_native(data, eager_only=True, allow_series=True)
    except TypeError:
        told = "an array or a data frame of pandas, polars or pyarrow; collect() a lazy one"
        raise ConfigError(f"data is a {type(data).__name__}, expected {told}") from None
    labels = nw.maybe_get_index(found)
    index = None if labels is None else nw.from_native(labels.to_series(), series_only=True)
    if isinstance(found, nw.Series):
        found = found.alias(found.name or "0").to_frame()
    return found, index if index is not None and index.dtype == nw.Datetime else None


def _of_long(stamps: np.ndarray, streams: list[str], values: np.ndarray) -> CsvTable:
    """A long frame's rows laid out: rows by time, columns in the order in which streams appear."""
    names = list(dict.fromkeys(streams))
    number = {name: i for i, name in enumerate(names)}
    times, rows = np.unique(stamps, return_inverse=True)
    T, C = len(times), len(names)
    if len(stamps) * SPARSE < T * C:
        raise ConfigError(
            f"data has {len(stamps):,} rows at {T:,} different times of {C:,} streams: a table of them is nearly "
            "empty. Round the times, or feed the rows to a Forecaster with update_many"
        )
    cells = rows * C + np.fromiter(map(number.__getitem__, streams), np.int64, len(streams))
    order = np.argsort(cells, kind="stable")
    twice = np.flatnonzero(np.diff(cells[order]) == 0)
    if twice.size:
        first, second = order[twice[0]], order[twice[0] + 1]
        raise RecordError("validate", f"rows {first} and {second}: stream {streams[first]!r} twice at the same time")
    table = np.full(T * C, np.nan)
    table[cells] = values
    return CsvTable(tuple(names), times, table.reshape(T, C))


def _moments(times: Any, rows: int) -> np.ndarray:
    stamps = moments(times)
    if len(stamps) != rows:
        raise ConfigError(f"argument times: has {len(stamps)} entries, data has {rows} rows")
    return stamps


def _times(column: "nw.Series[Any]") -> Any:
    """A frame's column of times, as an array of epoch ms or a list."""
    import narwhals.stable.v2 as nw

    kind = column.dtype
    if kind.is_float() or kind == nw.Boolean:
        told = "a datetime, epoch milliseconds or RFC 3339 text. Name another with time=, or give them as times="
        raise ConfigError(f"column {column.name!r} is {kind}, expected times: {told}")
    if column.null_count():
        row = int(column.is_null().to_numpy().argmax())
        raise RecordError("validate", f"row {row}: no time in column {column.name!r}")
    if kind == nw.Datetime or kind == nw.Date:
        return column.dt.timestamp("ms").to_numpy()
    return column.to_numpy() if kind.is_integer() else column.to_list()


def _names(column: "nw.Series[Any]") -> list[str]:
    """A frame's column of stream names."""
    import narwhals.stable.v2 as nw

    if column.dtype not in (nw.String, nw.Categorical, nw.Enum):
        raise ConfigError(f"column {column.name!r} is {column.dtype}, expected text: the streams' names")
    if column.null_count():
        row = int(column.is_null().to_numpy().argmax())
        raise RecordError("validate", f"row {row}: no name in column {column.name!r}")
    return column.cast(nw.String).to_list()


def _numbers(column: "nw.Series[Any]") -> np.ndarray:
    """A frame's column of values, NaN where there is none."""
    import narwhals.stable.v2 as nw

    if not column.dtype.is_numeric():
        raise ConfigError(f"column {column.name!r} is {column.dtype}, expected numbers")
    values = column.cast(nw.Float64).to_numpy().astype(np.float64)
    _check_size(column.name, values)
    return values


def _check_size(name: str, values: np.ndarray) -> None:
    large = np.flatnonzero(np.abs(values) > LARGEST)
    if large.size:
        row = int(large[0])
        told = f"{values[row]} is beyond ±{LARGEST:g}, the largest number that is forecast"
        raise RecordError("validate", f"row {row}, column {name!r}: {told}")
