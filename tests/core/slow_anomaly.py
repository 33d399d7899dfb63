"""The equations of streamrnn.core.anomaly for one series, a float at a time."""

import math

BINS, WIDTH = 60, math.log(2.0) / 5  # of ln(u), from u = 2⁻⁵ on


def bounded(x: float, limit: float) -> float:
    return max(-limit, min(limit, x))


class SlowTail:
    """One channel's own tail: how many records lay in each bin, each decaying, taken in sixteen at a time."""

    def __init__(self) -> None:
        self.counts = [0.0] * BINS
        self.waiting: list[int] = []
        self.n = 0

    def above(self, place: int) -> float:
        return sum(self.counts[place:])

    def probability(self, u: float) -> float:
        """Of a number as large as u."""
        place, total = max(in_bins(u) - 0.25, 0.0), self.above(0)
        q0 = min(max(20 / max(self.n, 1), 0.001), 0.05)
        q = next((b for b in range(BINS) if self.above(b) <= q0 * total), BINS - 1)
        if place < q:
            b = int(place)
            rank = self.above(b + 1) + (b + 1 - place) * self.counts[b]
            return min(max((rank + 0.5) / (total + 1), q0), 1.0)
        A = self.above(q)
        B = sum(count * (b + 0.5 - q) * WIDTH for b, count in enumerate(self.counts) if b >= q)
        return float(q0 * (1 + (place - q) * WIDTH / (0.7 + max(B, A / 10))) ** -(2 + A))

    def insert(self, u: float) -> None:
        self.waiting.append(int(in_bins(u)))
        if len(self.waiting) == 16:
            self.counts = [count * (1 - 1 / 10_000) ** 16 for count in self.counts]
            for b in self.waiting:
                self.counts[b] += 1
            self.waiting, self.n = [], self.n + 16


def in_bins(u: float) -> float:
    """How many bins from the first on lie below u."""
    return min(max((math.log2(max(u, 1e-9)) + 5) * 5, 0.0), BINS - 1e-6)


class SlowSurprise:
    """S on the series' own scale: what it passes in one record of 10, of 100, of 1000."""

    def __init__(self) -> None:
        self.start = (1.07, 1.7, 2.15)
        self.c = list(self.start)

    def of(self, S: float) -> float:
        a, b, c = self.c
        b = max(b, a + 0.1)
        c = max(c, b + 0.1)
        if a >= S:
            decades = S / a
        elif b >= S:
            decades = 1 + (S - a) / (b - a)
        else:
            decades = 2 + (S - b) / (c - b) if c >= S else 3 + S - c
        for i, pace in enumerate((0.05, 0.2, 0.5)):
            moved = self.c[i] + pace * ((self.c[i] < S) - 10.0 ** -(i + 1))
            self.c[i] = min(max(moved, self.start[i] - 0.7), self.start[i] + 1.0)
        return 1 - 10 ** -min(decades, 15.0)


class SlowJudge:
    """What one series' records were: surprising by themselves, or where an incident begins."""

    def __init__(self) -> None:
        self.n = 0
        self.s = self.run2 = self.run20 = self.M = self.V = self.run10 = 0.0
        self.tails = [SlowTail() for _ in range(4)]
        self.mean = self.damped_mean = 1.0
        self.surprise = SlowSurprise()
        self.alarms, self.channel_alarms = 0.0, [0.0] * 4
        self.quiet, self.last = 0, 0.0

    def judge(self, value: float, error: float, known: bool) -> tuple[float, float]:
        """Surprise and anomaly; NaN for the first 100 records, 0 where nothing was known."""
        if not known:
            return (0.0, 0.0) if self.n > 100 else (math.nan, math.nan)
        channels = self.channels(value, error)
        p = [tail.probability(u) for tail, u in zip(self.tails, channels, strict=True)]
        for tail, u in zip(self.tails, channels, strict=True):
            tail.insert(u)
        self.n += 1
        E = sum(1 / x for x in p) / 4
        self.mean += (E - self.mean) / 5
        alarm, parts = self.alarm([1 / x for x in p])
        if self.n <= 100:
            return math.nan, math.nan
        surprise = self.surprise.of(max(math.log10((E + self.mean) / 2), 0.0))
        self.quiet -= 1
        self.alarms *= 1 - 1 / 3_000
        self.channel_alarms = [a * (1 - 1 / 10_000) for a in self.channel_alarms]
        if alarm >= 1.5 and (self.quiet <= 0 or alarm >= self.last + 1):
            self.alarms += 1
            self.channel_alarms = [a + part for a, part in zip(self.channel_alarms, parts, strict=True)]
            self.quiet, self.last = 100, alarm
            return surprise, 1 - 10 ** -min(3 + alarm - 1.5, 15.0)
        return surprise, min(surprise, 0.9985)

    def alarm(self, odds: list[float]) -> tuple[float, list[float]]:
        """The damped score, and each channel's part in it."""
        damped = [x * 10 ** (-0.2 * a) for x, a in zip(odds, self.channel_alarms, strict=True)]
        E = sum(damped) / 4
        self.damped_mean += (E - self.damped_mean) / 5
        score = math.log10(max((E + self.damped_mean) / 2, 1e-9)) - 0.15 * self.alarms - 150 / self.n
        return score, [x / sum(damped) for x in damped]

    def channels(self, value: float, error: float) -> list[float]:
        """The four numbers, from what was usual before this record."""
        n, s, V = self.n + 1, self.s, self.V
        c = bounded(error / max(s, 1e-150), 8.0)
        size = min(abs(error), 6 * s) if s > 0 else abs(error)
        self.s += max(1 / n, 1 / 300) * (1.25 * size - s)
        self.run2 += (c - self.run2) / 2
        self.run20 += (c - self.run20) / 20
        if self.n == 0:
            self.M = self.run10 = value
        self.run10 += (value - self.run10) / 10
        away, stretch = value - self.M, self.run10 - self.M
        far = [abs(away) / max(V, 1e-150), abs(stretch) / max(V, 1e-150)]
        away = bounded(away, 5 * V) if V > 0 else away
        rate = max(1 / (n + 1), 1 / 10_000)
        self.M += rate * away
        self.V += rate * (abs(away) - V)
        return [abs(self.run2), abs(self.run20), *far]
