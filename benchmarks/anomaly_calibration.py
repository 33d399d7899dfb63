"""How often a score is reached where nothing is wrong: clean series of nine kinds through the whole forecaster.

    python -m benchmarks.anomaly_calibration [--records 20000] [--streams 10] [--seed 0]

A surprise of .9, .99, .999 should be reached by one record in 10, 100, 1000, and an anomaly of .999 by about one in
1000, whatever the kind of series. Counts and sparse series have few values, so there a score is reached less often.
"""

import argparse

import numpy as np

from streamrnn.core.backend import Array
from streamrnn.engine.forecaster import Forecaster
from streamrnn.engine.settings import ForecastSettings
from streamrnn.records import table_steps

CONTINUOUS = ("normal", "AR(1)", "random walk", "Student t(3)", "seasonal", "volatile", "log-normal")
DISCRETE = ("Poisson counts", "sparse")
KINDS = CONTINUOUS + DISCRETE
LEVELS = (0.9, 0.99, 0.999)
HOUR_MS = 3_600_000


def clean(kind: str, random: np.random.Generator, T: int, N: int) -> Array:
    """T steps of N independent series (T, N) of this kind, in which nothing happens."""
    noise = random.normal(size=(T, N))
    if kind == "normal":
        made = noise
    elif kind == "AR(1)":
        made = noise.copy()
        for t in range(1, T):
            made[t] += 0.9 * made[t - 1]
    elif kind == "random walk":
        made = np.cumsum(noise, axis=0)
    elif kind == "Student t(3)":
        made = random.standard_t(3, (T, N))
    elif kind == "seasonal":
        made = 3.0 * np.sin((np.arange(T)[:, None] / 24 + random.random(N)) * 2 * np.pi) + noise
    elif kind == "volatile":
        made, variance = np.zeros((T, N)), np.ones(N)  # GARCH(1, 1)
        for t in range(T):
            made[t] = np.sqrt(variance) * noise[t]
            variance = 0.05 + 0.1 * made[t] ** 2 + 0.85 * variance
    elif kind == "log-normal":
        made = np.exp(noise)
    elif kind == "Poisson counts":
        made = random.poisson(3.0, (T, N)).astype(float)
    else:
        assert kind == "sparse"
        made = np.where(random.random((T, N)) < 0.05, random.exponential(10.0, (T, N)), 0.0)
    return np.asarray(made)


def scored(x: Array) -> tuple[Array, Array]:
    """Surprise and anomaly (T, N) of hourly series x (T, N) that step together."""
    T, N = x.shape
    batch = table_steps([b"%d" % i for i in range(N)], x, np.arange(T) * HOUR_MS)
    made = Forecaster(ForecastSettings()).forecast(batch)
    return made.surprise.reshape(T, N), made.anomaly.reshape(T, N)


def rates(kind: str, seed: int, records: int, streams: int) -> tuple[list[float], float]:
    """The share of scored records whose surprise reaches each of LEVELS, and whose anomaly reaches .999."""
    x = clean(kind, np.random.default_rng([seed, KINDS.index(kind)]), records // streams, streams)
    surprise, anomaly = scored(x)
    told = np.isfinite(surprise)
    return [float((surprise[told] >= level).mean()) for level in LEVELS], float((anomaly[told] >= 0.999).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000, help="of each kind")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    head = "".join(f"{f'>= {level}':>9}" for level in LEVELS)
    print(f"{'per 1,000 records':18}{'surprise ' + head:>36}{'anomaly >= .999':>17}")
    for kind in KINDS:
        surprise, anomaly = rates(kind, given.seed, given.records, given.streams)
        print(f"{kind:18}{'':9}" + "".join(f"{1000 * rate:9.2f}" for rate in surprise) + f"{1000 * anomaly:17.2f}")


if __name__ == "__main__":
    main()
