"""Windows of truncated back-propagation, as loops: what is remembered of each step, and what has become due.

They are kept in half precision, which the compiler does not know: the loops see its bits.
"""

from typing import NamedTuple

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.layout import INPUTS, START_STRIDE
from streamrnn.engine.stream_table import StreamTable

NONE = np.uint16(np.float16(np.nan).view(np.uint16))  # the bits of what is no number
SIGN, BELOW, FRACTION = np.uint32(0x8000), np.uint32(0x38800000), np.uint32(0x7FFFFFFF)  # BELOW: 2^-14
REBIAS, ROUND, FIRST, INFINITE = np.uint32(112 << 23), np.uint32(0xFFF), np.uint32(1), np.uint32(0x7C00)
LEAST, SMALLEST = np.float32(2.0**-14), np.float32(2.0**24)  # the least with all its digits; 1 / the least of all


class Windows(NamedTuple):
    """The rings of a table, and those windows of a segment that have become due."""

    inputs: Array  # (N, slots, I) uint16
    targets: Array  # (N, slots, P) uint16
    starts: Array  # (N, start slots, S) uint16
    stride: int
    length: int  # T
    numbers: Array  # (n,) of the task's steps; n: at most
    rows: Array  # (n,)
    due_inputs: Array  # (n, T, I) uint16
    due_targets: Array  # (n, T, P) uint16
    due_starts: Array  # (n, S) uint16

    def columns(self, due: int) -> dict[str, Array]:
        """So many of those that are due, as shared_model.Windows takes them."""
        made = {"numbers": self.numbers[:due], "rows": self.rows[:due]}
        for name in ("inputs", "targets", "starts"):
            made[name] = getattr(self, f"due_{name}")[:due].view(np.float16)
        return made


def windows_of(table: StreamTable, steps: int, stride: int) -> Windows:
    """For a segment of so many steps; windows begin every `stride` steps of a series."""
    settings = table.layout.settings
    inputs, targets, starts = (
        table.slabs[name].view(np.uint16) for name in ("window_inputs", "window_targets", "window_starts")
    )
    most, T = steps * settings.features, settings.window
    return Windows(
        inputs,
        targets,
        starts,
        stride,
        T,
        numbers=np.empty(most, np.int64),
        rows=np.empty(most, np.int64),
        due_inputs=np.empty((most, T, inputs.shape[2]), np.uint16),
        due_targets=np.empty((most, T, targets.shape[2]), np.uint16),
        due_starts=np.empty((most, starts.shape[2]), np.uint16),
    )


@compiled
def half(x: np.float32, bits: np.uint32) -> np.uint16:
    """The bits of a number in half precision, rounded to the nearest, of two equally near ones to the even."""
    sign, size = (bits >> np.uint32(16)) & SIGN, bits & FRACTION
    rounded = (size + ROUND + ((size >> np.uint32(13)) & FIRST) - REBIAS) >> np.uint32(13)
    small = np.uint32(np.rint(min(abs(x), LEAST) * SMALLEST))
    made = np.uint16(sign | (small if size < BELOW else min(rounded, INFINITE)))
    return made if x == x else NONE


class Rows(NamedTuple):
    """Rows of numbers, and the same memory as bits."""

    numbers: Array  # (n, m) float32
    bits: Array  # (n, m) uint32

    @classmethod
    def of(cls, rows: Array) -> "Rows":
        return cls(rows, rows.view(np.uint32))


@compiled
def remember(
    w: Windows, row: int, steps: int, horizons: Array, i: int, x: Rows, target: Rows, valid: Array, state: Rows
) -> None:
    """A step's inputs x[i], the targets that have arrived with it, the state before it where a window may start."""
    slots, P = w.inputs.shape[1], len(horizons)
    for p in range(P):
        origin = (steps - horizons[p]) % slots
        w.targets[row, origin, p] = half(target.numbers[i, p], target.bits[i, p]) if valid[i, p] else NONE
    slot = steps % slots
    for k in range(INPUTS):
        w.inputs[row, slot, k] = half(x.numbers[i, k], x.bits[i, k])
    for p in range(P):
        w.targets[row, slot, p] = NONE
    if steps % START_STRIDE == 0:
        start = steps // START_STRIDE % w.starts.shape[1]
        for j in range(w.starts.shape[2]):
            w.starts[row, start, j] = half(state.numbers[0, j], state.bits[0, j])


@compiled
def put_aside(w: Windows, row: int, steps: int, longest: int, number: int, due: int) -> int:
    """The window that has become due with the series' last step, if one has; how many are due now.

    steps: made so far; number: of the task's step.
    """
    start = steps - longest - w.length
    if start < 0 or start % w.stride:
        return due
    slots = w.inputs.shape[1]
    w.numbers[due], w.rows[due] = number, row
    for t in range(w.length):
        slot = (start + t) % slots
        for k in range(INPUTS):
            w.due_inputs[due, t, k] = w.inputs[row, slot, k]
        for p in range(w.targets.shape[2]):
            w.due_targets[due, t, p] = w.targets[row, slot, p]
    at = start // START_STRIDE % w.starts.shape[1]
    for k in range(w.starts.shape[2]):
        w.due_starts[due, k] = w.starts[row, at, k]
    return due + 1
