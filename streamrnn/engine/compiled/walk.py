"""Step after step in the order of the records: a series' state comes into the cache once a step.

What streams share is read and never changed, so no order changes a forecast; `engine/series_step.py` makes the same
steps of many series at once. Back-propagation and all else at learning boundaries is the same code for both.
"""

from math import isfinite, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.compiled.cells import Net, add_product, net_of, step
from streamrnn.engine.compiled.compiler import compiled
from streamrnn.engine.compiled.observation import Calendar, clip
from streamrnn.engine.compiled.series_step import (
    Seen,
    Shared,
    calendar_of,
    forecast,
    look,
    scale_features,
    shared_of,
    show,
    tell,
)
from streamrnn.engine.compiled.slabs import Exact, Slabs, exact_of, slabs_of
from streamrnn.engine.compiled.windows import Rows, Windows, put_aside, remember, windows_of
from streamrnn.engine.layout import LINEAR_FEATURES, SQUARE, TIME, WARM_STEPS
from streamrnn.engine.output import Output
from streamrnn.engine.season_search import DIFFERENCE_CLIP, HISTORY, SERIES
from streamrnn.records import Scores

if TYPE_CHECKING:
    from streamrnn.engine.forecaster import Forecaster

DUE, SAMPLED = 0, 1  # counters


class Steps(NamedTuple):
    """K steps to make."""

    slots: Array  # (K,) of the streams
    values: Array  # (K, D) float64
    times: Array  # (K,) ms; the step's own is written here
    left: Array  # (K,): see records.RecordBatch
    outputs: Array  # (K,) row of the output where its forecast is published, -1: nowhere
    told: Array  # (K,) row of the output where its surprise counts


class Told(NamedTuple):
    """Where forecasts go: columns of a ForecastBatch."""

    mean: Array
    lower: Array
    upper: Array
    surprise: Array
    anomaly: Array
    warm: Array


class Kit(NamedTuple):
    """Everything a step needs, and room for one."""

    slabs: Slabs
    exact: tuple[Exact, Exact]
    shared: Shared
    calendar: Calendar
    net: Net
    windows: Windows
    curvature: Array  # (F, F)
    panel_curvature: Array  # (D, n, n), or empty
    seen: Seen
    x: Rows  # of seen.x,
    target: Rows  # of seen.target,
    state: Rows  # and of net.state, with their bits
    rows: Array  # (D,) of the stream
    times: Array  # (D,) ms
    hidden: Array  # (D, S)
    recurrent: Array  # (D, P) the network's outputs
    own: Array  # (D, F) P φ̃
    panel: Array  # (D, n) the same with the panel
    history: Array  # (SERIES, HISTORY)
    sample_numbers: Array  # (n,) of the task's steps
    samples: Array  # (n, D, n) their φ̃
    every: int  # of so many steps one is a sample
    longest: int
    learning: bool
    counters: Array  # (2,) windows due, samples taken


def walk(forecaster: "Forecaster", made: Output, first: int, slots: Array) -> int:
    """Make the steps `first` and after, of the streams in these slots (K,), and learn from their labels.

    Returns the number of series of which something was not a number.
    """
    f, K = forecaster, len(slots)
    table, model, own = f.table, f.model, slice(first, first + K)
    kit = _kit(f, K)
    outputs = made.slot[own]
    steps = Steps(slots, made.values[own], made.times[own], made.left[own], outputs, made.teller[own])
    told = Told(made.mean, made.lower, made.upper, made.surprise, made.anomaly, made.warm)
    at, half_way, mended = 0, False, 0
    while at < K:
        at, half_way = _walk(kit, steps, told, at, f.step_number, half_way)
        if at < K:  # something is not a number
            mended += max(1, table.mend(kit.rows))
    made.model[outputs[outputs >= 0]] = model.updates
    made.scores.add(Scores(*kit.seen.scores))
    if f.settings.learning:
        due, taken = kit.counters.tolist()
        model.windows.add(kit.windows.columns(due))
        samples = kit.samples[:taken]
        model.contribute(
            kit.seen.taught, samples.reshape(-1, samples.shape[2]), kit.sample_numbers[:taken], np.arange(taken)
        )
    return mended


def _kit(f: "Forecaster", steps: int) -> Kit:
    table, model, settings = f.table, f.model, f.settings
    D, shared = settings.features, model.readouts.shared
    seen, net = Seen.of(table), net_of(model.cell, model.parameters)
    n = seen.scaled.shape[1]
    most = steps // f.sampled + 1
    panel = shared.P_panel if D > 1 else np.zeros((0, 0, 0), np.float32)
    return Kit(
        slabs=slabs_of(table),
        exact=exact_of(table, model.readouts.exact),
        shared=shared_of(table, model),
        calendar=calendar_of(table),
        net=net,
        windows=windows_of(table, steps, f.stride),
        curvature=np.ascontiguousarray(shared.P),
        panel_curvature=np.ascontiguousarray(panel),
        seen=seen,
        x=Rows.of(seen.x),
        target=Rows.of(seen.target),
        state=Rows.of(net.flat_state),
        rows=np.empty(D, np.int64),
        times=np.empty(D, np.int64),
        hidden=np.empty((D, net.flat_state.shape[1]), np.float32),
        recurrent=np.empty((D, len(net.d)), np.float32),
        own=np.empty((D, LINEAR_FEATURES), np.float32),
        panel=np.empty((D, n), np.float32),
        history=f.search.history,
        sample_numbers=np.empty(most, np.int64),
        samples=np.empty((most, D, n), np.float32),
        every=f.sampled,
        longest=settings.longest,
        learning=settings.learning,
        counters=np.zeros(2, np.int64),
    )


@compiled
def _walk(kit: Kit, steps: Steps, told: Told, first: int, number: int, half_way: bool) -> tuple[int, bool]:
    """The steps from `first` on; number: that of the task's step 0 of these.

    Returns the step where something was not a number, and whether it is to be gone on with where its forecasts are
    told (`half_way`); else how many there are.
    """
    s, seen = kit.slabs, kit.seen
    for at in range(first, len(steps.slots)):
        if not half_way:
            if not _begun(kit, steps, at):
                return at, False
            _forecast(kit)
        if not tell(s, kit.shared, kit.rows, seen) and not half_way:
            _only_numbers(seen, len(s.regret[0, 0, 0]))
            return at, True
        half_way = False
        _ended(kit, steps, told, at, number + at)
    return len(steps.slots), False


@compiled
def _begun(kit: Kit, steps: Steps, at: int) -> bool:
    """Take the step's record up; whether the stream's memory of alarms is sound, from which nothing recovers."""
    s, seen, D = kit.slabs, kit.seen, len(kit.rows)
    total = 0.0
    for d in range(D):
        row = kit.rows[d] = steps.slots[at] * D + d
        value = seen.value[d] = steps.values[at, d]
        seen.missing[d] = value != value
        for k in range(s.alarm_memory.shape[1]):
            total += s.alarm_memory[row, k]
    lead = kit.rows[0]
    if steps.left[at] > 1:
        previous = np.int64(s.moments[lead, TIME]) if s.steps[lead] > 0 else steps.times[at]
        steps.times[at] = previous + (steps.times[at] - previous) // steps.left[at]
    for d in range(D):
        kit.times[d] = steps.times[at]
    return isfinite(total)


@compiled
def _forecast(kit: Kit) -> None:
    """Learn from the labels, look around, step the network, and have all experts forecast."""
    s, seen, rows, D, net = kit.slabs, kit.seen, kit.rows, len(kit.rows), kit.net
    look(s, kit.exact, kit.shared, kit.calendar, rows, kit.times, kit.longest, seen)
    if D > 1:
        show(s, rows, D, seen)
    scale_features(s, rows, seen)
    S, P = kit.hidden.shape[1], len(net.d)
    for d in range(D):
        row = rows[d]
        for j in range(S):
            net.flat_state[0, j] = s.hidden[row, j]
        if kit.learning:
            remember(kit.windows, row, s.steps[row], kit.shared.horizons, d, kit.x, kit.target, seen.valid, kit.state)
        step(net, seen.x, d)
        for j in range(S):
            s.hidden[row, j] = kit.hidden[d, j] = net.flat_state[0, j]
        for p in range(P):
            output = net.d[p]
            for j in range(net.V.shape[1]):
                output += net.flat_state[0, j] * net.V[p, j]
            kit.recurrent[d, p] = output
        for j in range(kit.own.shape[1]):
            kit.own[d, j] = np.float32(0.0)
        add_product(seen.scaled, d, kit.curvature, kit.own, d)
        if D > 1:
            for j in range(kit.panel.shape[1]):
                kit.panel[d, j] = np.float32(0.0)
            add_product(seen.scaled, d, kit.panel_curvature[d], kit.panel, d)
    forecast(s, kit.exact, kit.shared, rows, seen, kit.hidden, kit.recurrent, kit.own, kit.panel)


@compiled
def _only_numbers(seen: Seen, K: int) -> None:
    """Persistence in place of every expert that has told no number."""
    for i in range(len(seen.scale)):
        if not isfinite(seen.scale[i]):
            seen.scale[i] = 0.0
        for p in range(seen.told.shape[1]):
            for k in range(K):
                if not isfinite(seen.told[i, p, k]):
                    seen.told[i, p, k] = np.float32(0.0)


@compiled
def _ended(kit: Kit, steps: Steps, told: Told, at: int, number: int) -> None:
    """Publish the step, and put aside what is learnt from it at the boundary."""
    s, seen, D, place, where = kit.slabs, kit.seen, len(kit.rows), steps.outputs[at], steps.told[at]
    warm = True
    for d in range(D):
        row = kit.rows[d]
        if kit.learning and row < SERIES:
            scale = sqrt(s.moments[row, SQUARE])
            move = s.differences[row, 0] / scale if scale > 0 else 0.0
            kit.history[row, s.steps[row] % HISTORY] = clip(move, DIFFERENCE_CLIP)
        s.steps[row] += 1
        if kit.learning:
            kit.counters[DUE] = put_aside(kit.windows, row, s.steps[row], kit.longest, number, kit.counters[DUE])
        warm &= s.scored[row, 0] >= WARM_STEPS
        _raise(told.surprise, where, seen.surprise[d])
        _raise(told.anomaly, where, seen.anomaly[d])
        if place >= 0:
            for p in range(seen.made.shape[2]):
                told.mean[place, p, d] = seen.made[0, d, p]
                told.lower[place, p, d] = seen.made[1, d, p]
                told.upper[place, p, d] = seen.made[2, d, p]
    if place >= 0:
        told.warm[place] = warm
    if kit.learning and number % kit.every == 0:
        taken = kit.counters[SAMPLED]
        kit.sample_numbers[taken] = number
        for d in range(D):
            for k in range(seen.scaled.shape[1]):
                kit.samples[taken, d, k] = seen.scaled[d, k]
        kit.counters[SAMPLED] = taken + 1


@compiled
def _raise(most: Array, where: int, value: float) -> None:
    """Let most[where] be the larger one; NaN is less than any number."""
    if value == value and not most[where] >= value:
        most[where] = value
