"""The forecasts of a batch as they are made."""

import numpy as np

from streamrnn.engine.layout import WARM_STEPS
from streamrnn.engine.series_step import Stepped
from streamrnn.records import ForecastBatch, RecordBatch, Scores


class Output:
    """Columns of forecasts, and what is needed to put each where it belongs."""

    def __init__(
        self,
        batch: RecordBatch,
        record: np.ndarray,
        slot: np.ndarray,
        values: np.ndarray,
        shape: tuple[int, int, int],
        *,
        every_step: bool,
    ) -> None:
        M, P, _ = shape
        self.batch, self.record, self.values, self.every_step = batch, record, values, every_step
        self.slot = slot  # (K,) where a step's forecast is published, -1: nowhere
        self.teller = record if not every_step else np.arange(len(record))  # (K,) where a step's surprise counts
        self.times, self.left = batch.times.copy(), batch.left
        self.mean, self.lower, self.upper = (np.full(shape, np.nan) for _ in range(3))
        self.surprise, self.anomaly = np.full(M, np.nan), np.full(M, np.nan)
        self.warm, self.model = np.zeros(M, bool), np.zeros(M, np.int64)
        self.scores = Scores.zero(P)

    def put(self, steps: np.ndarray, stepped: Stepped, updates: int) -> None:
        """Take the forecasts of steps whose series have just stepped."""
        self.scores.add(Scores(*stepped.scores))
        D = self.mean.shape[2]
        for name in ("surprise", "anomaly"):
            told, most = getattr(self, name), getattr(stepped, name).reshape(-1, D)
            where = self.teller[steps]
            told[where] = np.fmax(told[where], np.fmax.reduce(most, axis=1))
        slot = self.slot[steps]
        spoken = slot >= 0
        if not spoken.any():
            return
        _, P, D = self.mean.shape
        where = slot[spoken]
        for name in ("mean", "lower", "upper"):
            made = getattr(stepped, name).reshape(-1, D, P)[spoken]
            getattr(self, name)[where] = made.transpose(0, 2, 1)
        self.warm[where] = (stepped.scored.reshape(-1, D)[spoken] >= WARM_STEPS).all(1)
        self.model[where] = updates

    def result(self) -> ForecastBatch:
        batch = self.batch
        if self.every_step:
            times = self.times
        else:
            times = np.zeros(len(batch), np.int64)
            spoken = ~batch.forget
            times[spoken] = self.times[batch.first_step[1:][spoken] - 1]
        return ForecastBatch(
            every_step=self.every_step,
            mean=self.mean,
            lower=self.lower,
            upper=self.upper,
            times=times,
            surprise=self.surprise,
            anomaly=self.anomaly,
            warm=self.warm,
            model=self.model,
            scores=self.scores,
        )
