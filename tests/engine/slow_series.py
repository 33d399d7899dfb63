"""One series of the recipe, one step at a time, in plain floats: slow, obvious, and written from the equations.

Only the cell of the network is the real one. Nothing learns here but what is a series' own.
"""

import math
from dataclasses import dataclass

import numpy as np

from streamrnn.core.cells import CELLS
from streamrnn.engine.forecaster import Forecaster
from tests.core.slow_mixture import SlowMixture

COVERAGE = 0.9
NORMAL_QUANTILE = 1.6448536269514722 * math.sqrt(math.pi / 2)  # of |error|, where errors are normal


def clipped(x: float, limit: float) -> float:
    return max(-limit, min(limit, x))


@dataclass
class Origin:
    """What one step remembers until its labels arrive."""

    value: float
    scale: float
    features: list[float]
    gain: list[float]
    made: dict[int, tuple[list[float], list[float], float]]  # by horizon: experts, both mixtures, published


class Horizon:
    """What one horizon learns from its labels."""

    def __init__(self) -> None:
        self.mixture = SlowMixture([[2.0, -1.0, -1.0]] * 2)
        self.weights = [0.0] * 16
        self.target_square = 0.0
        self.lower = self.upper = NORMAL_QUANTILE
        self.size = 0.0
        self.scored = 0

    def learn(self, origin: Origin, h: int, label: float) -> None:
        experts, mixed, published = origin.made[h]
        self.mixture.learn(experts, mixed, published, label)
        error = label - published
        if self.scored > 0:
            # the quantiles are judged by the interval of now
            rate = max(0.05, 2 / (self.scored + 10))
            reach_below, reach_above = self.lower * self.size, self.upper * self.size
            self.lower = max(0.0, self.lower + rate * ((-error > reach_below) - (1 - COVERAGE) / 2))
            self.upper = max(0.0, self.upper + rate * ((error > reach_above) - (1 - COVERAGE) / 2))
        self.size += max(1 / 300, 1 / (self.scored + 1)) * (abs(error) - self.size)
        wrong = label - sum(w * x for w, x in zip(self.weights, origin.features, strict=True))
        self.weights = [w + k * wrong for w, k in zip(self.weights, origin.gain, strict=True)]
        self.target_square += max(1 / 2000, 1 / (self.scored + 1)) * (label**2 - self.target_square)
        self.scored += 1


class SlowSeries:
    """One series of one feature, beside the forecaster whose weights it shares."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.model = forecaster.model
        self.horizons = {h: Horizon() for h in forecaster.settings.horizons}
        self.hidden = np.zeros((1, forecaster.settings.hidden))
        self.origins: list[Origin | None] = []
        self.value, self.seen = 0.0, 0
        self.square, self.moves = 0.0, 0
        self.levels = [0.0] * 4
        self.differences = [0.0] * 11
        self.time, self.interval = 0.0, 0.0
        self.input_square = [0.0] * 6
        self.P = [[0.1 if i == j else 0.0 for j in range(16)] for i in range(16)]

    def step(self, value: float, time: float) -> list[tuple[float, float, float]]:
        """Learn, take the value in, forecast: lower, mean and upper a horizon."""
        t, missing = len(self.origins), math.isnan(value)
        if missing:
            value = self.value
        else:
            self.learn(t, value)
        self.take_in(t, value, missing, time)
        S = math.sqrt(self.square)
        teaches = not missing and S > 0
        features = self.linear_features(value, S)
        gain = self.gain(features) if teaches else [0.0] * 16
        outputs = self.network(t, value, missing, S)
        made, published = {}, []
        for i, (h, horizon) in enumerate(self.horizons.items()):
            linear = sum(w * x for w, x in zip(horizon.weights, features, strict=True))
            experts = [0.0, linear, outputs[i] * math.sqrt(horizon.target_square)]
            mixed, mean = horizon.mixture.mix(experts)
            below, above = horizon.lower * horizon.size, horizon.upper * horizon.size
            made[h] = (experts, mixed, mean)
            centre = value + mean * S if self.seen else math.nan
            published.append((centre - below * S, centre, centre + above * S))
        self.origins.append(Origin(value, S, features, gain, made) if teaches else None)
        self.time = time
        return published

    def learn(self, t: int, value: float) -> None:
        for h, horizon in self.horizons.items():
            origin = self.origins[t - h] if t >= h else None
            if origin is not None:
                horizon.learn(origin, h, (value - origin.value) / origin.scale)

    def take_in(self, t: int, value: float, missing: bool, time: float) -> None:
        difference = 0.0 if missing or not self.seen else value - self.value
        if difference:
            self.moves += 1
            square = difference**2 if self.moves == 1 else min(difference**2, 100 * self.square)
            self.square += max(1 / 5000, 1 / self.moves) * (square - self.square)
        self.differences = [difference, *self.differences[:-1]]
        if not missing:
            for i, window in enumerate((16, 64, 256, 1024)):
                self.levels[i] += max(1 / window, 1 / (self.seen + 1)) * (value - self.levels[i])
            self.value = value
            self.seen += 1
        self.elapsed = time - self.time if t else 0.0
        self.interval += (self.elapsed - self.interval) / min(max(t, 1), 256)

    def linear_features(self, value: float, S: float) -> list[float]:
        if S == 0:
            return [1.0] + [0.0] * 15
        raw = [1.0, *(d / S for d in self.differences), *((value - level) / 3 / S for level in self.levels)]
        return [clipped(x, 10.0) for x in raw]

    def gain(self, features: list[float]) -> list[float]:
        """The gain P φ / (λ + φᵀ P φ); P' = (P - k (P φ)ᵀ) / λ, and P_ii at most .1 once one of them is 5 % above."""
        Pphi = [sum(p * x for p, x in zip(row, features, strict=True)) for row in self.P]
        spread = 0.9998 + sum(x * y for x, y in zip(features, Pphi, strict=True))
        gain = [x / spread for x in Pphi]
        self.P = [[(p - gain[i] * Pphi[j]) / 0.9998 for j, p in enumerate(row)] for i, row in enumerate(self.P)]
        if max(self.P[i][i] for i in range(16)) > 0.105:
            factor = [min(1.0, math.sqrt(0.1 / self.P[i][i])) for i in range(16)]
            self.P = [[p * factor[i] * factor[j] for j, p in enumerate(row)] for i, row in enumerate(self.P)]
        return gain

    def network(self, t: int, value: float, missing: bool, S: float) -> list[float]:
        """The outputs of the recurrent expert, a horizon each, in units of its targets' running size."""
        unit = S if S > 0 else math.inf
        lateness = self.elapsed / self.interval - 1 if self.interval > 0 else 0.0
        raw = [self.differences[0] / unit, self.differences[1] / unit]
        raw += [(value - self.levels[0]) / unit, (value - self.levels[2]) / unit, lateness, float(missing)]
        inputs = []
        for i, x in enumerate(raw):
            self.input_square[i] += max(1 / 2000, 1 / (t + 1)) * (x * x - self.input_square[i])
            inputs.append(clipped(x / math.sqrt(self.input_square[i] + 1e-20), 4.0))
        p = {name: array.astype(float) for name, array in self.model.parameters.items()}
        x_and_embedding = np.array([inputs + [0.0] * 4])
        cell = CELLS[self.model.settings.cell]
        self.hidden, _ = cell.forward(p, x_and_embedding @ p["W"] + p["b"], self.hidden)
        return [float(o) for o in (self.hidden @ p["V"] + p["d"])[0]]
