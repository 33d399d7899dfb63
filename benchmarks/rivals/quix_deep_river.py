"""Quix Streams with deep-river: an LSTM for each stream, of the size and window that streamrnn has by default.

    python -m benchmarks.rivals.quix_deep_river BOOTSTRAP INPUT OUTPUT GROUP RECORDS

deep-river keeps the window of past values in the model, so streams cannot share one.
"""

import sys

import torch
from deep_river.regression.zoo import LSTMRegressor
from river import preprocessing

from benchmarks.rivals.quix import main

HIDDEN, WINDOW, RATE = 32, 16, 0.003


class Recurrent:
    """Forecasts a stream with a recurrent network of its own."""

    def __init__(self) -> None:
        network = LSTMRegressor(n_features=1, hidden_size=HIDDEN, window_size=WINDOW, lr=RATE)
        self._model = preprocessing.TargetStandardScaler(regressor=preprocessing.StandardScaler() | network)
        self._last: float | None = None

    def step(self, value: float) -> float:
        """Learn that `value` came next, and return the forecast of the one after it."""
        if self._last is not None:
            self._model.learn_one({"value": self._last}, value)
        self._last = value
        return self._model.predict_one({"value": value})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Recurrent, sys.argv[1:])
