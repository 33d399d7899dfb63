"""The life of a task, walked over the whole table of moves."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.service.states import MOVES, IllegalMoveError, State, TaskState

WORK = [State.CREATED, State.FENCING, State.RESTORING, State.REPLAYING, State.RUNNING, State.HELD, State.CLOSING]


def task_in(state: State) -> TaskState:
    """A task brought to this state by the shortest legal way."""
    ways = {State.CREATED: [State.CREATED]}
    queue = [State.CREATED]
    for before in queue:
        for after in MOVES[before] - set(ways):
            ways[after] = [*ways[before], after]
            queue.append(after)
    task = TaskState(lambda *_: None)
    for step in ways[state][1:]:
        task.move(step)
    return task


def walk(*states: State) -> list[tuple[State, State]]:
    moves: list[tuple[State, State]] = []
    task = TaskState(lambda before, after: moves.append((before, after)))
    for state in states:
        task.move(state)
    return moves


def test_a_task_that_meets_no_trouble_goes_through_its_whole_life() -> None:
    moves = walk(
        State.FENCING, State.RESTORING, State.REPLAYING, State.RUNNING, State.HELD, State.RUNNING, State.CLOSING,
        State.CLOSED,
    )  # fmt: skip
    assert [after for _, after in moves][-1] is State.CLOSED
    assert moves[0] == (State.CREATED, State.FENCING)


@pytest.mark.parametrize(("before", "after"), list(product(State, State)))
def test_the_moves_of_the_table_are_made_and_told_and_no_others(before: State, after: State) -> None:
    told: list[tuple[State, State]] = []
    task = task_in(before)
    task._on_move = lambda *move: told.append(move)
    if after in MOVES[before]:
        task.move(after)
        assert (task.current, told) == (after, [(before, after)])
    else:
        with pytest.raises(IllegalMoveError, match=f"from {before.name} to {after.name}"):
            task.move(after)
        assert (task.current, told) == (before, [])


def test_any_failure_leads_to_failed() -> None:
    assert {state for state in State if State.FAILED in MOVES[state]} == set(WORK)


def test_a_task_is_refused_only_before_it_runs() -> None:
    assert {state for state in State if State.REFUSED in MOVES[state]} == set(WORK[:4])


def test_what_failed_or_was_refused_begins_again_or_closes() -> None:
    assert MOVES[State.FAILED] == MOVES[State.REFUSED] == {State.CREATED, State.CLOSING}


def test_only_a_running_task_is_held_and_it_runs_again_or_ends() -> None:
    assert [state for state in State if State.HELD in MOVES[state]] == [State.RUNNING]
    assert MOVES[State.HELD] == {State.RUNNING, State.CLOSING, State.FAILED}


def test_nothing_runs_that_was_not_fenced_restored_and_replayed() -> None:
    assert {state for state in State if State.RUNNING in MOVES[state]} == {State.REPLAYING, State.HELD}
    for before, after in [(State.FENCING, State.RESTORING), (State.RESTORING, State.REPLAYING)]:
        assert [state for state in State if after in MOVES[state]] == [before]


@given(st.lists(st.sampled_from(State), max_size=30))
def test_every_task_can_always_be_closed(tries: list[State]) -> None:
    task = TaskState(lambda *_: None)
    for state in tries:
        if state in MOVES[task.current]:
            task.move(state)
    for state in (State.CLOSING, State.CLOSED):
        if task.current not in (state, State.CLOSED):
            task.move(state)
    assert task.current is State.CLOSED
