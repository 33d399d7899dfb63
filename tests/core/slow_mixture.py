"""The equations of streamrnn.core.mixture for one series and one horizon, a float at a time."""

import math


class SlowMixture:
    """Who was right so far, and what is forecast of what the experts say. Expert 0 is persistence."""

    def __init__(self, prior: list[float], pooled: list[list[float]] | None = None) -> None:
        experts = len(prior)
        self.prior = prior
        self.pooled = pooled or [[0.0] * experts] * 2  # what other series say, for each of the two memories
        self.R = [[0.0] * experts for _ in self.pooled]
        self.V = [[0.0] * experts for _ in self.pooled]
        self.last_R, self.last_V = [0.0, 0.0], [0.0, 0.0]  # against the average, against persistence
        self.q, self.n = 0.0, 0

    def mix(self, experts: list[float]) -> tuple[list[float], float]:
        """What each memory's mixture forecasts, and what is published."""
        mixed = []
        trust = min(self.n / 50, 1.0)
        for R, V, others in zip(self.R, self.V, self.pooled, strict=True):
            own = [r / math.sqrt(v + 1e-6) for r, v in zip(R, V, strict=True)]
            u = [x + trust * o + p for x, o, p in zip(own, others, self.prior, strict=True)]
            mixed.append(weighted(u, experts))
        last = [self.last_R[i] / math.sqrt(self.last_V[i] + 1e-6) + (1.0, 0.5)[i] for i in range(2)]
        return mixed, weighted(last, [sum(mixed) / len(mixed), 0.0])

    def shock(self) -> float:
        """The largest error that still counts in full."""
        return 20 * math.sqrt(max(self.q, 0.01)) if self.n >= 20 else math.inf

    def learn(self, experts: list[float], mixed: list[float], published: float, y: float) -> None:
        """Take in the label of what was forecast."""
        self.q += max(1 / 1000, 1 / (self.n + 1)) * ((published - y) ** 2 - self.q)
        self.n += 1

        def regret(forecast: float, other: float) -> float:
            r = 2 * (forecast - y) * (forecast - other) / (self.q + 1e-12)
            return max(-50.0, min(50.0, r))

        for g, gamma in enumerate((0.9995, 1.0)):
            for k, expert in enumerate(experts):
                r = regret(mixed[g], expert)
                self.R[g][k] = gamma * self.R[g][k] + r
                self.V[g][k] = gamma * self.V[g][k] + r * r
        for i, other in enumerate((sum(mixed) / len(mixed), 0.0)):
            r = regret(published, other)
            self.last_R[i] = 0.9998 * self.last_R[i] + r
            self.last_V[i] = 0.9998 * self.last_V[i] + r * r


def weighted(u: list[float], forecasts: list[float]) -> float:
    """The mean of the forecasts, each weighted by max(u, 0); persistence where none has weight."""
    positive = [max(x, 0.0) for x in u]
    if sum(positive) == 0.0:
        return 0.0
    return sum(w * f for w, f in zip(positive, forecasts, strict=True)) / sum(positive)
