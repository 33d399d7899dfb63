"""Whatever comes in leads to a forecast or to a dead letter with a reason, and harms no other stream.

The table in docs/bad-input.md is what `python -m tests.service.test_bad_input` prints.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import single_steps
from streamrnn.service.demo import weather
from streamrnn.service.processor import Processor
from streamrnn.transport.contract import PartitionId, RawBatch

DOCUMENT = Path(__file__).parents[2] / "docs" / "bad-input.md"
AMPLE = 1 << 20
NOW = 1_700_000_000_000


@dataclass(frozen=True)
class Case:
    """One record as it comes, between two good ones of another stream."""

    comes: str
    value: bytes | None
    key: bytes | None = b"pump-7"
    shown: str | None = None  # for a value too long to show
    features: int = 1
    every_step: bool = False
    max_output_bytes: int = AMPLE


CASES = (
    Case("not JSON", b'{"value": 12.5'),
    Case("neither of the two fields", b'{"reading": 12.5}'),
    Case("both of them", b'{"value": 12.5, "values": [12.5]}'),
    Case("a list where a number should be", b"[12.5]"),
    Case("JSON nested 5,000 deep", b"[" * 5000, shown="[[[[..."),
    Case("a string for a number", b'{"value": "12.5"}'),
    Case("a boolean for a number", b'{"value": true}'),
    Case("a missing number", b'{"value": null}'),
    Case("NaN, which JSON does not have", b'{"value": NaN}'),
    Case("Infinity", b'{"value": -Infinity}'),
    Case("a number that overflows", b'{"value": 1e999}'),
    Case("a number whose square overflows", b'{"value": 1e308}'),
    Case("a number that is nearly none", b'{"value": 5e-324}'),
    Case("two numbers for one feature", b'{"values": [12.5, 3.1]}'),
    Case("one number for two features", b"12.5", features=2),
    Case("a sequence whose steps differ in width", b'{"values": [[1, 2], [3]]}', features=2),
    Case(
        "a sequence longer than input.max_steps",
        b'{"values": %s}' % json.dumps([[1.0]] * 5000).encode(),
        shown='{"values": [[1.0], ...]}',
    ),
    Case("a value longer than input.max_bytes", b"1" * (10 << 20), shown="111111..."),
    Case("no key", b"12.5", key=None),
    Case("no key, but the stream's name", b'{"value": 12.5, "stream": "pump-7"}', key=None),
    Case("an empty key", b"12.5", key=b""),
    Case("a key of 300 bytes", b"12.5", key=b"k" * 300),
    Case("a key that is not UTF-8", b"12.5", key=b"pump-\xff"),
    Case("a time that is none", b'{"value": 12.5, "time": "yesterday"}'),
    Case("a time before the one before", b'{"value": 12.5, "time": 0}'),
    Case("the first moment of year 1", b'{"value": 12.5, "time": "0001-01-01T00:00:00Z"}'),
    Case("the last of year 9999", b'{"value": 12.5, "time": "9999-12-31T23:59:59Z"}'),
    Case("a time after that", b'{"value": 12.5, "time": 253402300800000}'),
    Case("other fields beside", b'{"value": 12.5, "unit": "bar", "tags": [[]]}'),
    Case("a tombstone of a stream nobody knows", None),
    Case("a tombstone without a key", None, key=None),
    Case(
        "a forecast larger than the output topic takes",
        b'{"values": %s}' % json.dumps([[1.0]] * 100).encode(),
        shown='{"values": [[1.0], ...]}',
        every_step=True,
        max_output_bytes=2000,
    ),
)


def processor(case: Case) -> Processor:
    settings = ForecastSettings(hidden=4, window=8, features=case.features)
    return Processor(PartitionId("sensors", 3), settings, InputFormat(case.features), every_step=case.every_step)


def raw(keys: list[bytes | None], values: list[bytes | None]) -> RawBatch:
    n = len(keys)
    return RawBatch(list(range(n)), [NOW + 1000 * i for i in range(n)], keys, values, [()] * n, n)


def good(case: Case, number: int) -> bytes:
    return json.dumps({"values": [float(number)] * case.features}).encode()


def outcome(case: Case) -> tuple[str, list[Any]]:
    """What became of the record, and the forecasts of the good stream around it."""
    keys, values = [b"good", b"good", case.key, b"good"], [good(case, 1), good(case, 3), case.value, good(case, 2)]
    made = processor(case).process(raw(keys, values), case.max_output_bytes)
    told = [json.loads(value) if value else None for value in made.outputs.values]
    calm = [each["mean"] for each in told if each and each["offset"] != 2]
    if made.dead_letters:
        (letter,) = made.dead_letters
        assert letter.offset == 2 and (letter.key, letter.value) == (case.key, case.value)
        return f"dead letter ({letter.stage}): {letter.message}", calm
    if None in told:
        return "the stream is forgotten, the tombstone passed on", calm
    (mean,) = (each["mean"][0] for each in told if each and each["offset"] == 2)
    return "a forecast, null until the stream's first number" if mean is None else "a forecast", calm


def table() -> list[str]:
    """The document's table."""
    lines = ["| what comes in | value | what happens |", "|---|---|---|"]
    for case in CASES:
        value = "null" if case.value is None else case.shown or case.value.decode()
        what = f", `input.features: {case.features}`" if case.features > 1 else ""
        lines.append(f"| {case.comes}{what} | `{value}` | {outcome(case)[0]} |")
    return lines


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.comes)
def test_a_bad_record_has_one_outcome_and_leaves_its_neighbours_alone(case: Case) -> None:
    without = processor(case).process(raw([b"good"] * 3, [good(case, i) for i in (1, 3, 2)]), case.max_output_bytes)
    assert outcome(case)[1] == [json.loads(value or b"")["mean"] for value in without.outputs.values]


def test_the_document_says_what_happens() -> None:
    assert "\n".join(table()) in DOCUMENT.read_text(encoding="utf-8")


T = 1000


def poison(random: np.random.Generator) -> np.ndarray:
    """Streams (T, 9) of which each is a nuisance of its own kind."""
    n = np.arange(T)
    return np.stack(
        [
            np.full(T, 7.0),
            np.zeros(T),
            np.full(T, -9999.0),
            np.where(n % 2, 1e12, -1e12),
            np.full(T, np.nan),
            1e6 * random.standard_cauchy(T),
            np.where(random.random(T) < 0.01, 1e149, 1.0),
            1e-310 * random.normal(size=T),
            random.normal(size=T) * 10.0 ** random.integers(-100, 100, T),
        ],
        axis=1,
    )


@pytest.mark.parametrize("learning", [False, True])
def test_nine_poisoned_streams_do_not_harm_ten_clean_ones(learning: bool) -> None:
    year, random = weather(), np.random.default_rng(0)
    clean, times = year.values[:T, :10], year.times[:T]
    bad = poison(random)
    bad_times = np.repeat(times[:, None], bad.shape[1], axis=1)
    bad_times[:, 3] = times[::-1]  # ever earlier
    bad_times[:, 5] = random.permutation(times)
    bad_times[:, 6] = times[0]  # always the same
    made = []
    for values, at in (
        (clean, np.repeat(times[:, None], 10, axis=1)),
        (np.concatenate([clean, bad], 1), np.concatenate([np.repeat(times[:, None], 10, axis=1), bad_times], 1)),
    ):
        keys = [b"%d" % d for d in range(values.shape[1])] * T
        batch = single_steps(keys, np.arange(values.size), at.ravel(), values.reshape(-1, 1), nested=False)
        means = Forecaster(ForecastSettings(learning=learning)).forecast(batch).mean[:, 0, 0]
        made.append(means.reshape(values.shape))
    alone, together = made[0], made[1][:, :10]
    told = made[1][20:, [10, 11, 12, 13, 15, 16, 17, 18]]
    assert np.isfinite(told).all()
    scale = np.sqrt(np.nanmean(np.diff(clean, axis=0) ** 2, axis=0))
    if not learning:
        assert np.nanmax(np.abs(alone - together) / scale) <= 1e-4
        return
    before, after = (np.nanmean(((means[200:-1] - clean[201:]) / scale) ** 2) for means in (alone, together))
    assert after <= 1.01 * before


if __name__ == "__main__":
    print("\n".join(table()))
