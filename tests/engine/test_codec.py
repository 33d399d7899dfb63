"""Messages in, messages out: every form of the contract, and every reason to refuse one."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.engine.decoder import Decoded, Decoder, RawColumns
from streamrnn.engine.encoder import Encoder, published_before
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings

KEY = b"pump-7"


def decode(*values: bytes | None, key: bytes | None = KEY, **form: Any) -> Decoded:
    n = len(values)
    raw = RawColumns(list(range(100, 100 + n)), [1000 + i for i in range(n)], [key] * n, list(values))
    return Decoder(InputFormat(**form)).decode(raw)


GOOD = [
    (b"12.5", 1, [[12.5]]),
    (b"12", 1, [[12.0]]),
    (b"null", 1, [[math.nan]]),
    (b"NaN", 1, [[math.nan]]),
    (b'{"value": 12.5}', 1, [[12.5]]),
    (b'{"value": null, "unit": "bar"}', 1, [[math.nan]]),
    (b'{"value": NaN}', 1, [[math.nan]]),
    (b'{"value": -0.0}', 1, [[0.0]]),
    (b'{"values": [12.5]}', 1, [[12.5]]),
    (b'{"values": [[12.5], [12.7]]}', 1, [[12.5], [12.7]]),
    (b'{"values": [12.5, 3.1]}', 2, [[12.5, 3.1]]),
    (b'{"values": [null, 3.1]}', 2, [[math.nan, 3.1]]),
    (b'{"values": [[12.5, 3.1], [12.7, NaN]]}', 2, [[12.5, 3.1], [12.7, math.nan]]),
]


@pytest.mark.parametrize(("message", "features", "expected"), GOOD)
@pytest.mark.parametrize("company", [[], [b'{"value": 1}', b'{"values": [1, 2]}', b"spoilt"]])
def test_every_form_of_the_contract_is_read(
    message: bytes, features: int, expected: list[list[float]], company: list[bytes]
) -> None:
    decoded = decode(message, *company, features=features)
    batch = decoded.batch.check()
    np.testing.assert_array_equal(batch.values[: batch.first_step[1]], expected)
    assert batch.keys[0] == KEY
    assert batch.offsets[0] == 100
    assert batch.nested[0] == (b"values" in message)


BAD = [
    (b"spoilt", "decode", "not JSON"),
    (b"", "decode", "not JSON"),
    (b"\xff\xfe", "decode", "not JSON"),
    (b'{"value": 1.5}x', "decode", "not JSON"),
    (b"[" * 100_000, "decode", "nested too deeply"),
    (b'"12.5"', "validate", '"12.5" stands where a number was expected'),
    (b"true", "validate", "true stands where"),
    (b"[1, 2]", "validate", "a list stands where a number was expected"),
    (b"{}", "validate", 'neither "value" nor "values"'),
    (b'{"value": "12.5"}', "validate", '"12.5" stands where a number was expected'),
    (b'{"value": true}', "validate", "true stands where a number was expected"),
    (b'{"value": {"x": 1}}', "validate", "stands where a number was expected"),
    (b'{"value": [1]}', "validate", "a list stands where a number was expected"),
    (b'{"value": Infinity}', "validate", "Infinity is beyond"),
    (b'{"value": -1e400}', "validate", "-Infinity is beyond"),
    (b'{"value": 1e308}', "validate", "1e+308 is beyond"),
    (b'{"value": 1, "values": [1]}', "validate", "expected one of them"),
    (b'{"values": 3}', "validate", '"values" is 3, expected a list'),
    (b'{"values": []}', "validate", '"values" has 0 numbers, input.features is 1'),
    (b'{"values": [1, 2, 3, 4, 5]}', "validate", '"values" has 5 numbers, input.features is 1'),
    (b'{"values": [[1], [2, 3]]}', "validate", 'step 1 of "values" has 2 numbers'),
    (b'{"values": [[1], 2]}', "validate", "step 1 is 2"),
    (b'{"values": [[1], [2], [3], [4]]}', "validate", "a sequence of 4 steps, input.max_steps is 3"),
    (b'{"value": 1, "time": "yesterday"}', "validate", "expected epoch ms or RFC 3339"),
    (b'{"value": 1, "time": true}', "validate", "expected epoch ms or RFC 3339"),
    (b'{"value": 1, "time": 1e300}', "validate", "outside the years 1 to 9999"),
    (b'{"value": 1, "time": "0001-01-01T00:00:00+01:00"}', "validate", "outside the years 1 to 9999"),
    (b'{"values": [[1], [2]], "time": [1]}', "validate", '"time" has 1 entries for 2 steps'),
    (b'{"value": 1, "padding": "' + b"x" * 200 + b'"}', "decode", "input.max_bytes is 200"),
]


@pytest.mark.parametrize(("message", "stage", "reason"), BAD)
def test_a_message_that_is_no_record_gets_a_reason_and_the_rest_is_unharmed(
    message: bytes, stage: str, reason: str
) -> None:
    limit = 10**6 if len(message) > 1000 else 200
    decoded = decode(b'{"value": 1}', message, b'{"value": 2}', max_steps=3, max_bytes=limit)
    ((position, error),) = decoded.errors
    assert position == 1
    assert error.stage == stage
    assert reason in str(error)
    np.testing.assert_array_equal(decoded.batch.check().values, [[1.0], [2.0]])
    np.testing.assert_array_equal(decoded.batch.offsets, [100, 102])


@pytest.mark.parametrize(
    ("key", "reason"), [(None, "no key"), (b"", "0 bytes"), (b"x" * 257, "257 bytes"), (b"\xff", "not UTF-8")]
)
def test_a_stream_id_that_is_none_gets_a_reason(key: bytes | None, reason: str) -> None:
    ((_, error),) = decode(b'{"value": 1}', key=key).errors
    assert reason in str(error)


def test_a_message_without_key_is_named_by_its_stream_field() -> None:
    batch = decode(b'{"stream": "pump-9", "value": 1}', key=None).batch
    assert batch.keys == [b"pump-9"]


def test_fields_can_have_other_names_and_lie_deep() -> None:
    fields = {"value": ["temperature", "air.humidity"], "time": "ts", "stream": "device.id"}
    message = b'{"device": {"id": "a"}, "ts": "1970-01-01T00:00:02Z", "temperature": 20, "air": {"humidity": null}}'
    batch = decode(message, key=None, fields=fields, features=2).batch
    assert batch.keys == [b"a"]
    np.testing.assert_array_equal(batch.values, [[20.0, math.nan]])
    np.testing.assert_array_equal(batch.times, [2000])


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("1700000000000.0", 1_700_000_000_000),
        ('"2023-11-14T22:13:20Z"', 1_700_000_000_000),
        ('"2023-11-14T23:13:20+01:00"', 1_700_000_000_000),
        ('"1970-01-01T00:00:01.001Z"', 1001),
        ('"0001-01-01T00:00:00Z"', -62_135_596_800_000),
        ("null", 1000),
    ],
)
def test_a_step_s_time_is_epoch_milliseconds_or_rfc_3339_or_the_message_s(time: str, expected: int) -> None:
    for message in (f'{{"value": 1, "time": {time}}}', f'{{"values": [[1]], "time": {time}}}'):
        assert decode(message.encode()).batch.times.tolist() == [expected]


def test_the_steps_of_a_sequence_have_their_own_times_or_count_down_to_the_last() -> None:
    own = decode(b'{"values": [[1], [2]], "time": [5, 7]}').batch
    assert (own.times.tolist(), own.left.tolist()) == ([5, 7], [1, 1])
    last = decode(b'{"values": [[1], [2]], "time": 7}').batch
    assert (last.times.tolist(), last.left.tolist()) == ([7, 7], [2, 1])


def test_a_null_value_is_a_tombstone() -> None:
    batch = decode(b'{"value": 1}', None, b'{"value": 2}').batch.check()
    assert batch.forget.tolist() == [False, True, False]
    assert batch.first_step.tolist() == [0, 1, 1, 2]


def test_a_line_s_timestamp_is_its_time_or_that_of_the_line_before() -> None:
    lines = [b'{"stream":"a","value":1}', b'{"stream":"a","value":1,"time":5}', b'{"stream":"a","forget":true}']
    raw = RawColumns([0, 1, 2], [-1, -1, -1], [None, None, None], lines)
    batch = Decoder(InputFormat(lines=True)).decode(raw, previous_timestamp=3).batch
    assert batch.timestamps.tolist() == [3, 5, 5]
    assert batch.forget.tolist() == [False, False, True]


@given(
    st.lists(
        st.tuples(
            st.text(min_size=1, max_size=20), st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=2, max_size=2)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_what_is_decoded_is_what_was_encoded(records: list[tuple[str, list[float | None]]]) -> None:
    keys: list[bytes | None] = [key.encode() for key, _ in records]
    lines: list[bytes | None] = [json.dumps({"values": values}).encode() for _, values in records]
    n = len(records)
    batch = Decoder(InputFormat(features=2)).decode(RawColumns(range(n), [0] * n, keys, lines)).batch
    assert batch.keys == keys
    np.testing.assert_array_equal(batch.values, np.array([values for _, values in records], float))


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("features", [1, 2])
def test_a_forecast_s_line_has_the_fields_of_the_contract(features: int, every_step: bool) -> None:
    numbers = [[[1.0] * features, [2.5] * features], [[3.0] * features]]
    messages: list[bytes | None] = [json.dumps({"values": v}).encode() for v in numbers]
    messages += [b"7.5" if features == 1 else b'{"values": [7.5, 1]}', None]
    decoded = decode(*messages, key='"q\\ü"'.encode(), features=features)
    assert not decoded.errors
    forecaster = Forecaster(ForecastSettings(features=features, horizons=(1, 24)))
    made = Encoder("sensors", 3, (1, 24)).encode(
        decoded.batch, forecaster.forecast(decoded.batch, every_step=every_step)
    )
    assert made[3] is None
    for i, line in enumerate(made[:3]):
        assert line is not None
        found = json.loads(line)
        assert list(found) == [
            *("stream", "time", "horizons", "mean", "lower", "upper", "anomaly", "surprise"),
            *("warm", "model", "topic", "partition", "offset"),
        ]
        assert found["stream"] == '"q\\ü"'
        assert found["horizons"] == [1, 24]
        assert (found["topic"], found["partition"], found["offset"]) == ("sensors", 3, 100 + i)
        assert found["warm"] is False
        last = found["mean"][-1] if every_step else found["mean"]
        assert len(last) == 2
        if every_step:
            assert len(found["mean"]) == len(found["time"]) == (2 if i == 0 else 1)
        nested = features > 1 or every_step or i < 2
        assert all(isinstance(entry, list) == nested for entry in last)
    assert json.loads(made[0] or b"")["mean"] == (
        [[[1.0] * features] * 2, [[2.5] * features] * 2] if every_step else [[2.5] * features] * 2
    )


def test_a_forecast_is_null_before_the_stream_s_first_value() -> None:
    decoded = decode(b"null")
    made = Encoder("t", 0, (1,)).encode(decoded.batch, Forecaster(ForecastSettings()).forecast(decoded.batch))
    found = json.loads(made[0] or b"")
    assert found["mean"] == found["lower"] == found["upper"] == [None]


def test_outputs_tell_how_far_an_input_was_published_and_others_in_the_same_topic_do_not() -> None:
    def output(topic: str, partition: int, offset: int) -> bytes:
        return b'{"stream":"s","topic":"%b","partition":%d,"offset":%d}' % (topic.encode(), partition, offset)

    values = [output("a", 0, 7), output("a", 1, 90), output("b", 0, 80), b"not ours", b'{"topic":"a"}']
    assert published_before(values, "a", 0) == 8
    assert published_before(values, "c", 0) is None
