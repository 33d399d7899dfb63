"""Quix Streams with river: a linear regression for each stream on its last values.

    python -m benchmarks.rivals.quix_river BOOTSTRAP INPUT OUTPUT GROUP RECORDS [--lags 3]

Three is what introductions show; 11 are as many as streamrnn's linear expert looks back.
"""

import argparse
from functools import partial

from river import linear_model, preprocessing

from benchmarks.rivals.quix import main


class Linear:
    """Forecasts a stream from its last values."""

    def __init__(self, lags: int) -> None:
        self._model = preprocessing.StandardScaler() | linear_model.LinearRegression()
        self._names = [f"lag{n}" for n in range(1, lags + 1)]
        self._last: list[float] = []  # the newest first

    def step(self, value: float) -> float:
        """Learn that `value` came next, and return the forecast of the one after it."""
        if self._last:
            self._model.learn_one(dict(zip(self._names, self._last, strict=True)), value)
            self._last = [value, *self._last[:-1]]
        else:
            self._last = [value] * len(self._names)
        return self._model.predict_one(dict(zip(self._names, self._last, strict=True)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--lags", type=int, default=3)
    given, rest = parser.parse_known_args()
    main(partial(Linear, given.lags), rest)
