"""What all streams of a task share: the recurrent network's weights and the pooled regrets of the experts.

All of it is constant between learning boundaries. What the streams contribute meanwhile waits: windows with the
number of the step that made them due, regrets in integer sums, which are the same in whatever order they are added.
"""

from dataclasses import dataclass, field
from types import ModuleType

import numpy as np

from streamrnn.core import mixture
from streamrnn.core.backend import Array, Parameters, array_module, chosen, to_host
from streamrnn.core.cells import by_part, by_row, initial_cell, one_step
from streamrnn.core.fused import cell_for
from streamrnn.core.guard import Guard
from streamrnn.core.optimisers import AdamState, adam_init, adam_update, clip_by_global_norm
from streamrnn.core.shared_curvature import FORGETTING
from streamrnn.core.truncated_bptt import window_gradients
from streamrnn.engine.layout import EMBEDDING, INPUTS, MEMORIES, START_STRIDE, expert_names
from streamrnn.engine.readouts import Readouts
from streamrnn.engine.settings import ForecastSettings
from streamrnn.engine.stream_table import StreamTable

BATCH = 256  # windows learnt together
RATE_DECAY = 300.0  # updates after which the rate has fallen by 1/sqrt(2)
EMBEDDING_RATE = 0.02
NARROW = 14  # heads with fewer outputs are summed without BLAS, whose kernels there depend on the number of rows
SUMS = ("pooled_total", "pooled_square", "partial_total", "partial_square")


@dataclass(slots=True)
class Windows:
    """Windows of truncated BPTT whose labels have all arrived, as columns; each append is one array a column.

    On a device those of other series, which are not due, are put aside with them and left out later: to choose is to
    wait.
    """

    numbers: list[Array] = field(default_factory=list)  # (n,) the task's step that made the window due
    rows: list[Array] = field(default_factory=list)  # (n,)
    starts: list[Array] = field(default_factory=list)  # (n, S)
    inputs: list[Array] = field(default_factory=list)  # (n, T, I)
    targets: list[Array] = field(default_factory=list)  # (n, T, P), NaN: no label
    due: list[Array] = field(default_factory=list)  # (n,) bool, on a device

    COLUMNS = ("numbers", "rows", "starts", "inputs", "targets")

    def add(self, columns: dict[str, Array]) -> None:
        """Put windows aside that are due, an array a column."""
        for name in self.COLUMNS:
            getattr(self, name).append(columns[name])

    def columns(self) -> dict[str, Array]:
        """All that are due, an array a column; nothing where none is."""
        if not self.numbers:
            return {}
        xp = array_module(self.numbers[0])
        made = {name: xp.concatenate(getattr(self, name)) for name in self.COLUMNS}
        if self.due:
            due = xp.flatnonzero(xp.concatenate(self.due))
            made = {name: column[due] for name, column in made.items()}
        return made if len(made["rows"]) else {}


@dataclass(slots=True)
class Learnt:
    """What one boundary did."""

    updates: int = 0
    rollbacks: int = 0
    loss: float = float("nan")  # of the last update
    gradient_norm: float = float("nan")


class SharedModel:
    """The recurrent expert and the experts' pooled standing."""

    def __init__(self, settings: ForecastSettings, xp: ModuleType = np) -> None:
        self.settings, self.xp = settings, xp
        self.cell = cell_for(settings.cell, xp, endless=True)  # as streams are
        P = len(settings.horizons)
        p = initial_cell(self.cell, INPUTS + EMBEDDING, settings.hidden, np.random.default_rng(settings.seed))
        p |= {"V": np.zeros((settings.hidden, P)), "d": np.zeros(P)}  # so the first forecast is persistence
        self.parameters: Parameters = {name: xp.asarray(value, "float32") for name, value in p.items()}
        self.adam: AdamState = adam_init(self.parameters)
        self.guard = Guard()
        self.windows = Windows()
        self.samples: list[tuple[np.ndarray, Array]] = []  # numbers (n,), features (n, D, F)
        self.readouts = Readouts(settings, xp)
        self.experts = expert_names(self.readouts.names)
        self.prior = xp.asarray(mixture.priors(len(self.experts)), "float32")  # (K,)
        shape = (P, MEMORIES, len(self.experts))
        self.pooled_total, self.pooled_square = np.zeros(shape), np.zeros(shape)
        self.partial_total, self.partial_square = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        far = np.array(settings.horizons) > 1
        self.network_base = xp.asarray(
            far, "float32"
        )  # (P,) beyond one step the network corrects the profile's change
        self.loss_weight = xp.asarray(np.where(far, min(1.0, 3.0 / P), 1.0), "float32")  # (P,)
        self.weigh_experts()

    @property
    def updates(self) -> int:
        """Weight updates made so far: the `model` of a forecast."""
        return self.adam.count

    def step(self, x: Array, state: Array) -> tuple[Array, Array]:
        """The next state (B, S) and the network's outputs (B, P) in units of each target's running size.

        x (B, I + E): inputs and embedding.
        """
        xp, p, B = self.xp, self.parameters, len(x)
        if B == 1:  # a product of one row uses another kernel, and rounds differently
            x, state = xp.repeat(x, 2, axis=0), xp.repeat(state, 2, axis=0)
        parts, _ = one_step(self.cell, p, x, by_part(state, self.settings.hidden))
        hidden = parts[0]
        output = xp.einsum("bh,hp->bp", hidden, p["V"]) if p["V"].shape[1] < NARROW else hidden @ p["V"]
        output += p["d"]
        return by_row(parts)[:B], output[:B]

    def collect(self, table: StreamTable, rows: Array, steps: Array, numbers: Array, stride: int) -> None:
        """Put aside the windows that have become due. steps (B,): made so far; numbers (B,): the task's steps."""
        layout, T = table.layout, self.settings.window
        start = steps - self.settings.longest - T
        due, w = (start >= 0) & (start % stride == 0), self.windows
        some = chosen(due)
        rows, start, numbers = rows[some], start[some], numbers[some]
        if self.xp is not np:
            w.due.append(due)
        elif not len(rows):
            return
        slots = rows[:, None] * layout.window_slots + (start[:, None] + self.xp.arange(T)) % layout.window_slots
        slabs = table.slabs
        w.numbers.append(numbers)
        w.rows.append(rows)
        w.starts.append(slabs["window_starts"][rows, start // START_STRIDE % layout.start_slots])
        for column, name in ((w.inputs, "window_inputs"), (w.targets, "window_targets")):
            column.append(slabs[name].reshape(-1, slabs[name].shape[2])[slots])

    def contribute(self, taught: np.ndarray, features: Array, numbers: np.ndarray, chosen: Array) -> None:
        """Add what one step of B series taught to what waits for the boundary.

        taught (2, P, G, K): sums of r and r²; features (B, n), of which the chosen streams' (n,) of 0 .. B / D - 1
        are taken for the shared moments; numbers (n,) of the task's steps that are theirs.
        """
        if numbers.size:
            by_stream = features.reshape(-1, self.settings.features, features.shape[1])
            self.samples.append((numbers, by_stream[chosen]))
        total, square = taught
        self.partial_total += total
        self.partial_square += square

    def learn(self, table: StreamTable, steps_a_stream: float, steps: float) -> Learnt:
        """At a learning boundary: fold the pooled regrets and moments, then learn the windows in step order.

        steps_a_stream: since the last boundary; steps: a stream has made in all.
        """
        if self.samples:
            numbers = np.concatenate([n for n, _ in self.samples])
            samples = to_host(self.xp.concatenate([x for _, x in self.samples]))[np.argsort(numbers, kind="stable")]
            self.samples = []
            self.readouts.shared.fold(samples, FORGETTING**steps_a_stream, steps)
        decay = np.array(mixture.MEMORIES)[:, None] ** steps_a_stream  # (G, 1)
        self.pooled_total = self.pooled_total * decay + self.partial_total / mixture.FIXED_POINT
        self.pooled_square = self.pooled_square * decay + self.partial_square / mixture.FIXED_POINT
        self.partial_total[...] = self.partial_square[...] = 0
        self.weigh_experts()
        learnt, windows = Learnt(), self.windows.columns()
        self.windows = Windows()
        if windows:
            order = self.xp.argsort(windows["numbers"], kind="stable")
            for first in range(0, len(order), BATCH):
                batch = order[first : first + BATCH]
                self._update(table, {name: column[batch] for name, column in windows.items()}, learnt)
            if learnt.updates:
                table.touch(windows["rows"])  # they may have rested since a snapshot that holds the window
        return learnt

    def _update(self, table: StreamTable, windows: Parameters, learnt: Learnt) -> None:
        """One step of Adam on one batch of windows, by column; undone where the guard says so."""
        rows, starts, inputs, targets = (windows[name] for name in ("rows", "starts", "inputs", "targets"))
        xp, (B, T, _) = self.xp, inputs.shape
        embeddings = table.slabs["embedding"]
        x = xp.empty((T, B, INPUTS + EMBEDDING), "float32")
        x[:, :, :INPUTS] = inputs.transpose(1, 0, 2)
        x[:, :, INPUTS:] = embeddings[rows]
        target = xp.ascontiguousarray(targets.transpose(1, 0, 2))
        known = ~xp.isnan(target)
        counted = int(known.any(-1).sum())
        if not counted:
            return
        target = xp.where(known, target, xp.float32(0))
        starts = starts.astype("float32")
        rate = self.guard.rate * self.settings.rate / (1.0 + self.updates / RATE_DECAY) ** 0.5
        with np.errstate(over="ignore", invalid="ignore"):  # the guard judges what came of it
            weight, of_embeddings = known * self.loss_weight, slice(INPUTS, None)
            made = window_gradients(self.cell, self.parameters, x, starts, target, weight, of_embeddings)
            gradients, norm = clip_by_global_norm(made.parameters, self.settings.clip_norm)
            parameters, adam = adam_update(self.parameters, gradients, self.adam, rate)
        learnt.loss, learnt.gradient_norm = made.loss, norm
        careful = self.guard.rate
        if not self.guard.stands(made.loss, norm, parameters):
            learnt.rollbacks += 1
            return
        gradient = made.inputs.sum(0)  # an embedding is the same input in all steps
        self.parameters, self.adam = parameters, adam
        # the loss is a mean over all windows: counted / T makes the step that of the window's own loss
        xp.add.at(embeddings, rows, (-careful * EMBEDDING_RATE * counted / T) * gradient)
        learnt.updates += 1

    def state(self) -> dict[str, Array]:
        """Everything that is shared or waits to be, by name."""
        made = {f"weights.{name}": value for name, value in self.parameters.items()}
        made |= {f"mean.{name}": value for name, value in self.adam.mean.items()}
        made |= {f"square.{name}": value for name, value in self.adam.square.items()}
        made["updates"] = np.array(self.updates)
        made["guard"] = np.array(self.guard.state())
        made |= {name: getattr(self, name) for name in SUMS}
        made |= {f"windows.{name}": column for name, column in self.windows.columns().items()}
        if self.samples:
            made["samples.numbers"] = np.concatenate([numbers for numbers, _ in self.samples])
            made["samples.features"] = self.xp.concatenate([features for _, features in self.samples])
        return made | self.readouts.shared.state()

    def load(self, arrays: dict[str, Array]) -> None:
        """Go on from what `state` gave."""
        device, names = self.xp.asarray, list(self.parameters)
        self.parameters = {name: device(arrays[f"weights.{name}"]) for name in names}
        self.adam = AdamState(
            {name: device(arrays[f"mean.{name}"]) for name in names},
            {name: device(arrays[f"square.{name}"]) for name in names},
            int(arrays["updates"]),
        )
        self.guard = Guard.restored(arrays["guard"].tolist())
        for name in SUMS:
            setattr(self, name, arrays[name])
        if "windows.numbers" in arrays:
            for name in Windows.COLUMNS:
                getattr(self.windows, name).append(device(arrays[f"windows.{name}"]))
            if self.xp is not np:
                self.windows.due.append(self.xp.ones(len(self.windows.rows[0]), bool))
        if "samples.numbers" in arrays:
            self.samples = [(arrays["samples.numbers"], device(arrays["samples.features"]))]
        self.readouts.shared.load(arrays)
        self.weigh_experts()

    def weigh_experts(self) -> None:
        """Set the experts' pooled advantage (P, G, K) from their regrets, which have just changed."""
        advantage = mixture.pooled_advantage(self.pooled_total, self.pooled_square)
        self.advantage = self.xp.asarray(advantage, "float32")
