"""The loops over bytes read what msgspec reads, and write the numbers that orjson writes."""

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.engine import digits
from streamrnn.engine.compiled import compiler, json_text
from streamrnn.engine.decoder import Decoder, RawColumns
from streamrnn.engine.encoder import Encoder
from streamrnn.engine.record_reader import InputFormat
from streamrnn.records import ForecastBatch, Scores, single_steps

BOTH_WAYS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.3f}"),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.6e}"),
    st.floats(-1e6, 1e6).map(lambda x: f"{x:.2E}"),
    st.integers(-(10**17), 10**17).map(str),
    st.sampled_from(["null", "0", "-0", "-0.0", "0.5", "1e5", "1E-7", "1e+22", "1e-22", "1e23", "123456789012345"]),
)
spaces = st.sampled_from(["", "", "", " ", "\n", "\t ", "\r\n"])


@st.composite
def messages(draw: st.DrawFn, features: int) -> bytes:
    """Mostly right ones, in any layout, and some that have lost or won a character."""
    listed = draw(st.booleans()) if features == 1 else True
    value = draw(numbers)
    if listed:
        value = "[" + ",".join(draw(spaces) + draw(numbers) + draw(spaces) for _ in range(features)) + "]"
    fields = [f'"{"values" if listed else "value"}"{draw(spaces)}:{draw(spaces)}{value}']
    if draw(st.booleans()):
        fields.insert(draw(st.integers(0, 1)), f'"time":{draw(st.integers(-(10**15), 10**15) | st.just("null"))}')
    text = draw(spaces) + "{" + ",".join(f"{draw(spaces)}{one}{draw(spaces)}" for one in fields) + "}" + draw(spaces)
    if not listed and draw(st.booleans()):
        text = draw(spaces) + value + draw(spaces)
    at = draw(st.integers(0, 3 * len(text)))
    if at < len(text):
        text = text[:at] + draw(st.sampled_from(["", "0", "-", ".", "e", "]", "}", '"', ",", " "])) + text[at + 1 :]
    return text.encode()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    available = compiler.AVAILABLE
    yield
    compiler.AVAILABLE = available


def read(values: list[bytes | None], features: int, *, loops: bool) -> Any:
    compiler.AVAILABLE = loops
    n = len(values)
    decoded = Decoder(InputFormat(features=features)).decode(
        RawColumns(range(n), range(1000, 1000 + n), [b"a"] * n, values)
    )
    batch = decoded.batch.check()
    columns = (batch.offsets, batch.timestamps, batch.first_step, batch.forget, batch.nested, batch.times, batch.left)
    values_read = np.where(np.isnan(batch.values), None, batch.values + 0.0).tolist()  # type: ignore[call-overload]
    return [column.tolist() for column in columns], values_read, [(i, str(error)) for i, error in decoded.errors]


@pytest.mark.parametrize("features", [1, 3])
@given(data=st.data())
@BOTH_WAYS
def test_loops_read_what_is_read_without_them(data: st.DataObject, features: int) -> None:
    values: list[bytes | None] = list(data.draw(st.lists(messages(features), min_size=1, max_size=4)))
    assert read(values, features, loops=True) == read(values, features, loops=False)


def understood(*values: bytes, features: int = 1) -> int:
    """How many messages the loops take."""
    ends = np.cumsum([len(value) for value in values])
    columns = np.empty((len(values), features)), np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    return json_text.read(np.frombuffer(b"".join(values), np.uint8), ends, *columns)


def test_loops_take_the_common_forms_and_leave_the_others_to_msgspec() -> None:
    common = [b"12.5", b'{"value":-1e-3}', b'{"value": 3, "time": 1767225600000}', b'{"time":5,"values":[null]}']
    assert understood(*common) == 4
    assert understood(b'{"values":[1,2.5,null]}', features=3) == 1
    for other in (b"1.", b"01", b"1 2", b'{"value":1,"unit":"bar"}', b'{"value":0.12345678901234567}', b'{"time":1}'):
        assert understood(common[0], other, common[1]) == 1, other


def told(keys: list[bytes], bounds: np.ndarray, scores: np.ndarray, *, nested: bool, loops: bool) -> list[Any]:
    """The lines of forecasts with these means and bounds (3, M, P, D), read back."""
    compiler.AVAILABLE = loops
    _, M, P, D = bounds.shape
    times = np.arange(M) - 10**12
    records = single_steps(keys, np.arange(M) * 10**8, times, np.zeros((M, D)), nested=nested)
    mean, lower, upper = bounds
    warm, model = np.arange(M) % 2 > 0, np.arange(M) * 77
    made = ForecastBatch(False, mean, lower, upper, times, scores[0], scores[1], warm, model, Scores.zero(P))
    return [json.loads(line or b"") for line in Encoder("t%b", 3, tuple(range(1, P + 1))).encode(records, made)]


@given(data=st.data(), M=st.integers(1, 4), P=st.integers(1, 2), D=st.integers(1, 2), seed=st.integers(0, 2**32 - 1))
@BOTH_WAYS
def test_loops_write_the_numbers_that_are_written_without_them(
    data: st.DataObject, M: int, P: int, D: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    size, width = (10.0 ** data.draw(st.integers(-12, low)) for low in (16, 8))
    low = size * random.normal(size=(M, P, D))
    mean, up = low + width * random.random((M, P, D)), width * random.random((M, P, D))
    bounds = np.stack([mean, low, mean + up * random.integers(0, 2, (M, P, D))])
    bounds[:, random.random((M, P, D)) < 0.1] = np.nan
    scores = 1 - 10.0 ** -random.uniform(0, 16, (2, M))
    scores[random.random((2, M)) < 0.2] = np.nan
    keys = [b"key-%d" % i for i in range(M)]
    nested = D > 1 or data.draw(st.booleans())
    with_loops, without = (told(keys, bounds, scores, nested=nested, loops=loops) for loops in (True, False))
    assert with_loops == without
    assert with_loops[0]["topic"] == "t%b"


@given(
    lower=st.floats(-1e12, 1e12),
    widths=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
)
@settings(deadline=None)
def test_a_forecast_is_rounded_to_a_millionth_of_its_interval_and_stays_in_it(
    lower: float, widths: tuple[float, float]
) -> None:
    mean = lower + widths[0]
    exact = np.array([[mean], [lower], [mean + widths[1]]])
    rounded = [each.numbers(values) for each, values in zip(digits.of_forecasts(*exact), exact, strict=True)]
    assert rounded[1] <= rounded[0] <= rounded[2]
    width = exact[2] - exact[1]
    for values, other in zip(exact, rounded, strict=True):
        assert abs(values - other) <= 1e-6 * width + 1e-14 * abs(values)


def test_numbers_have_the_digits_that_they_are_worth() -> None:
    mean, lower, upper = (np.array([x]) for x in (21.43107345678, 21.1, 21.77777777777))
    assert [each.numbers(mean).tolist() for each in digits.of_forecasts(mean, lower, upper)] == [
        [21.4310735],
        [21.1],
        [21.7777778],
    ]
    scores = np.array([0.5, 0.99851234, 1 - 1.2345e-9, 1 - 1e-15, math.nan])
    np.testing.assert_array_equal(
        digits.of_scores(scores).numbers(scores),
        [0.5, 0.998512, 0.999999998766, 0.999999999999999, math.nan],
    )
