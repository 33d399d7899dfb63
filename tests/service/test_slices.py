"""The queue between fetching and computing."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.errors import TransportError
from streamrnn.service.slices import FULL_BYTES, FULL_RECORDS, LOW, SLICE_BYTES, SLICE_RECORDS, SliceQueue
from streamrnn.transport.contract import RawBatch

VALUES = {size: bytes(size) for size in (0, 1, 1000, SLICE_BYTES // 3, SLICE_BYTES)}  # shared: they cost no memory

few = settings(max_examples=30)  # of which most hold thousands of records


def fetched(first: int, count: int, size: int = 1, gap: int = 0) -> RawBatch:
    """Records of consecutive offsets, with a gap behind them."""
    offsets = list(range(first, first + count))
    return RawBatch(
        offsets=offsets,
        timestamps=[10 * offset for offset in offsets],
        keys=[b"%d" % offset for offset in offsets],
        values=[VALUES[size] if offset % 7 else None for offset in offsets],
        headers=[(("n", b"%d" % offset),) for offset in offsets],
        next_offset=first + count + gap,
    )


def filled(*batches: RawBatch) -> SliceQueue:
    queue = SliceQueue()
    queue.clear(batches[0].offsets[0] if batches and batches[0].offsets else 0)
    for batch in batches:
        queue.put(batch)
    return queue


@st.composite
def fetches(draw: st.DrawFn) -> list[RawBatch]:
    counts = st.one_of(st.integers(0, 3), st.sampled_from([SLICE_RECORDS - 1, SLICE_RECORDS + 2]))
    position, made = draw(st.integers(0, 100)), []
    for count, size, gap in draw(
        st.lists(st.tuples(counts, st.sampled_from(list(VALUES)), st.integers(0, 3)), max_size=6)
    ):
        position += draw(st.integers(0, 3))
        made.append(fetched(position, count, size, gap))
        position = made[-1].next_offset
    return made


def all_taken(queue: SliceQueue, before: int | None = None) -> list[RawBatch]:
    slices = []
    while len(taken := queue.take(before)) or taken.next_offset >= 0:
        slices.append(taken)
    return slices


def taken_until_low(queue: SliceQueue) -> list[tuple[int, int]]:
    """Take slices; returns the records and bytes that were there before each."""
    left = []
    while not queue.low:
        left.append((queue.records, queue.bytes))
        queue.take()
    return left


def column(batches: list[RawBatch], name: str) -> list[object]:
    return [entry for batch in batches for entry in getattr(batch, name)]


@few
@given(fetches())
def test_whatever_is_put_in_comes_out_once_and_in_order(batches: list[RawBatch]) -> None:
    queue = filled(*batches)
    slices = all_taken(queue)
    for name in ("offsets", "timestamps", "keys", "values", "headers"):
        assert column(slices, name) == column(batches, name)
    assert (queue.records, queue.bytes, bool(queue)) == (0, 0, False)


@few
@given(fetches())
def test_no_slice_has_more_records_than_the_bound(batches: list[RawBatch]) -> None:
    assert all(len(taken) <= SLICE_RECORDS for taken in all_taken(filled(*batches)))


@few
@given(fetches())
def test_a_slice_that_has_bytes_enough_takes_no_further_fetch(batches: list[RawBatch]) -> None:
    fetch_of = {offset: number for number, batch in enumerate(batches) for offset in batch.offsets}
    for taken in all_taken(filled(*batches)):
        last = fetch_of[taken.offsets[-1]] if taken.offsets else None
        before = [v for v, offset in zip(taken.values, taken.offsets, strict=True) if fetch_of[offset] != last]
        assert sum(map(len, filter(None, before))) < SLICE_BYTES


@few
@given(fetches())
def test_the_next_offset_of_a_slice_lies_behind_it_and_not_behind_what_follows(batches: list[RawBatch]) -> None:
    slices = all_taken(filled(*batches))
    for taken, following in pairwise(slices):
        assert not taken.offsets or taken.offsets[-1] < taken.next_offset
        assert not following.offsets or taken.next_offset <= following.offsets[0]
    assert not slices or slices[-1].next_offset == batches[-1].next_offset


@few
@given(fetches(), st.integers(0, 40_000))
def test_nothing_at_or_beyond_before_is_taken_and_all_of_it_is_kept(batches: list[RawBatch], before: int) -> None:
    queue = filled(*batches)
    slices = all_taken(queue, before)
    offsets = column(batches, "offsets")
    assert column(slices, "offsets") == [offset for offset in offsets if isinstance(offset, int) and offset < before]
    assert column([*slices, *all_taken(queue)], "offsets") == offsets


def test_a_slice_that_is_cut_short_says_where_the_rest_begins() -> None:
    queue = filled(fetched(10, 5))
    assert queue.take(before=13).next_offset == 13
    assert queue.take().offsets == [13, 14]


def test_where_the_first_record_lies_beyond_before_nothing_is_taken() -> None:
    queue = filled(fetched(10, 5))
    taken = queue.take(before=10)
    assert (len(taken), taken.next_offset, queue.records) == (0, -1, 5)


def test_a_fetch_without_records_moves_the_position_over_the_gap() -> None:
    queue = filled(fetched(10, 2, gap=3), fetched(15, 0, gap=5))
    assert bool(queue)
    assert queue.take().next_offset == 20


@pytest.mark.parametrize("first", [0, 11, 12])
def test_an_offset_that_was_delivered_before_is_refused(first: int) -> None:
    queue = filled(fetched(10, 3))
    with pytest.raises(TransportError, match=f"offset {first} was delivered after 12"):
        queue.put(fetched(first, 3))


def test_an_offset_inside_a_gap_that_was_passed_is_refused() -> None:
    queue = filled(fetched(10, 3, gap=5))
    with pytest.raises(TransportError):
        queue.put(fetched(15, 1))


def test_what_is_delivered_before_anything_was_asked_for_is_dropped() -> None:
    queue = SliceQueue()
    queue.put(fetched(10, 3))
    assert not queue
    queue.clear(10)
    queue.put(fetched(10, 3))
    queue.next_offset = None
    queue.put(fetched(13, 3))
    assert queue.records == 3


def test_clearing_forgets_everything_and_says_what_comes_next() -> None:
    queue = filled(fetched(10, 3))
    queue.clear(5)
    assert (queue.records, queue.bytes, bool(queue)) == (0, 0, False)
    queue.put(fetched(5, 1))
    assert queue.take().offsets == [5]


def test_a_slice_is_ready_with_records_enough_or_bytes_enough() -> None:
    assert not filled(fetched(1, SLICE_RECORDS - 1)).ready
    assert filled(fetched(1, SLICE_RECORDS)).ready
    assert not filled(fetched(1, 2, SLICE_BYTES // 3)).ready
    assert filled(fetched(1, 1, SLICE_BYTES)).ready


def test_fetching_pauses_above_the_full_mark_and_resumes_only_below_a_quarter_of_it() -> None:
    queue = filled(fetched(1, FULL_RECORDS))
    assert (queue.full, queue.low) == (False, False)
    queue.put(fetched(FULL_RECORDS + 1, 1))
    assert (queue.full, queue.low) == (True, False)
    assert all(LOW * records >= FULL_RECORDS for records, _ in taken_until_low(queue))
    assert FULL_RECORDS - LOW * SLICE_RECORDS <= LOW * queue.records < FULL_RECORDS


def test_few_records_with_many_bytes_are_full_too() -> None:
    queue = filled(*(fetched(offset, 1, SLICE_BYTES) for offset in range(1, 22) if offset % 7))
    assert queue.bytes > FULL_BYTES
    assert (queue.full, queue.low) == (True, False)
    assert all(LOW * size >= FULL_BYTES for _, size in taken_until_low(queue))
    assert FULL_BYTES - LOW * SLICE_BYTES <= LOW * queue.bytes < FULL_BYTES
