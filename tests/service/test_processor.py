"""One partition's records through decoder, forecaster and encoder."""

import json
from typing import Any

import pytest

from streamrnn.engine.record_reader import InputFormat
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.snapshot import SnapshotPages, StoredSnapshot
from streamrnn.errors import RefusedError, SnapshotError
from streamrnn.service.processor import Processor, Slice
from streamrnn.transport.contract import EncodedBatch, PartitionId, RawBatch

SENSORS = PartitionId("sensors", 3)
AMPLE = 1 << 20
SMALL: dict[str, Any] = {"hidden": 4, "window": 8}


def processor(*, every_step: bool = False, **settings: Any) -> Processor:
    return Processor(SENSORS, ForecastSettings(**{**SMALL, **settings}), InputFormat(), every_step=every_step)


def raw(*values: bytes | None, first: int = 100) -> RawBatch:
    """Messages of two streams, with a gap behind every offset."""
    n = len(values)
    return RawBatch(
        offsets=[first + 2 * i for i in range(n)],
        timestamps=[1_700_000_000_000 + 1000 * i for i in range(n)],
        keys=[b"ab"[i % 2 : i % 2 + 1] for i in range(n)],
        values=list(values),
        headers=[(("number", b"%d" % i),) for i in range(n)],
        next_offset=first + 2 * n,
    )


def walk(steps: int, first: int = 100) -> RawBatch:
    """Plain records, enough of them to learn from."""
    return raw(*(b'{"value": %d.5}' % (i * i % 23) for i in range(steps)), first=first)


def sequence(steps: int) -> bytes:
    return json.dumps({"values": [[float(i)] for i in range(steps)]}).encode()


def saved(processor: Processor, offset: int = 300) -> SnapshotPages:
    """What is stored of its state."""
    captured = processor.capture(offset)
    while not captured.checked:
        captured.check()
    return captured.capture.finished()


def through(snapshot_of: Processor, into: Processor, offset: int = 300) -> int:
    """Carry the state from one processor to another."""
    pages = saved(snapshot_of, offset)
    return into.restore(StoredSnapshot(pages.header, pages.pages))


def offsets(made: Slice) -> list[int]:
    return [json.loads(value)["offset"] for value in made.outputs.values if value is not None]


def test_every_record_is_a_forecast_or_a_dead_letter_or_a_tombstone_each_in_offset_order() -> None:
    made = processor().process(raw(b"1", b"{", b'{"value": 2}', b'{"values": [1, 2]}', None, b'"x"', b"3"), AMPLE)
    assert [letter.offset for letter in made.dead_letters] == [102, 106, 110]
    assert offsets(made) == [100, 104, 112]
    assert made.outputs.values[2] is None
    assert made.outputs.keys == [b"a", b"a", b"a", b"a"]
    assert made.next_offset == 114


@pytest.mark.parametrize("every_step", [False, True])
def test_a_slice_without_one_good_record_is_all_dead_letters(every_step: bool) -> None:
    made = processor(every_step=every_step).process(raw(b"{", b'"x"'), AMPLE)
    assert [letter.offset for letter in made.dead_letters] == [100, 102]
    assert (made.outputs.values, made.next_offset) == ([], 104)


@pytest.mark.parametrize("every_step", [False, True])
def test_a_slice_of_tombstones_is_all_tombstones(every_step: bool) -> None:
    made = processor(every_step=every_step).process(raw(None, None), AMPLE)
    assert (made.outputs.values, made.outputs.keys, made.dead_letters) == ([None, None], [b"a", b"b"], [])


def test_a_dead_letter_is_the_record_as_it_came_and_why() -> None:
    batch = raw(b"1", b"{")
    (letter,) = processor().process(batch, AMPLE).dead_letters
    assert (letter.offset, letter.timestamp, letter.key, letter.value, letter.headers) == (
        102,
        batch.timestamps[1],
        b"b",
        b"{",
        (("number", b"1"),),
    )
    assert (letter.stage, letter.exception) == ("decode", "RecordError")
    assert "not JSON" in letter.message


def test_an_output_above_the_limit_is_an_encode_dead_letter_with_both_sizes_and_the_others_are_unharmed() -> None:
    batch = raw(b"1", sequence(40), b"2", b"3")
    whole = processor(every_step=True).process(batch, AMPLE)
    size = len(whole.outputs.values[1] or b"") + 1
    made = processor(every_step=True).process(batch, size - 1)
    (letter,) = made.dead_letters
    assert (letter.offset, letter.stage, letter.key, letter.value) == (102, "encode", b"b", sequence(40))
    assert f"{size} bytes" in letter.message and f"takes {size - 1}" in letter.message
    assert made.outputs.values == [whole.outputs.values[i] for i in (0, 2, 3)]
    assert made.outputs.keys == [b"a", b"a", b"b"]
    assert made.outputs.timestamps == [batch.timestamps[i] for i in (0, 2, 3)]


def test_streams_that_stand_still_are_counted_at_boundaries() -> None:
    made = processor()
    made.process(raw(*[b"5"] * 300), AMPLE)
    assert (made.streams, made.frozen) == (2, 2)


def surprising(number: int) -> RawBatch:
    """Sevens and, at last, something else."""
    return raw(*(b"%d" % (i % 7 if i < number - 1 else 1000) for i in range(number)), None)


def test_anomalies_are_the_outputs_at_or_above_the_threshold() -> None:
    made = processor().process(surprising(300), AMPLE)
    assert made.anomalies.values == []
    scores = [json.loads(value)["anomaly"] or 0 for value in made.outputs.values if value is not None]
    for threshold in (0.9, max(scores)):
        choosy = Processor(
            SENSORS, ForecastSettings(**SMALL), InputFormat(), every_step=False, anomalous_from=threshold
        )
        again = choosy.process(surprising(300), AMPLE)
        chosen = [i for i, score in enumerate(scores) if score >= threshold]
        assert 299 in chosen
        assert again.outputs == made.outputs
        assert again.anomalies.keys == [made.outputs.keys[i] for i in chosen]
        assert again.anomalies.values == [made.outputs.values[i] for i in chosen]
        assert again.anomalies.timestamps == [made.outputs.timestamps[i] for i in chosen]
        assert choosy.process(surprising(300), AMPLE, publish=False).anomalies.values == []


def test_a_sequence_is_an_anomaly_if_one_of_its_steps_is_and_its_forecast_was_not_too_large() -> None:
    def choosy() -> Processor:
        form = InputFormat()
        return Processor(SENSORS, ForecastSettings(**SMALL), form, every_step=True, anomalous_from=0.99)

    odd = json.dumps({"values": [[i % 7] if i != 150 else [1000] for i in range(200)]}).encode()
    batch = raw(b"1", odd, None, b"2")
    made = choosy().process(batch, AMPLE)
    assert made.anomalies == EncodedBatch([b"b"], [made.outputs.values[1]], [batch.timestamps[1]])
    assert choosy().process(batch, 1000).anomalies == EncodedBatch([], [], [])


def test_an_output_of_exactly_the_limit_is_published() -> None:
    batch = raw(b"1", sequence(40))
    size = len(processor(every_step=True).process(batch, AMPLE).outputs.values[1] or b"") + 1
    assert processor(every_step=True).process(batch, size).dead_letters == []


def test_dead_letters_of_different_stages_are_in_offset_order() -> None:
    batch = raw(sequence(40), b"{", sequence(40), b'"x"', b"1")
    made = processor(every_step=True).process(batch, 1000)
    assert [(letter.offset, letter.stage) for letter in made.dead_letters] == [
        (100, "encode"),
        (102, "decode"),
        (104, "encode"),
        (106, "validate"),
    ]
    assert offsets(made) == [108]


def test_a_record_whose_forecast_was_too_large_has_moved_the_state() -> None:
    batches = raw(b"1", sequence(40)), raw(b"2", b"3", first=104)
    published, refused = processor(every_step=True), processor(every_step=True)
    published.process(batches[0], AMPLE)
    assert refused.process(batches[0], 1000).dead_letters
    assert refused.process(batches[1], AMPLE).outputs == published.process(batches[1], AMPLE).outputs


def test_without_publishing_the_state_moves_alike_and_nothing_comes_out() -> None:
    batches = walk(200), raw(b"1", b"{", None, b"2", first=500), walk(50, first=508)
    live, replayed = processor(), processor()
    for batch in batches[:2]:
        live.process(batch, AMPLE)
        made = replayed.process(batch, AMPLE, publish=False)
        assert (made.outputs.values, made.dead_letters, made.next_offset) == ([], [], batch.next_offset)
    after = live.process(batches[2], AMPLE)
    assert '"model":0,' not in (after.outputs.values[-1] or b"").decode()  # it has learnt
    assert replayed.process(batches[2], AMPLE).outputs == after.outputs


def test_a_restored_processor_goes_on_as_the_one_that_was_captured() -> None:
    one, other = processor(), processor()
    one.process(walk(200), AMPLE)
    assert through(one, other, offset=500) == 500
    assert not other.adopt_settings()
    assert other.process(walk(50, first=500), AMPLE).outputs == one.process(walk(50, first=500), AMPLE).outputs


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("features", 2, 1),
        ("horizons", (1, 2), (1,)),
        ("cell", "tanh", "gru"),
        ("hidden", 8, 4),
        ("window", 16, 8),
    ],
)
def test_a_changed_setting_that_shapes_the_state_is_refused_with_both_values(
    name: str, here: Any, there: Any
) -> None:
    with pytest.raises(RefusedError) as refused:
        through(processor(), processor(**{name: here}))
    message = str(refused.value)
    assert message.startswith("sensors[3]: ")
    assert f"{name}: {here} here, {there} there" in message
    assert "`streamrnn state drop`" in message


def test_a_damaged_snapshot_is_refused_with_its_partition_and_the_way_out() -> None:
    pages = saved(processor())
    with pytest.raises(SnapshotError, match=r"^sensors\[3\]: .*lacks page .*`streamrnn state drop --partition 3`"):
        processor().restore(StoredSnapshot(pages.header, {}))


def test_all_changed_settings_are_named_at_once() -> None:
    with pytest.raises(RefusedError, match=r"hidden: 8 here, 4 there; window: 16 here, 8 there"):
        through(processor(), processor(hidden=8, window=16))


@pytest.mark.parametrize(("name", "value"), [("coverage", 0.5), ("learning", False), ("rate", 0.1), ("seed", 7)])
def test_other_changed_settings_are_adopted_after_the_replay_and_not_before(name: str, value: Any) -> None:
    old, new = processor(), processor(**{name: value})
    old.process(walk(100), AMPLE)
    through(old, new)
    assert new.process(walk(20, first=300), AMPLE).outputs == old.process(walk(20, first=300), AMPLE).outputs
    assert new.adopt_settings()
    assert getattr(new.forecaster.settings, name) == value
    assert not new.adopt_settings()


def test_an_adopted_setting_is_in_the_next_snapshot() -> None:
    old, new = processor(), processor(coverage=0.5)
    through(old, new)
    new.adopt_settings()
    pages = saved(new)
    assert json.loads(pages.header.partition(b"\n")[0])["settings"]["coverage"] == 0.5
