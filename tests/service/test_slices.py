"""The queue between fetching and computing."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import TransportError
from streamrnn.service import slices as module
from streamrnn.service.slices import LOW, SliceQueue
from streamrnn.transport.contract import RawBatch

SLICE_RECORDS, SLICE_BYTES = 40, 400  # instead of thousands and millions: the queue's rules do not depend on them
FULL_RECORDS, FULL_BYTES = 16 * SLICE_RECORDS, 16 * SLICE_BYTES
SIZES = (0, 1, SLICE_BYTES // 3, SLICE_BYTES)


@pytest.fixture(autouse=True, scope="module")
def _small_slices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLICE_RECORDS", "SLICE_BYTES", "FULL_RECORDS", "FULL_BYTES"):
            patch.setattr(module, name, globals()[name])
        yield


def fetched(first: int, count: int, size: int = 1, gap: int = 0) -> RawBatch:
    """Records of consecutive offsets, with a gap behind them."""
    offsets = list(range(first, first + count))
    return RawBatch(
        offsets=offsets,
        timestamps=[10 * offset for offset in offsets],
        keys=[b"%d" % offset for offset in offsets],
        values=[bytes(size) if offset % 7 else None for offset in offsets],
        headers=[(("n", b"%d" % offset),) for offset in offsets],
        next_offset=first + count + gap,
    )


def filled(*batches: RawBatch) -> SliceQueue:
    queue = SliceQueue()
    queue.clear(batches[0].offsets[0] if batches and batches[0].offsets else 0)
    for batch in batches:
        queue.put(batch)
    return queue


# For each fetch: the gap before it, its records, the size of a value, the gap behind it.
plans = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(st.integers(0, 3), st.integers(SLICE_RECORDS - 1, 2 * SLICE_RECORDS + 5)),
        st.sampled_from(SIZES),
        st.integers(0, 3),
    ),
    max_size=6,
)
Plan = list[tuple[int, int, int, int]]


def fetches(plan: Plan) -> list[RawBatch]:
    """The fetches of a plan."""
    position, made = 5, []
    for before, count, size, behind in plan:
        made.append(fetched(position + before, count, size, behind))
        position = made[-1].next_offset
    return made


def all_taken(queue: SliceQueue, before: int | None = None) -> list[RawBatch]:
    slices = []
    while len(taken := queue.take(before)) or taken.next_offset >= 0:
        slices.append(taken)
        assert len(slices) < 100, "there is no end to it"
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


@given(plans)
def test_whatever_is_put_in_comes_out_once_and_in_order(plan: Plan) -> None:
    batches = fetches(plan)
    queue = filled(*batches)
    slices = all_taken(queue)
    for name in ("offsets", "timestamps", "keys", "values", "headers"):
        assert column(slices, name) == column(batches, name)
    assert (queue.records, queue.bytes, bool(queue)) == (0, 0, False)


@given(plans)
def test_no_slice_has_more_records_than_the_bound(plan: Plan) -> None:
    batches = fetches(plan)
    assert all(len(taken) <= SLICE_RECORDS for taken in all_taken(filled(*batches)))


@given(plans)
def test_a_slice_that_has_bytes_enough_takes_no_further_fetch(plan: Plan) -> None:
    batches = fetches(plan)
    fetch_of = {offset: number for number, batch in enumerate(batches) for offset in batch.offsets}
    for taken in all_taken(filled(*batches)):
        last = fetch_of[taken.offsets[-1]] if taken.offsets else None
        before = [v for v, offset in zip(taken.values, taken.offsets, strict=True) if fetch_of[offset] != last]
        assert sum(map(len, filter(None, before))) < SLICE_BYTES


@given(plans)
def test_the_next_offset_of_a_slice_lies_behind_it_and_not_behind_what_follows(plan: Plan) -> None:
    batches = fetches(plan)
    slices = all_taken(filled(*batches))
    for taken, following in pairwise(slices):
        assert not taken.offsets or taken.offsets[-1] < taken.next_offset
        assert not following.offsets or taken.next_offset <= following.offsets[0]
    assert not slices or slices[-1].next_offset == batches[-1].next_offset


@given(plans, st.integers(0, 300))
def test_nothing_at_or_beyond_before_is_taken_and_all_of_it_is_kept(plan: Plan, before: int) -> None:
    batches = fetches(plan)
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
