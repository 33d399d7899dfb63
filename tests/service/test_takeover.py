"""Where a task begins: every line of the table of snapshot, committed offset and bounds of the log."""

import re
import sys

import pytest

from streamrnn.errors import RefusedError
from streamrnn.service.takeover import Start, plan
from streamrnn.transport.contract import Offsets

NAME = "sensors[3]"


def planned(snapshot: int | None, committed: int | None, earliest: int, end: int, start: str = "earliest") -> Start:
    return plan(NAME, snapshot, Offsets(committed, earliest, end), start)


@pytest.mark.parametrize(
    ("snapshot", "committed", "earliest", "end", "found"),
    [
        pytest.param(150, 90, 0, 200, (150, 90), id="the commit lies before the snapshot"),
        pytest.param(150, 90, 100, 120, (150, 90), id="the snapshot lies beyond the end"),
        pytest.param(150, None, 0, 120, (150,), id="the snapshot lies beyond the end, and there is no commit"),
        pytest.param(90, 150, 0, 120, (90, 150), id="the commit lies beyond the end"),
        pytest.param(None, 150, 0, 120, (150,), id="the commit lies beyond the end, and there is no snapshot"),
        pytest.param(130, 150, 0, 120, (130, 150), id="both lie beyond the end"),
        pytest.param(1, 0, 0, 1, (1, 0), id="the group was set back by one"),
        pytest.param(1, 2, 0, 1, (1, 2), id="the log lost one"),
    ],
)
def test_impossible_offsets_are_refused_with_both_named_and_the_way_out(
    snapshot: int | None, committed: int | None, earliest: int, end: int, found: tuple[int, ...]
) -> None:
    with pytest.raises(RefusedError) as refused:
        planned(snapshot, committed, earliest, end)
    message = str(refused.value)
    assert message.startswith(NAME)
    assert "`streamrnn state drop`" in message
    for offset in found:
        assert re.search(rf"\b{offset}\b", message)


def test_a_commit_before_what_is_published_is_refused_however_old_the_snapshot_is() -> None:
    with pytest.raises(
        RefusedError, match=r"offset is 120, before 150, up to where forecasts are published"
    ) as refused:
        plan(NAME, 100, Offsets(120, 0, 200), "earliest", published=150)
    assert "restart that broker" in str(refused.value)
    assert plan(NAME, 100, Offsets(150, 0, 200), "earliest", published=150) == Start(seek=100, replay_to=150)


def test_without_a_snapshot_a_group_that_was_set_back_publishes_again_as_it_was_told_to() -> None:
    assert plan(NAME, None, Offsets(120, 0, 200), "earliest", published=150).replay_to == 120


@pytest.mark.parametrize("snapshot", [None, 90, 130])
def test_where_the_commit_lies_beyond_the_end_the_offset_to_set_the_group_to_is_named(snapshot: int | None) -> None:
    with pytest.raises(RefusedError, match=r"the log ends at 120.*Set the group's offset back to 40"):
        planned(snapshot, 150, 40, 120)


@pytest.mark.parametrize(
    ("start", "earliest", "end", "first"),
    [
        ("earliest", 0, 0, 0),
        ("latest", 0, 0, 0),
        ("earliest", 40, 120, 40),
        ("latest", 40, 120, 120),
        ("earliest", 0, sys.maxsize, 0),
        pytest.param(
            "latest", 0, sys.maxsize, 0, id="nobody knows the end of a pipe, and all of it is still to come"
        ),
    ],
)
def test_a_task_that_never_ran_begins_as_configured_and_replays_nothing(
    start: str, earliest: int, end: int, first: int
) -> None:
    assert planned(None, None, earliest, end, start) == Start(seek=first, replay_to=first, fresh=True)


@pytest.mark.parametrize(
    ("snapshot", "committed", "earliest", "end"),
    [(90, 110, 0, 120), (90, 90, 0, 120), (0, 120, 0, 120), (0, 0, 0, 0)],
)
def test_with_both_a_task_replays_from_the_snapshot_to_the_commit(
    snapshot: int, committed: int, earliest: int, end: int
) -> None:
    assert planned(snapshot, committed, earliest, end) == Start(seek=snapshot, replay_to=committed)


@pytest.mark.parametrize(("snapshot", "committed"), [(90, 110), (90, 100), (90, 90)])
def test_what_the_log_no_longer_holds_of_the_replay_is_counted_in_a_warning(snapshot: int, committed: int) -> None:
    start = planned(snapshot, committed, earliest=100, end=120)
    assert (start.seek, start.replay_to, start.fresh, start.rebuild) == (100, committed, False, False)
    assert start.warning is not None
    assert re.search(r"sensors\[3\]: 10 offsets after the snapshot's 90 are no longer in the log", start.warning)


@pytest.mark.parametrize(("committed", "earliest", "seek"), [(110, 0, 110), (110, 100, 110), (110, 115, 115)])
def test_without_a_snapshot_the_state_is_rebuilt_before_the_commit_and_that_is_said(
    committed: int, earliest: int, seek: int
) -> None:
    start = planned(None, committed, earliest, end=120)
    assert (start.seek, start.replay_to, start.fresh, start.rebuild) == (seek, committed, False, True)
    assert start.warning is not None and "rebuilding" in start.warning and "110" in start.warning


@pytest.mark.parametrize(("snapshot", "earliest", "seek"), [(90, 0, 90), (90, 100, 100), (120, 0, 120)])
def test_without_a_commit_a_task_goes_on_at_the_snapshot_and_the_warning_names_it(
    snapshot: int, earliest: int, seek: int
) -> None:
    start = planned(snapshot, None, earliest, end=120)
    assert (start.seek, start.replay_to, start.fresh, start.rebuild) == (seek, snapshot, False, False)
    assert start.warning is not None
    assert f"going on at the snapshot's {snapshot}" in start.warning and "published again" in start.warning


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_where_to_start_matters_only_to_a_task_that_never_ran(start: str) -> None:
    assert planned(90, 110, 0, 120, start) == planned(90, 110, 0, 120)
    assert planned(None, 110, 0, 120, start) == planned(None, 110, 0, 120)
    assert planned(90, None, 0, 120, start) == planned(90, None, 0, 120)
