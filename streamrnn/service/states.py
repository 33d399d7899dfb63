"""The life of a task: its states and the moves between them that are legal.

    CREATED → FENCING → RESTORING → REPLAYING → RUNNING ⇄ HELD
                                                   ↓        ↓
                                                   CLOSING ←┘ → CLOSED

A failure leads to FAILED, a refusal on the way to RUNNING to REFUSED; from both a task begins again at CREATED. A
task whose partition is taken away, or whose process ends, closes from wherever it is.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType


class State(Enum):
    """Where a task is. The value is what metrics, `/status` and the log say."""

    CREATED = "created"
    FENCING = "fencing"
    RESTORING = "restoring"
    REPLAYING = "replaying"
    RUNNING = "running"
    HELD = "held"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"
    REFUSED = "refused"


_MENDS = {State.FAILED, State.CLOSING}
_MENDS_OR_REFUSED = {State.REFUSED, *_MENDS}

MOVES: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.CREATED: frozenset({State.FENCING} | _MENDS_OR_REFUSED),
        State.FENCING: frozenset({State.RESTORING} | _MENDS_OR_REFUSED),
        State.RESTORING: frozenset({State.REPLAYING} | _MENDS_OR_REFUSED),
        State.REPLAYING: frozenset({State.RUNNING} | _MENDS_OR_REFUSED),
        State.RUNNING: frozenset({State.HELD} | _MENDS),
        State.HELD: frozenset({State.RUNNING} | _MENDS),
        State.CLOSING: frozenset({State.CLOSED, State.FAILED}),
        State.CLOSED: frozenset(),
        State.FAILED: frozenset({State.CREATED, State.CLOSING}),
        State.REFUSED: frozenset({State.CREATED, State.CLOSING}),
    }
)


class IllegalMoveError(RuntimeError):
    """A move that is not in the table: a mistake in this program, not in its input."""


class TaskState:
    """The state of one task. Every move goes through here, and is told to `on_move(before, after)` once made."""

    __slots__ = ("_current", "_on_move")

    def __init__(self, on_move: Callable[[State, State], None]) -> None:
        self._current = State.CREATED
        self._on_move = on_move

    @property
    def current(self) -> State:
        """Where the task is now."""
        return self._current

    def move(self, to: State) -> None:
        """Raises IllegalMoveError, and stays, where the table has no such move."""
        before = self._current
        if to not in MOVES[before]:
            legal = ", ".join(sorted(state.name for state in MOVES[before])) or "none: it is the end"
            raise IllegalMoveError(f"a task cannot go from {before.name} to {to.name}. Legal moves are {legal}")
        self._current = to
        self._on_move(before, to)
