"""How long a task that failed waits before it begins again."""

# Long enough for a process that was frozen to hear, by the heartbeat that is overdue, that the group has gone on
# without it, before it fences a rightful successor.
FIRST, LONGEST = 1.0, 10.0  # seconds
FORGIVEN = 60.0  # seconds of life after which earlier failures no longer count


class BackOff:
    """Doubles from failure to failure."""

    def __init__(self) -> None:
        self._next = FIRST

    def after(self, lived: float, *, fenced: bool) -> float:
        """Seconds to wait after a life of so many seconds; one that had not fenced anything has cost nobody much."""
        if lived > FORGIVEN or not fenced:
            self._next = FIRST
        wait = self._next
        self._next = min(2 * wait, LONGEST)
        return wait
