"""Quix Streams with river: a linear regression for each stream on its last values.

python -m benchmarks.rivals.quix_river BOOTSTRAP INPUT OUTPUT GROUP RECORDS
"""

from river import linear_model, preprocessing

from benchmarks.rivals.quix import main


class Linear:
    """Forecasts a stream from its last three values."""

    def __init__(self) -> None:
        self._model = preprocessing.StandardScaler() | linear_model.LinearRegression()
        self._lags: dict[str, float] = {}

    def step(self, value: float) -> float:
        """Learn that `value` came next, and return the forecast of the one after it."""
        lags = self._lags
        if lags:
            self._model.learn_one(lags, value)
            self._lags = {"lag1": value, "lag2": lags["lag1"], "lag3": lags["lag2"]}
        else:
            self._lags = {"lag1": value, "lag2": value, "lag3": value}
        return self._model.predict_one(self._lags)


if __name__ == "__main__":
    main(Linear)
