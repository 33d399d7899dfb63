"""The linear readouts of one series, in plain floats: exact ones, and those over a curvature that is given."""

import math

Vector = list[float]


def clipped(x: float, limit: float) -> float:
    return max(-limit, min(limit, x))


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


class SlowExact:
    """Recursive least squares over the first n features, one weight vector a horizon, one curvature for all."""

    def __init__(self, n: int, forgetting: float, horizons: tuple[int, ...]) -> None:
        self.n, self.forgetting = n, forgetting
        self.P = [[0.1 if i == j else 0.0 for j in range(n)] for i in range(n)]
        self.weights = {h: [0.0] * n for h in horizons}

    def predict(self, features: Vector) -> dict[int, float]:
        return {h: dot(w, features[: self.n]) for h, w in self.weights.items()}

    def gain(self, features: Vector) -> Vector:
        """The gain P φ / (λ + φᵀ P φ); P' = (P - k (P φ)ᵀ) / λ, and P_ii at most .1 once one of them is 5 % above."""
        phi, n, forgetting = features[: self.n], self.n, self.forgetting
        Pphi = [dot(row, phi) for row in self.P]
        spread = forgetting + dot(phi, Pphi)
        gain = [x / spread for x in Pphi]
        self.P = [
            [(p - gain[i] * y) / forgetting for p, y in zip(row, Pphi, strict=True)] for i, row in enumerate(self.P)
        ]
        if max(self.P[i][i] for i in range(n)) > 0.105:
            factor = [min(1.0, math.sqrt(0.1 / self.P[i][i])) for i in range(n)]
            self.P = [[p * factor[i] * f for p, f in zip(row, factor, strict=True)] for i, row in enumerate(self.P)]
        return gain

    def learn(self, h: int, features: Vector, gain: Vector, label: float) -> None:
        wrong = label - dot(self.weights[h], features[: self.n])
        self.weights[h] = [w + k * wrong for w, k in zip(self.weights[h], gain, strict=True)]


class SlowShared:
    """The readout over the curvature of all series of the task, whose inverse is given, with step size a."""

    def __init__(self, P: list[Vector], a: float, horizons: tuple[int, ...]) -> None:
        self.P, self.a, n = P, a, len(P)
        self.square = [0.0] * n
        self.weights = {h: [0.0] * n for h in horizons}

    def scaled(self, t: int, features: Vector) -> Vector:
        """The features, each divided by its own running size."""
        made = []
        for i, x in enumerate(features):
            self.square[i] += max(1 / 2000, 1 / (t + 1)) * (x * x - self.square[i])
            made.append(clipped(x / math.sqrt(self.square[i] + 1e-10), 10.0))
        return made

    def predict(self, scaled: Vector) -> dict[int, float]:
        return {h: dot(w, scaled) for h, w in self.weights.items()}

    def learn(self, h: int, scaled: Vector, label: float, scored: int) -> None:
        """W += a P φ̃ e / (min(n + 10, 5000) + a φ̃ᵀ P φ̃); scored: labels that this horizon has had before."""
        Pphi = [dot(row, scaled) for row in self.P]
        wrong = label - dot(self.weights[h], scaled)
        spread = min(scored + 10, 5000) + self.a * dot(scaled, Pphi)
        self.weights[h] = [w + self.a * x * wrong / spread for w, x in zip(self.weights[h], Pphi, strict=True)]
