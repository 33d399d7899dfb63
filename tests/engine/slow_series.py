"""One series of the recipe, one step at a time, in plain floats: slow, obvious, and written from the equations.

Only the cell of the network is the real one. Nothing learns here but what is a series' own.
"""

import math
from dataclasses import dataclass

import numpy as np

from streamrnn.core.backend import to_host
from streamrnn.core.cells import CELLS, bounded, by_part, by_row, one_step
from streamrnn.engine.forecaster import Forecaster
from tests.core.slow_anomaly import SlowJudge
from tests.core.slow_mixture import SlowMixture
from tests.engine.slow_readouts import SlowExact, SlowShared, Vector, clipped
from tests.engine.slow_season import SlowProfiles, SlowView

COVERAGE = 0.9
NORMAL_QUANTILE = 1.6448536269514722 * math.sqrt(math.pi / 2)  # of |error|, where errors are normal


@dataclass
class Made:
    """What was forecast for one horizon."""

    experts: Vector
    mixed: Vector
    published: float
    below: float
    above: float
    change: float  # of the profile


@dataclass
class Origin:
    """What one step remembers until its labels arrive."""

    value: float
    scale: float
    features: Vector
    gains: list[Vector]  # of the exact readouts
    scaled: Vector
    made: dict[int, Made]  # by horizon


@dataclass
class SlowForecast:
    """What is published of one step: a number a horizon, and how improbable the step was."""

    lower: Vector
    mean: Vector
    upper: Vector
    surprise: float
    anomaly: float


class Horizon:
    """What one horizon learns from its labels, the weights of the readouts apart."""

    def __init__(self, experts: int, h: int) -> None:
        self.mixture = SlowMixture([2.0] + [-1.0] * (experts - 1))
        self.h = h
        self.target_square = 0.0
        self.lower = self.upper = NORMAL_QUANTILE
        self.size = 0.0
        self.scored = 0

    def heeded(self, made: Made, label: float) -> float:
        """The label, as far as least squares may believe it."""
        shock = self.mixture.shock()
        return made.published + max(-shock, min(shock, label - made.published))

    def learn(self, made: Made, label: float) -> None:
        heeded = self.heeded(made, label)
        self.mixture.learn(made.experts, made.mixed, made.published, heeded)
        error = label - made.published
        if self.scored > 0:
            # the quantiles are judged by the interval that was published
            rate = max(0.02, 2 / (self.scored + 10)) / self.h ** (1 / 3)
            self.lower = max(0.0, self.lower + rate * ((-error > made.below) - (1 - COVERAGE) / 2))
            self.upper = max(0.0, self.upper + rate * ((error > made.above) - (1 - COVERAGE) / 2))
        self.size += max(1 / 100, 1 / (self.scored + 1)) * (abs(error) - self.size)
        target = heeded - made.change if self.h > 1 else heeded
        self.target_square += max(1 / 2000, 1 / (self.scored + 1)) * (target**2 - self.target_square)
        self.scored += 1


class SlowSeries:
    """One series of one feature, beside the forecaster whose weights, curvature and season it shares."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.model, horizons, H = forecaster.model, forecaster.settings.horizons, forecaster.settings.hidden
        P = to_host(forecaster.model.readouts.shared.P).astype(float).tolist()
        self.shared = SlowShared(P, 2.0, horizons)
        self.exact = [SlowExact(16, 0.9998, horizons)]
        if forecaster.settings.readout == "exact":
            self.exact = [SlowExact(48 + H, 0.9998, horizons), SlowExact(48 + H, 1.0, horizons)]
        experts = 4 + len(self.exact)
        self.horizons = {h: Horizon(experts, h) for h in horizons}
        self.profiles = SlowProfiles(forecaster.table.season, horizons)
        self.judge = SlowJudge()
        self.state = np.zeros((1, forecaster.table.slabs["hidden"].shape[1]))
        self.hidden = self.state[:, :H]
        self.origins: list[Origin | None] = []
        self.value, self.seen = 0.0, 0
        self.square, self.moves = 0.0, 0
        self.levels = [0.0] * 4
        self.differences = [0.0] * 11
        self.time = self.elapsed = self.interval = 0.0
        self.input_square = [0.0] * 13

    def step(self, value: float, time: float) -> SlowForecast:
        """Learn, take the value in, forecast."""
        t, missing = len(self.origins), math.isnan(value)
        value = self.value if missing else value
        surprise, anomaly = self.learn(t, value, missing)
        limit = 50 * math.sqrt(self.square) or math.inf
        self.take_in(t, value, limit, missing, time)
        S = math.sqrt(self.square)
        unit = S if S > 0 else math.inf
        season = self.profiles.step(t, time, self.interval, value, missing, self.levels[0], limit)
        outputs = self.network(t, value, missing, unit, season)
        phi = self.linear_features(value, unit, season)
        features = phi + self.hidden[0].tolist()
        scaled = self.shared.scaled(t, phi)
        teaches = not missing and S > 0
        gains = [each.gain(features) for each in self.exact] if teaches else []
        linear = [*(each.predict(features) for each in self.exact), self.shared.predict(scaled)]
        made = {}
        for i, (h, horizon) in enumerate(self.horizons.items()):
            change = season.change[h] / unit
            recurrent = outputs[i] * math.sqrt(horizon.target_square) + (change if h > 1 else 0.0)
            experts = [0.0, change, *(each[h] + change for each in linear), recurrent]
            mixed, published = horizon.mixture.mix(experts)
            published *= min(self.seen / 12, 1.0)
            below, above = horizon.lower * horizon.size, horizon.upper * horizon.size
            made[h] = Made(experts, mixed, published, below, above, change)
        self.origins.append(Origin(value, S, features, gains, scaled, made) if teaches else None)
        mean = [value + each.published * S if self.seen else math.nan for each in made.values()]
        lower = [x - each.below * S for x, each in zip(mean, made.values(), strict=True)]
        upper = [x + each.above * S for x, each in zip(mean, made.values(), strict=True)]
        return SlowForecast(lower, mean, upper, surprise, anomaly)

    def learn(self, t: int, value: float, missing: bool) -> tuple[float, float]:
        """The value is the label of earlier forecasts; returns its surprise and anomaly."""
        known, missed = False, 0.0
        for h, horizon in self.horizons.items():
            origin = self.origins[t - h] if t >= h else None
            if origin is None or missing:
                continue
            made = origin.made[h]
            label = (value - origin.value) / origin.scale
            if h == min(self.horizons):
                known, missed = True, (label - made.published) * origin.scale
            heeded = horizon.heeded(made, label)
            for each, gain in zip(self.exact, origin.gains, strict=True):
                each.learn(h, origin.features, gain, heeded - made.change)
            self.shared.learn(h, origin.scaled, heeded - made.change, horizon.scored)
            horizon.learn(made, label)
        return self.judge.judge(value, missed, known)

    def take_in(self, t: int, value: float, limit: float, missing: bool, time: float) -> None:
        difference = 0.0 if missing or not self.seen else value - self.value
        if difference:
            self.moves += 1
            square = difference**2 if self.moves == 1 else min(difference**2, 100 * self.square)
            self.square += max(1 / 5000, 1 / self.moves) * (square - self.square)
        self.differences = [difference, *self.differences[:-1]]
        if not missing:
            for i, window in enumerate((16, 64, 256, 1024)):
                self.levels[i] += max(1 / window, 1 / (self.seen + 1)) * max(
                    -limit, min(limit, value - self.levels[i])
                )
            self.value = value
            self.seen += 1
        before, self.elapsed = self.elapsed, max(time - self.time, 0.0) if t else 0.0
        if abs(self.elapsed - before) <= 0.01 * before:  # regular: known exactly
            self.interval = self.elapsed
        else:
            self.interval += (self.elapsed - self.interval) / min(max(t, 1), 256)
        self.time = time

    def linear_features(self, value: float, unit: float, season: SlowView) -> Vector:
        raw = [1.0, *(d / unit for d in self.differences), *((value - level) / 3 / unit for level in self.levels)]
        raw += season.waves + [x / unit for x in season.features]
        return [clipped(x, 10.0) for x in raw]

    def network(self, t: int, value: float, missing: bool, unit: float, season: SlowView) -> Vector:
        """The outputs of the recurrent expert, a horizon each, in units of its targets' running size."""
        lateness = self.elapsed / self.interval - 1 if self.interval > 0 else 0.0
        raw = [self.differences[0] / unit, self.differences[1] / unit]
        raw += [(value - self.levels[0]) / unit, (value - self.levels[2]) / unit]
        raw += [season.beyond / unit, *(lead / unit for lead in season.leads)]
        sine, cosine, weekly_sine, weekly_cosine = (season.waves[i] for i in (0, 5, 3, 8))
        raw += [sine, cosine, weekly_sine, weekly_cosine, lateness, float(missing)]
        inputs = []
        for i, x in enumerate(raw):
            self.input_square[i] += max(1 / 2000, 1 / (t + 1)) * (x * x - self.input_square[i])
            inputs.append(clipped(x / math.sqrt(self.input_square[i] + 1e-10), 4.0))
        p = {name: to_host(array).astype(float) for name, array in self.model.parameters.items()}
        x_and_embedding = np.array([inputs + [0.0] * 4])
        cell, H = bounded(CELLS[self.model.settings.cell]), self.model.settings.hidden
        after, _ = one_step(cell, p, x_and_embedding, by_part(self.state, H))
        self.state, self.hidden = by_row(after), after[0]
        return [float(o) for o in (self.hidden @ p["V"] + p["d"])[0]]
