"""When a season is looked for, and in what: the recent differences of the task's first series."""

import numpy as np

from streamrnn.core import season
from streamrnn.core.backend import to_host
from streamrnn.core.season import Season
from streamrnn.engine.layout import INTERVAL
from streamrnn.engine.stream_table import StreamTable

SERIES = 24
HISTORY = 2048  # steps
FIRST_SEARCH = 192  # steps of a series; then after twice as many each time, at last every HISTORY
DIFFERENCE_CLIP = 10.0
REMEMBERED = ("steps", "moments", "differences")


class SeasonSearch:
    """The history of the first rows of the table, and the count of steps at which the next search is due."""

    def __init__(self) -> None:
        self.history = np.zeros((SERIES, HISTORY), np.float32)  # differences in units of S, a ring by steps
        self.due = FIRST_SEARCH

    def remember(self, rows: np.ndarray, steps: np.ndarray, moments: np.ndarray, differences: np.ndarray) -> None:
        """Take in the step that these rows, all below SERIES, have just made: what REMEMBERED slabs hold of them."""
        scale = np.sqrt(moments[:, 1])
        move = np.divide(differences[:, 0], scale, out=np.zeros(len(rows)), where=scale > 0)
        self.history[rows, (steps - 1) % HISTORY] = np.clip(move, -DIFFERENCE_CLIP, DIFFERENCE_CLIP)

    def look(self, table: StreamTable) -> Season | None:
        """At a learning boundary: a season that is new, None where all stays as it is."""
        rows = min(SERIES, len(table.index.keys) * table.layout.settings.features)
        steps = to_host(table.slabs["steps"][:rows])
        made = int(np.median(steps)) if rows else 0
        if made < self.due:
            return None
        self.due = max(2 * self.due, made) if self.due < HISTORY else made + HISTORY
        chosen = np.flatnonzero(steps >= made)
        n = min(made, HISTORY)
        slots = (steps[chosen][:, None] - n + np.arange(n)) % HISTORY
        values = np.cumsum(self.history[chosen[:, None], slots], axis=1, dtype=float)
        interval = float(np.median(to_host(table.slabs["moments"][:rows])[chosen, INTERVAL]))
        found = season.find(values, interval, table.season)
        return None if found == table.season else found

    def state(self) -> dict[str, np.ndarray]:
        """All of it, by name."""
        return {"history": self.history, "history.due": np.array(self.due)}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave."""
        self.history, self.due = arrays["history"], int(arrays["history.due"])
