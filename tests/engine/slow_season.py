"""The profiles of one series over a season that is known, in plain floats."""

import math
from dataclasses import dataclass

from streamrnn.core.season import Season

RATES = (0.02, 0.1)
LEADS = (1, 2, 4, 8, 16)


@dataclass
class SlowView:
    """What the season says of a step; all 0 where there is none."""

    change: dict[int, float]  # p(t + h) - p(t) of the slow profile, by horizon
    waves: list[float]  # sines, then cosines: three of the season, two of seven seasons
    features: list[float]  # of the slow profile, then of the fast one
    beyond: float  # x - p of the slow profile
    leads: list[float]  # p(t + 1) - p(t), p(t + m/6) - p(t)


class SlowProfiles:
    """What the series is usually worth at each phase."""

    def __init__(self, season: Season | None, horizons: tuple[int, ...]) -> None:
        self.season, self.horizons = season, horizons
        phases = season.phases if season else 0
        self.p = [[0.0] * phases for _ in RATES]
        self.visits = [0] * phases

    def step(
        self, t: int, time: float, interval: float, value: float, missing: bool, level: float, limit: float
    ) -> SlowView:
        """Take the value in, then look around.

        level: what a phase that was never visited counts as; limit: how far from a profile a value counts in full.
        """
        season = self.season
        if season is None:
            return SlowView(dict.fromkeys(self.horizons, 0.0), [0.0] * 10, [0.0] * 22, 0.0, [0.0, 0.0])
        m = season.steps

        def phase(ahead: int) -> int:
            if season.milliseconds:
                turns = (time + ahead * interval) / season.milliseconds
            else:
                turns = (t + ahead) / season.steps
            return round_half_up((turns % 1.0) * season.phases) % season.phases

        here = phase(0)
        if not missing:
            for p, alpha in zip(self.p, RATES, strict=True):
                moved = value - p[here]
                if self.visits[here]:
                    moved = max(-limit, min(limit, moved))
                p[here] += max(alpha, 1 / (self.visits[here] + 1)) * moved
            self.visits[here] += 1

        def at(a: int, ahead: int) -> float:
            return self.p[a][phase(ahead)] if self.visits[phase(ahead)] else level

        features = []
        for a in range(2):
            features += [at(a, j) - at(a, 0) for j in (*LEADS, m // 4, m // 2)]
            features += [at(a, -j + 1) - at(a, -j) for j in (3, 2, 1)]
            features.append((value - at(a, 0)) / 3)
        turns = time / season.milliseconds if season.milliseconds else t / season.steps
        angles = [2 * math.pi * k * turns for k in (1, 2, 3)] + [2 * math.pi * k * turns / 7 for k in (1, 2)]
        return SlowView(
            change={h: at(0, h) - at(0, 0) for h in self.horizons},
            waves=[math.sin(x) for x in angles] + [math.cos(x) for x in angles],
            features=features,
            beyond=value - at(0, 0),
            leads=[at(0, 1) - at(0, 0), at(0, max(1, m // 6)) - at(0, 0)],
        )


def round_half_up(x: float) -> int:
    return math.floor(x + 0.5)
